//! The kernel programs.
//!
//! `ingress` (XDP) turns each arriving packet into exactly one slot, counts it there, and lets the
//! slot decide: packet -> headers ([`parse`]) -> class ([`classify`]) -> slot -> counter and action
//! ([`record`]). `egress` (TCX) records the conversations that this host begins ([`flow`]), so that
//! ingress accepts their replies; where the policy asks for it, leaving packets are judged too
//! ([`outbound`]).
//!
//! A second set of rules ([`second`]) may decide from a deadline on, or be compared with the first.
//!
//! All look-ups are constant-time whatever the number of rules, and what a policy does not need is
//! removed when it is loaded: the constants of [`config`] are known to the verifier.
#![no_std]
#![no_main]
#![expect(internal_features, reason = "core offers no atomic operations for BPF but as intrinsics")]
#![feature(core_intrinsics)]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "an offset and the read behind it share one invariant, and one SAFETY comment states it"
)]
#![expect(clippy::needless_pass_by_value, reason = "aya's macros hand the context over by value")]

mod classify;
mod clock;
mod config;
mod course;
mod flow;
mod forget;
mod fragment;
mod header;
mod more;
mod outbound;
mod pack;
mod packet;
mod parse;
mod record;
mod route;
mod second;
mod shared;
mod table;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use portcullis_common::{
    abi::feature,
    slot::{Reason, Slot, accepts},
};

use crate::{
    config::{FIRST, Features, SECOND_SET},
    header::Headers,
    pack::Word,
    packet::{Packet, SkBuff},
};

/// Judges each arriving packet.
#[xdp(frags)]
#[inline(always)]
fn ingress(ctx: XdpContext) -> u32 {
    let features = Features::of::<FIRST>();
    if second::decides(features) {
        let features = Features::of::<SECOND_SET>();
        let packet = Packet::arriving(&ctx);
        let slot = classify::slot::<SECOND_SET>(&ctx, &packet, features);
        return record::verdict(&ctx, &packet, slot, features);
    }
    // Read after the clock may have been asked: its bounds would be kept on the stack during the call.
    let packet = Packet::arriving(&ctx);
    let slot = classify::slot::<FIRST>(&ctx, &packet, features);
    if features.has(feature::SHADOW) {
        let slot = second::compare(&ctx, slot);
        // Read anew: otherwise the verifier would follow the comparison once for each number of bytes that the
        // first set has made sure of.
        return record::verdict(&ctx, &Packet::arriving_again(&ctx), slot, features);
    }
    record::verdict(&ctx, &packet, slot, features)
}

/// What `egress` answers: let the next program, then the stack, go on (`TCX_NEXT` of
/// include/uapi/linux/bpf.h, the same number as `TC_ACT_UNSPEC` for clsact).
const NEXT: i32 = -1;

/// What it answers to drop a packet (`TC_ACT_SHOT` of include/uapi/linux/pkt_cls.h).
const SHOT: i32 = 2;

/// Learns from each leaving packet, and judges it where the policy says so.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
extern "C" fn egress(buffer: &SkBuff) -> i32 {
    let features = Features::of::<FIRST>();
    let mut word = Word::of(parse::headers(&Packet::leaving(buffer), features), features);
    if word.is_cut_short() && buffer.gather() {
        word = Word::of(parse::headers(&Packet::leaving_again(buffer), features), features);
    }
    match (word.headers(features), second::decides(features)) {
        (Ok(headers), false) => leave::<FIRST>(buffer, &headers),
        (Ok(headers), true) => leave::<SECOND_SET>(buffer, &headers),
        (Err(reason), false) => end::<FIRST>(buffer, outbound::unread::<FIRST>(reason.slot())),
        (Err(reason), true) => end::<SECOND_SET>(buffer, outbound::unread::<SECOND_SET>(reason.slot())),
    }
}

/// Judges a leaving packet by its headers, and learns from it.
#[inline(always)]
fn leave<const SET: bool>(buffer: &SkBuff, headers: &Headers) -> i32 {
    let packet = &Packet::leaving_again(buffer);
    if config::has::<SET>(feature::OUTBOUND) {
        let slot = outbound::slot::<SET>(packet, headers);
        let action = end::<SET>(buffer, slot);
        let is_answer = slot == Reason::OutboundReplyUdp.slot() || slot == Reason::OutboundReplySctp.slot();
        if action == SHOT || is_answer {
            return action;
        }
    }
    flow::learn::<SET>(packet, headers);
    NEXT
}

/// Counts a leaving packet in its slot, where leaving packets are judged, and gives the action that it stands for.
#[inline(always)]
fn end<const SET: bool>(buffer: &SkBuff, slot: Slot) -> i32 {
    if !config::has::<SET>(feature::OUTBOUND) {
        return NEXT;
    }
    record::count(slot, buffer.length());
    if config::has::<SET>(feature::OUTBOUND_DROP) && !accepts(slot) { SHOT } else { NEXT }
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
