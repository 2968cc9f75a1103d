//! The kernel programs.
//!
//! `ingress` (XDP) turns each arriving packet into exactly one slot, counts it there, and lets the
//! slot decide: packet -> headers ([`parse`]) -> class ([`classify`]) -> slot -> counter and action
//! ([`record`]). `egress` (TCX) records the conversations that this host begins ([`flow`]), so that
//! ingress accepts their replies.
//!
//! All look-ups are constant-time whatever the number of rules, and what a policy does not need is
//! removed when it is loaded: the constants of [`config`] are known to the verifier.
#![no_std]
#![no_main]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "an offset and the read behind it share one invariant, and one SAFETY comment states it"
)]
#![expect(clippy::needless_pass_by_value, reason = "aya's macros hand the context over by value")]

mod classify;
mod config;
mod flow;
mod header;
mod more;
mod packet;
mod parse;
mod record;

use aya_ebpf::{macros::xdp, programs::XdpContext};

use crate::packet::{Packet, SkBuff};

/// Judges each arriving packet.
#[xdp(frags)]
fn ingress(ctx: XdpContext) -> u32 {
    let packet = Packet::arriving(&ctx);
    let slot = classify::slot(&packet);
    record::verdict(&ctx, &packet, slot)
}

/// What `egress` answers: let the next program, then the stack, go on (`TCX_NEXT` of
/// include/uapi/linux/bpf.h, the same number as `TC_ACT_UNSPEC` for clsact).
const NEXT: i32 = -1;

/// Learns from each leaving packet; it never changes or drops one.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
extern "C" fn egress(buffer: &SkBuff) -> i32 {
    flow::learn(&Packet::leaving(buffer));
    NEXT
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic: there is no indexing and no overflow check. The verifier would refuse
    // this loop if it could be reached.
    loop {}
}

/// The kernel refuses helpers marked GPL-only to programs under any other licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
