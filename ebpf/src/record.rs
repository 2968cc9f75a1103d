//! Slot -> counter and action.

use aya_ebpf::{
    bindings::xdp_action, helpers::generated::bpf_xdp_get_buff_len, macros::map, maps::PerCpuArray,
    programs::XdpContext,
};
use aya_log_ebpf::debug;
use portcullis_common::{
    abi::feature,
    counter::Counter,
    slot::{self, Slot, accept_bit},
};

use crate::{config::Features, packet::Packet};

// A slot's verdict becomes an action by adding a bit.
const _: () = assert!(xdp_action::XDP_DROP + 1 == xdp_action::XDP_PASS);

/// Slot -> packets and bytes on this CPU. The programs write, userspace reads and adds up.
/// Pinned: counts outlive generations.
#[map]
static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(slot::COUNT, 0);

/// Fewest bytes that the first of several buffers holds. Drivers fill it before they begin the next, and
/// none has less room in it: half a page of 4 KiB, less headroom and what the kernel keeps behind.
const FIRST_BUFFER: u64 = 1_024;

/// Bytes of a packet. Only where it may lie in several buffers is the kernel asked, as that is a call.
#[inline(always)]
fn length(ctx: &XdpContext, packet: &Packet) -> u64 {
    let first = packet.len();
    if first < FIRST_BUFFER {
        return first;
    }
    // SAFETY: the helper takes the context that the program was called with.
    unsafe { bpf_xdp_get_buff_len(ctx.ctx) }
}

/// Counts a packet of so many bytes.
#[inline(always)]
pub(crate) fn count(slot: Slot, bytes: u64) {
    if let Some(counter) = COUNTERS.get_ptr_mut(slot.into()) {
        // SAFETY: the map handed out this CPU's own element, and nothing preempts the program.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += bytes;
    }
}

/// Says what became of a packet. Off unless userspace raises the level when it loads: the verifier removes it.
///
/// What is logged is handed over by its address. A copy has one, so that the packet itself stays in registers.
#[inline(always)]
fn log(ctx: &XdpContext, slot: Slot, bytes: u64) {
    debug!(ctx, "slot {} bytes {}", slot, bytes);
}

/// Counts the packet in its slot, once, and gives the action that the slot stands for.
#[inline(always)]
pub(crate) fn verdict(ctx: &XdpContext, packet: &Packet, slot: Slot, features: Features) -> u32 {
    let bytes = length(ctx, packet);
    count(slot, bytes);
    log(ctx, slot, bytes);
    if features.has(feature::OBSERVE) {
        xdp_action::XDP_PASS
    } else {
        xdp_action::XDP_DROP + accept_bit(slot)
    }
}
