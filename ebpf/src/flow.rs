//! Flows: [`learn`] records the conversations that this host begins, [`reply`] recognises their
//! replies.
//!
//! A TCP flow begins with a SYN of this host, a UDP or SCTP flow with a packet from a port that no rule
//! opens, an echo flow with a request. What arrives at a documented port needs no flow.

use portcullis_common::{
    abi::{self, feature},
    class,
    flow::{Key, PORTS, is_closed, origin, state},
    slot::{Reason, Slot, accepts},
};

use crate::{
    clock,
    config::{self, FIRST, SECOND_SET},
    header::{Headers, Kind, Part, Side, Version, sctp_index, tcp_index, udp_index},
    packet::{Packet, Window},
    shared::Shared,
    table,
};

/// A byte for each local TCP and UDP port (by class index), not zero where a flow uses the port. A packet to any other port is dropped without a flow look-up, which keeps a flood cheap.
/// Bytes rather than bits, because two CPUs may mark neighbours at the same time. Pinned with the
/// flows.
#[unsafe(link_section = ".bss.flow_ports")]
static FLOW_PORTS: Shared<[u8; PORTS]> = Shared::new([0; PORTS]);

/// Records what a leaving packet begins, and notes what it ends. Silent about everything else.
#[inline(always)]
pub(crate) fn learn<const SET: bool>(packet: &Packet, headers: &Headers) {
    if headers.part == Part::Later {
        return;
    }
    let Some(ports) = ports(packet, headers, Side::Source) else { return };
    let ending = ending(packet, headers, state::LOCAL_FIN);
    match headers.kind {
        Kind::Syn | Kind::EchoRequest => {}
        // A packet from a port that a rule opens: what comes back is admitted by that rule.
        Kind::Datagram if is_open_to_all(udp_index(ports.local)) => return,
        Kind::Association if is_open_to_all(sctp_index(ports.local)) => return,
        Kind::Datagram | Kind::Association => {}
        Kind::Segment if ending != 0 => {}
        Kind::Segment | Kind::EchoReply | Kind::Other => return,
    }
    let may_answer =
        config::has::<SET>(feature::GATEWAY) && matches!(headers.kind, Kind::Datagram | Kind::Association);
    if may_answer && answer::<SET>(packet, headers).is_some() {
        return;
    }
    note(packet, headers, ports, Side::Source, origin::LOCAL, ending);
}

/// Records what an arriving packet that a rule accepts begins: on a gateway a conversation of a client
/// behind this interface, else one that is answered from here.
#[inline(always)]
pub(crate) fn admit<const SET: bool>(packet: &Packet, headers: &Headers) {
    let (side, origin) = if config::has::<SET>(feature::GATEWAY) {
        (Side::Source, origin::LOCAL)
    } else {
        (Side::Destination, origin::REMOTE)
    };
    let Some(ports) = ports(packet, headers, side) else { return };
    note(packet, headers, ports, side, origin, 0);
}

/// The reason to let out a datagram or an SCTP packet: it answers one that was let in.
#[inline(always)]
pub(crate) fn answer<const SET: bool>(packet: &Packet, headers: &Headers) -> Option<Reason> {
    let leaving = ports(packet, headers, Side::Source)?;
    if may_be_dhcp::<SET>(headers) && is_dhcp(leaving, headers.version) {
        return Some(Reason::Dhcp);
    }
    let key = if config::has::<SET>(feature::GATEWAY) {
        let ports = ports(packet, headers, Side::Destination)?;
        key(packet, headers, ports, Side::Destination, origin::LOCAL)?
    } else {
        key(packet, headers, leaving, Side::Source, origin::REMOTE)?
    };
    let reason = if headers.kind == Kind::Association { Reason::FlowSctp } else { Reason::FlowUdp };
    (flow_lives(&raw const key) != 0).then_some(reason)
}

