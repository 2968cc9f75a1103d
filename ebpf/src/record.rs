//! Slot -> counter and action.

use aya_ebpf::{bindings::xdp_action, macros::map, maps::PerCpuArray, programs::XdpContext};
use aya_log_ebpf::debug;
use portcullis_common::{
    counter::Counter,
    slot::{self, Slot, accept_bit},
};

use crate::{config, packet::Packet};

// A slot's verdict becomes an action by adding a bit.
const _: () = assert!(xdp_action::XDP_DROP + 1 == xdp_action::XDP_PASS);

/// Slot -> packets and bytes on this CPU. Only this program writes, userspace reads and adds up.
/// Pinned: counts outlive generations.
#[map]
static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(slot::COUNT, 0);

/// Counts the packet in its slot, once, and gives the action that the slot stands for.
#[inline(always)]
pub(crate) fn verdict<const SET: bool>(ctx: &XdpContext, packet: &Packet, slot: Slot) -> u32 {
    if let Some(counter) = COUNTERS.get_ptr_mut(slot.into()) {
        // SAFETY: the map handed out this CPU's own element, and nothing preempts the program.
        let counter = unsafe { &mut *counter };
        counter.packets += 1;
        counter.bytes += packet.len();
    }
    // Off unless userspace raises the level when it loads; then the verifier removes it.
    debug!(ctx, "slot {} bytes {}", slot, packet.len());
    if config::observes::<SET>() { xdp_action::XDP_PASS } else { xdp_action::XDP_DROP + accept_bit(slot) }
}
