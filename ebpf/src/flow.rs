//! Flows: [`learn`] records the conversations that this host begins, [`reply`] recognises their
//! replies.
//!
//! A TCP flow begins with a SYN of this host, a UDP flow with a datagram from a port that no rule
//! opens, an echo flow with a request. What arrives at a documented port needs no flow.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::map,
    maps::{Array, LruHashMap},
};
use portcullis_common::{
    abi::feature,
    class,
    flow::{Flow, FlowKey4, FlowKey6, PORTS},
    slot::{Reason, accepts},
};

use crate::{
    config,
    header::{Headers, Kind, Version, protocol, tcp_index, udp_index},
    packet::{Packet, Window},
    parse,
};

/// Flows of each version of IP, unless userspace asks for another number.
const DEFAULT_FLOWS: u32 = 1 << 16;

/// IPv4 conversations that this host began. Egress writes, ingress reads and refreshes. Pinned:
/// they outlive generations.
#[map]
static FLOWS4: LruHashMap<FlowKey4, Flow> = LruHashMap::with_max_entries(DEFAULT_FLOWS, 0);
/// IPv6 conversations; as `FLOWS4`.
#[map]
static FLOWS6: LruHashMap<FlowKey6, Flow> = LruHashMap::with_max_entries(DEFAULT_FLOWS, 0);
/// One entry: a byte for each local TCP and UDP port (by class index), not zero where a flow uses the
/// port. A packet to any other port is dropped without a flow look-up, which keeps a flood cheap.
/// Bytes rather than bits, because two CPUs may mark neighbours at the same time. Pinned with the
/// flows.
#[map]
static FLOW_PORTS: Array<[u8; PORTS]> = Array::with_max_entries(1, 0);

/// A flow is written again only when this much time has passed, so that a busy conversation does not
/// write to memory that two CPUs share at every packet.
const REFRESH: u64 = 1_000_000_000;

/// Which side of a packet this host is.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// Records what a leaving packet begins. Silent about everything else.
#[inline(always)]
pub(crate) fn learn(packet: &Packet) {
    let Ok(headers) = parse::headers(packet) else { return };
    let Some(ports) = ports(packet, &headers, Side::Source) else { return };
    match headers.kind {
        Kind::Syn => {}
        // A datagram from a port that a rule opens: what comes back is admitted by that rule.
        Kind::Datagram if accepts_all(config::class(udp_index(ports.local))) => return,
        Kind::Datagram | Kind::EchoRequest => {}
        Kind::Segment | Kind::EchoReply | Kind::Other => return,
    }
    mark(&headers, ports.local);
    let now = now();
    match headers.version {
        Version::V4 => {
            let Some(key) = key4(packet, &headers, ports, Side::Source) else { return };
            if stale(FLOWS4.get_ptr(key), now) {
                // A full map evicts its oldest flow, so this can fail only under memory pressure;
                // then the reply is dropped and counted.
                let _ = FLOWS4.insert(key, Flow { last_seen: now }, BPF_ANY.into());
            }
        }
        Version::V6 => {
            let Some(key) = key6(packet, &headers, ports, Side::Source) else { return };
            if stale(FLOWS6.get_ptr(key), now) {
                let _ = FLOWS6.insert(key, Flow { last_seen: now }, BPF_ANY.into());
            }
        }
    }
}

/// The reason to accept an arriving packet that no rule admits: it replies to a conversation that
/// this host began, or to its DHCP client.
#[inline(always)]
pub(crate) fn reply(packet: &Packet, headers: &Headers) -> Option<Reason> {
    let (reason, timeout) = match headers.kind {
        Kind::Segment => (Reason::FlowTcp, config::tcp_timeout()),
        Kind::Datagram => (Reason::FlowUdp, config::udp_timeout()),
        Kind::EchoReply => (Reason::FlowEcho, config::udp_timeout()),
        Kind::Syn | Kind::EchoRequest | Kind::Other => return None,
    };
    if headers.kind != Kind::EchoReply && mark_of(headers.index) == 0 {
        return None;
    }
    let ports = ports(packet, headers, Side::Destination)?;
    if config::has(feature::DHCP) && headers.kind == Kind::Datagram && is_dhcp_reply(ports, headers.version) {
        return Some(Reason::Dhcp);
    }
    let flow = match headers.version {
        Version::V4 => FLOWS4.get_ptr_mut(key4(packet, headers, ports, Side::Destination)?),
        Version::V6 => FLOWS6.get_ptr_mut(key6(packet, headers, ports, Side::Destination)?),
    }?;
    let now = now();
    // SAFETY: the map handed out the pointer; the kernel keeps the element's memory while the program
    // runs. A concurrent writer can only make the time a little older or newer.
    let last_seen = unsafe { (*flow).last_seen };
    let idle = now.saturating_sub(last_seen);
    if idle > timeout {
        return None;
    }
    if idle > REFRESH {
        // SAFETY: as above.
        unsafe { (*flow).last_seen = now };
    }
    Some(reason)
}