/// Begins a flow, or notes that it goes on or ends.
#[inline(always)]
fn note(packet: &Packet, headers: &Headers, ports: Ports, side: Side, origin: u8, ending: u8) {
    let Some(key) = key(packet, headers, ports, side, origin) else { return };
    let how = match headers.kind {
        Kind::Syn => BEGINS | ANEW,
        Kind::Segment => ending.into(),
        _ => BEGINS,
    };
    if flow_goes_on(&raw const key, how) != 0 && origin == origin::LOCAL {
        mark(headers, ports.local);
    }
}

/// The slot of an arriving packet that no rule admits, where it is accepted: it replies to a conversation that
/// this host began, or to its DHCP client.
#[inline(always)]
pub(crate) fn reply<const SET: bool>(packet: &Packet, headers: &Headers) -> Option<Slot> {
    if matches!(headers.kind, Kind::Syn | Kind::EchoRequest | Kind::Other) {
        return None;
    }
    // Of TCP and UDP alone is it known which ports flows use.
    if matches!(headers.kind, Kind::Segment | Kind::Datagram) && mark_of(headers.index) == 0 {
        return None;
    }
    let ports = ports(packet, headers, Side::Destination)?;
    if may_be_dhcp::<SET>(headers) && is_dhcp(ports, headers.version) {
        return Some(Reason::Dhcp.slot());
    }
    let key = key(packet, headers, ports, Side::Destination, origin::LOCAL)?;
    let ending = ending(packet, headers, state::REMOTE_FIN);
    (flow_continues(&raw const key, ending.into()) != 0).then_some(headers.kind.reply())
}

// The three functions that follow are functions for the verifier as well, which looks at each of them
// once, and not again for every way in which headers can stand in a packet.

/// Whether a conversation is alive to which a packet of the other side belongs that ends it by `ending`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flow_continues(key: *const Key, ending: u32) -> u32 {
    // SAFETY: the verifier takes a pointer that is not null for one to a whole key, and has the callers
    // hand such a one over.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let Some(found) = table::find(key) else { return 0 };
    let (life, now) = (found.life, clock::now());
    let idle = life.idle(now);
    if idle > config::timeout(key.ends, life.state()) {
        return 0;
    }
    let state = life.state() | state::ANSWERED | ending as u8;
    // A busy conversation does not write to memory that two CPUs share at every packet; one that is
    // closed lives no longer for what still comes.
    if state != life.state() || idle > config::refresh() && !is_closed(life.state()) {
        table::change(found, state, now);
    }
    1
}

/// Whether a conversation is alive; it goes on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flow_lives(key: *const Key) -> u32 {
    // SAFETY: the verifier takes a pointer that is not null for one to a whole key, and has the callers
    // hand such a one over.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let Some(found) = table::find(key) else { return 0 };
    let now = clock::now();
    let (idle, state) = (found.life.idle(now), found.life.state());
    if idle > config::timeout(key.ends, state) {
        return 0;
    }
    if idle > config::refresh() {
        table::change(found, state, now);
    }
    1
}

/// What [`flow_goes_on`] is told of a packet: how it ends its conversation, and these.
const BEGINS: u32 = 0x100;
/// It begins a conversation anew, whatever was between the same ports before.
const ANEW: u32 = 0x200;

/// Notes that a conversation begins, goes on or ends. Gives whether it is a new one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn flow_goes_on(key: *const Key, how: u32) -> u32 {
    // SAFETY: the verifier takes a pointer that is not null for one to a whole key, and has the callers
    // hand such a one over.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let now = clock::now();
    let Some(found) = table::find(key) else {
        if how & BEGINS == 0 {
            return 0;
        }
        table::begin(key);
        return 1;
    };
    let life = found.life;
    let idle = life.idle(now);
    if how & BEGINS == 0 && idle > config::timeout(key.ends, life.state()) {
        return 0;
    }
    let state = if how & ANEW != 0 { 0 } else { life.state() | how as u8 };
    if state != life.state() || idle > config::refresh() {
        table::change(found, state, now);
    }
    0
}

