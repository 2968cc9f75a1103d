//! The second set of rules: what decides when a trial has ended, and what a shadow would decide.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_coarse_ns, macros::map, maps::PerCpuArray, programs::XdpContext,
};
use portcullis_common::{
    abi::feature,
    counter::Counter,
    second::{Difference, Example},
    slot::{Slot, accepts},
};

use crate::{
    classify,
    config::{self, FIRST, Features, SECOND_SET},
    forget::forget,
    header::{Headers, Kind, Part, Version},
    pack::joined,
    packet::{Packet, Window},
    parse,
};

/// Slot -> what the shadow would decide otherwise, on this CPU. Userspace sets the size.
#[map]
static DIFFERENCES: PerCpuArray<Difference> = PerCpuArray::with_max_entries(1, 0);

/// Whether the second set decides: a trial has ended. The clock is up to one tick late.
#[inline(always)]
pub(crate) fn decides(first: Features) -> bool {
    first.has(feature::TRIAL) && now() >= config::deadline()
}

/// Counts a packet that a shadow would decide otherwise than by `slot`; gives the slot back.
#[inline(always)]
pub(crate) fn compare(ctx: &XdpContext, slot: Slot) -> Slot {
    #[expect(clippy::cast_possible_truncation, reason = "a slot")]
    let slot = forget(slot.into()) as Slot;
    count_difference(ctx, slot);
    slot
}

/// A later fragment follows its first and is not compared.
#[inline(always)]
fn count_difference(ctx: &XdpContext, slot: Slot) {
    let packet = &Packet::arriving_again(ctx);
    let features = Features::of::<FIRST>();
    let headers = match parse::common(packet, features) {
        Some(common) => Ok(common.headers()),
        None => parse::headers(packet, features),
    };
    let Ok(headers) = headers else { return };
    let headers = joined(headers, features);
    let packet = &Packet::arriving_again(ctx);
    if headers.part == Part::Later {
        return;
    }
    let class = config::class::<SECOND_SET>(headers.index);
    let other = classify::judge::<SECOND_SET>(ctx, packet, &headers, class);
    if accepts(slot) == accepts(other) {
        return;
    }
    let opens = accepts(other);
    let Some(difference) = DIFFERENCES.get_ptr_mut((if opens { other } else { slot }).into()) else { return };
    // SAFETY: the map handed out this CPU's own element, and nothing preempts the program.
    let difference = unsafe { &mut *difference };
    count(if opens { &mut difference.opens } else { &mut difference.closes }, packet);
    difference.last = example(packet, &headers);
}

#[inline(always)]
fn count(counter: &mut Counter, packet: &Packet) {
    counter.packets += 1;
    counter.bytes += packet.len();
}

/// What an operator wants to know of a packet.
#[inline(always)]
fn example(packet: &Packet, headers: &Headers) -> Example {
    let mut example = Example { seen: now(), index: headers.index as u32, ..Example::default() };
    match headers.version {
        Version::V4 => {
            let header: Option<&Window<20>> = packet.window(headers.network);
            if let Some(header) = header {
                example.version = 4;
                let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (header.bytes::<12, 4>(), header.bytes::<16, 4>());
                example.source = [s0, s1, s2, s3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                example.destination = [d0, d1, d2, d3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            }
        }
        Version::V6 => {
            let header: Option<&Window<40>> = packet.window(headers.network);
            if let Some(header) = header {
                example.version = 6;
                example.source = header.bytes::<8, 16>();
                example.destination = header.bytes::<24, 16>();
            }
        }
    }
    let transport: Option<&Window<8>> = packet.window(headers.transport);
    if let Some(header) = transport {
        example.source_port = match headers.kind {
            Kind::Syn | Kind::Segment | Kind::Datagram | Kind::Association => header.half::<0>(),
            Kind::EchoRequest | Kind::EchoReply => header.half::<4>(),
            Kind::Other => 0,
        };
    }
    example
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes no arguments and has no side effects.
    unsafe { bpf_ktime_get_coarse_ns() }
}