/// A conversation's ports as they stand in the packet; for echo, both are the identifier.
#[derive(Clone, Copy)]
struct Ports {
    local: u16,
    remote: u16,
}

#[inline(always)]
fn ports(packet: &Packet, headers: &Headers, side: Side) -> Option<Ports> {
    let header: &Window<8> = packet.window(headers.transport)?;
    if matches!(headers.kind, Kind::EchoRequest | Kind::EchoReply) {
        let identifier = header.half::<4>();
        return Some(Ports { local: identifier, remote: identifier });
    }
    let (source, destination) = (header.half::<0>(), header.half::<2>());
    Some(match side {
        Side::Source => Ports { local: source, remote: destination },
        Side::Destination => Ports { local: destination, remote: source },
    })
}

#[inline(always)]
fn key4(packet: &Packet, headers: &Headers, ports: Ports, side: Side) -> Option<FlowKey4> {
    let header: &Window<20> = packet.window(headers.network)?;
    let (source, destination) = (header.bytes::<12, 4>(), header.bytes::<16, 4>());
    let (local, remote) = match side {
        Side::Source => (source, destination),
        Side::Destination => (destination, source),
    };
    let protocol = headers.kind.protocol()?.into();
    Some(FlowKey4 { local, remote, local_port: ports.local, remote_port: ports.remote, protocol })
}

#[inline(always)]
fn key6(packet: &Packet, headers: &Headers, ports: Ports, side: Side) -> Option<FlowKey6> {
    let header: &Window<40> = packet.window(headers.network)?;
    let (source, destination) = (header.bytes::<8, 16>(), header.bytes::<24, 16>());
    let (local, remote) = match side {
        Side::Source => (source, destination),
        Side::Destination => (destination, source),
    };
    let protocol = headers.kind.protocol()?.into();
    Some(FlowKey6 { local, remote, local_port: ports.local, remote_port: ports.remote, protocol })
}

/// Whether a class accepts every packet, whatever its source and local address.
#[inline(always)]
fn accepts_all(class: u16) -> bool {
    class & class::MORE == 0 && accepts(class)
}

/// DHCP: server port 67 to client port 68 (RFC 2131 section 4.1); DHCPv6: 547 to 546 (RFC 8415
/// section 7.2). Userspace has the client ports marked, so that what arrives there is looked at.
#[inline(always)]
fn is_dhcp_reply(ports: Ports, version: Version) -> bool {
    match version {
        Version::V4 => ports.local == 68_u16.to_be() && ports.remote == 67_u16.to_be(),
        Version::V6 => ports.local == 546_u16.to_be() && ports.remote == 547_u16.to_be(),
    }
}

/// Marks the local port of a TCP or UDP flow as used.
#[inline(always)]
fn mark(headers: &Headers, local_port: u16) {
    let index = match headers.kind.protocol() {
        Some(protocol::TCP) => tcp_index(local_port),
        Some(protocol::UDP) => udp_index(local_port),
        _ => return,
    };
    let Some(used) = port_byte(index) else { return };
    // SAFETY: `port_byte` gives a byte inside the map's value, valid while the program runs.
    if unsafe { used.read() } == 0 {
        // SAFETY: as above; a byte is written whole, and every writer writes the same.
        unsafe { used.write(1) };
    }
}

/// 1 where some flow uses the local port with this class index, else 0.
#[inline(always)]
pub(crate) fn mark_of(index: usize) -> u32 {
    match port_byte(index) {
        // SAFETY: `port_byte` gives a byte inside the map's value, valid while the program runs.
        Some(used) => unsafe { used.read() }.into(),
        None => 0,
    }
}

/// The byte of `FLOW_PORTS` for a TCP or UDP class index.
#[inline(always)]
fn port_byte(index: usize) -> Option<*mut u8> {
    let ports = FLOW_PORTS.get_ptr_mut(0)?.cast::<u8>();
    if index >= PORTS {
        return None;
    }
    // SAFETY: the index is inside the value, as just checked.
    Some(unsafe { ports.add(index) })
}

/// Whether a flow is missing or was last seen long enough ago to be written again.
#[inline(always)]
fn stale(flow: Option<*const Flow>, now: u64) -> bool {
    match flow {
        // SAFETY: the map handed out the pointer; see `reply`.
        Some(flow) => now.saturating_sub(unsafe { (*flow).last_seen }) > REFRESH,
        None => true,
    }
}

/// Nanoseconds on the kernel's coarse monotonic clock, up to one tick late.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes no arguments and has no side effects.
    unsafe { bpf_ktime_get_coarse_ns() }
}