/// What a TCP segment ends: `fin`, or the whole conversation, or nothing.
#[inline(always)]
fn ending(packet: &Packet, headers: &Headers, fin: u8) -> u8 {
    const FIN: u8 = 0x01;
    const RST: u8 = 0x04;
    if headers.kind != Kind::Segment {
        return 0;
    }
    let Some(header) = packet.window::<14>(headers.transport) else { return 0 };
    let flags = header.byte::<13>();
    let reset = if flags & RST != 0 { state::RESET } else { 0 };
    reset | if flags & FIN != 0 { fin } else { 0 }
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
fn key(packet: &Packet, headers: &Headers, ports: Ports, side: Side, origin: u8) -> Option<Key> {
    let ends = Key::ends(ports.local, ports.remote, headers.kind.protocol(), origin);
    Some(match headers.version {
        Version::V4 => {
            let header: &Window<20> = packet.window(headers.network)?;
            let (source, destination) = (header.bytes::<12, 4>(), header.bytes::<16, 4>());
            match side {
                Side::Source => Key::v4(source, destination, ends),
                Side::Destination => Key::v4(destination, source, ends),
            }
        }
        Version::V6 => {
            let header: &Window<40> = packet.window(headers.network)?;
            let source = [header.long::<8>(), header.long::<16>()];
            let destination = [header.long::<24>(), header.long::<32>()];
            match side {
                Side::Source => Key::v6(source, destination, ends),
                Side::Destination => Key::v6(destination, source, ends),
            }
        }
    })
}

/// Whether every set of rules accepts every packet to the class index.
#[inline(always)]
fn is_open_to_all(index: usize) -> bool {
    let second = config::second_is(abi::second::NONE) || accepts_all(config::class::<SECOND_SET>(index));
    second && accepts_all(config::class::<FIRST>(index))
}

/// Whether a class accepts every packet, whatever its source and local address.
#[inline(always)]
fn accepts_all(class: u16) -> bool {
    class & class::MORE == 0 && accepts(class)
}

/// Whether a packet may have to do with DHCP, and the policy has replies to this host's client accepted.
#[inline(always)]
fn may_be_dhcp<const SET: bool>(headers: &Headers) -> bool {
    config::has::<SET>(feature::DHCP) && headers.kind == Kind::Datagram
}

/// Whether a datagram is between this host's DHCP client and a server: ports 68 and 67 (RFC 2131 section
/// 4.1); DHCPv6: 546 and 547 (RFC 8415 section 7.2). Userspace has the client ports marked, so that what
/// arrives there is looked at.
#[inline(always)]
fn is_dhcp(ports: Ports, version: Version) -> bool {
    match version {
        Version::V4 => ports.local == 68_u16.to_be() && ports.remote == 67_u16.to_be(),
        Version::V6 => ports.local == 546_u16.to_be() && ports.remote == 547_u16.to_be(),
    }
}

/// Marks the local port of a TCP or UDP flow as used.
#[inline(always)]
fn mark(headers: &Headers, local_port: u16) {
    let index = match headers.kind {
        Kind::Syn | Kind::Segment => tcp_index(local_port),
        Kind::Datagram => udp_index(local_port),
        _ => return,
    };
    let used = port_byte(index);
    // SAFETY: `port_byte` gives a byte inside the map's value, valid while the program runs.
    if unsafe { used.read_volatile() } == 0 {
        // SAFETY: as above; a byte is written whole, and every writer writes the same.
        unsafe { used.write_volatile(1) };
    }
}

/// 1 where some flow uses the local port with this class index, else 0.
#[inline(always)]
pub(crate) fn mark_of(index: usize) -> u32 {
    // SAFETY: `port_byte` gives a byte inside the map's value, valid while the program runs.
    unsafe { port_byte(index).read_volatile() }.into()
}

/// The byte of `FLOW_PORTS` for a TCP or UDP class index.
#[inline(always)]
fn port_byte(index: usize) -> *mut u8 {
    // SAFETY: the masked index is inside the value. Whoever asks for the index of a TCP or UDP port has one
    // that the mask leaves as it is.
    unsafe { FLOW_PORTS.get().cast::<u8>().add(index & (PORTS - 1)) }
}
