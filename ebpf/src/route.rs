//! Packet -> whether this host would pass it on to another.
//!
//! A rule opens a port of this host, so what it lets in must be addressed to this host. Which addresses those are the
//! kernel knows best: the question is that which the stack itself asks when the packet arrives (its routes and the
//! rules that choose among them), so that an address that is added counts at once, whoever adds it.

use aya_ebpf::{
    bindings::{bpf_fib_lookup as Lookup, xdp_md},
    helpers::generated::bpf_fib_lookup,
    programs::XdpContext,
};
use portcullis_common::{class, slot::Reason};

use crate::{
    header::{Headers, Version},
    packet::Packet,
};

/// Families of addresses (include/linux/socket.h).
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// What the kernel answers (`BPF_FIB_LKUP_RET_*` of include/uapi/linux/bpf.h): the first and the last by which a
/// packet is thrown away or refused, that it is not passed on (local, broadcast or no route), and that this interface
/// passes nothing on.
const BLACKHOLE: i64 = 1;
const PROHIBIT: i64 = 3;
const NOT_FORWARDED: i64 = 4;
const FORWARDING_DISABLED: i64 = 5;
/// No answer of the kernel's: the header is not there, which was looked at before.
const NO_HEADER: i64 = -1;

/// The reason to drop a packet that a rule lets in: the host would route it on, or does not say. What is addressed to a
/// group goes to this host as well as to others.
#[inline(always)]
pub(crate) fn beyond(ctx: &XdpContext, headers: &Headers) -> Option<Reason> {
    if (class::ETHER..class::ETHER + class::ETHER_TYPES).contains(&headers.index) {
        // It carries no IP, and has no address that could be looked up.
        return None;
    }
    match answer(ctx.ctx, headers.network, headers.version) {
        BLACKHOLE..=PROHIBIT | NOT_FORWARDED | FORWARDING_DISABLED => None,
        0.. => Some(Reason::Routed),
        _ => Some(Reason::Internal),
    }
}

/// What the kernel's routes say of a packet whose IP header stands at `network`. A function of its own, so that the
/// question lies on a stack of its own.
#[inline(never)]
fn answer(ctx: *mut xdp_md, network: usize, version: Version) -> i64 {
    let packet = &Packet::arriving_again(&XdpContext::new(ctx));
    // SAFETY: numbers and addresses, for which zeros are values.
    let mut lookup: Lookup = unsafe { core::mem::zeroed() };
    match version {
        Version::V4 => {
            let Some(header) = packet.window::<20>(network) else { return NO_HEADER };
            if header.byte::<16>() >= 224 {
                return NOT_FORWARDED;
            }
            lookup.family = AF_INET;
            lookup.__bindgen_anon_2.tos = header.byte::<1>();
            lookup.__bindgen_anon_3.ipv4_src = header.word::<12>();
            lookup.__bindgen_anon_4.ipv4_dst = header.word::<16>();
        }
        Version::V6 => {
            let Some(header) = packet.window::<40>(network) else { return NO_HEADER };
            if header.byte::<24>() == 0xff {
                return NOT_FORWARDED;
            }
            lookup.family = AF_INET6;
            lookup.__bindgen_anon_3.ipv6_src =
                [header.word::<8>(), header.word::<12>(), header.word::<16>(), header.word::<20>()];
            lookup.__bindgen_anon_4.ipv6_dst =
                [header.word::<24>(), header.word::<28>(), header.word::<32>(), header.word::<36>()];
        }
    }
    // SAFETY: the context is the kernel's and lives as long as the program runs.
    lookup.ifindex = unsafe { (*ctx).ingress_ifindex };
    // SAFETY: the helper reads and writes the structure, whose size it is given, and reads the context.
    unsafe { bpf_fib_lookup(ctx.cast(), &raw mut lookup, size_of::<Lookup>() as i32, 0) }
}
