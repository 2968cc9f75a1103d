//! Flows: [`learn`] records the conversations that this host begins, [`admit`] those that others begin with it,
//! and [`reply`] recognises the replies to the former.
//!
//! A TCP flow begins with a SYN of this host, an echo flow with a request. UDP and SCTP packets do not show who
//! asks, so the first packet of either side that passes decides it, and nothing changes it until the flow is
//! over: the port, the policy and the interface may all be others by then. What a packet changes in the table once its
//! key is known stands in [`crate::course`].

use core::hint::black_box;

use portcullis_common::{
    abi::feature,
    class,
    flow::{Key, MARKS, state},
    slot::{Reason, Slot},
};

use crate::{
    config,
    course::{
        ANEW, BEGAN, BEGINS, NOT_OWN, flow_answers, flow_arrives, flow_asked, flow_asks, flow_continues,
        flow_leaves,
    },
    header::{Headers, Kind, Part, Side, Version, icmp, icmp6, sctp_index, tcp_index, udp_index},
    packet::{Packet, Window},
    parse::ETHERNET,
    shared::Shared,
};

/// A byte for each class index, with [`USED`] where replies to a flow that this host began have that index: they come to
/// its local port, or are echo replies. Any other packet that no rule admits is dropped without a flow look-up, which
/// keeps a flood cheap.
/// Bytes rather than bits, because two CPUs may mark neighbours at the same time. Pinned with the
/// flows.
#[unsafe(link_section = ".bss.flow_marks")]
static FLOW_MARKS: Shared<[u8; MARKS]> = Shared::new([0; MARKS]);

/// Bits of a mark: a flow has replies of this index.
const USED: u32 = 1;
/// A question was asked from its port that others may answer.
pub(crate) const ASKED: u32 = 2;

/// Records what a leaving packet begins, and notes what it ends. Silent about everything else.
#[inline(always)]
pub(crate) fn learn<const SET: bool>(packet: &Packet, headers: &Headers) {
    if headers.part == Part::Later {
        return;
    }
    let Some(ports) = ports(packet, headers, Side::Source) else { return };
    let ending = ending(packet, headers, Side::Source);
    let how = match headers.kind {
        Kind::Syn => BEGINS | ANEW,
        Kind::EchoRequest | Kind::Datagram | Kind::Association => BEGINS,
        Kind::Segment if ending != 0 => ending.into(),
        Kind::Segment | Kind::EchoReply | Kind::Other => return,
    };
    let is_datagram = matches!(headers.kind, Kind::Datagram | Kind::Association);
    if config::listens() && is_datagram && !config::looks_own(ports.local, ports.remote) {
        // What arrived is not known, so that this may answer it.
        return;
    }
    if config::has::<SET>(feature::GATEWAY) && is_datagram {
        // Whether it answers a client does not depend on whether a rule let the client's question in.
        if is_answer::<SET>(packet, headers, ports, 0, state::VISIT) == Some(true) {
            return;
        }
    }
    let Some(key) = key(packet, headers, ports, Side::Source) else { return };
    let own = flow_leaves(&raw const key, how);
    if own == BEGAN {
        mark(headers, ports.local, USED);
    }
    if own != NOT_OWN && headers.kind == Kind::Datagram && !config::has::<SET>(feature::GATEWAY) {
        let is_for_group = is_for_group::<SET>(packet, headers);
        if is_for_group || ports.remote == TFTP.to_be() {
            flow_asks(&raw const key, is_for_group.into());
            mark(headers, ports.local, USED | ASKED);
        }
    }
}

/// The port that TFTP's questions go to; a server answers from a new one (RFC 1350 section 4).
const TFTP: u16 = 69;

/// Records what an arriving packet begins that passes: on a gateway a conversation of a client behind this
/// interface, else one of the other side with this host. `is_ruled` says whether a rule let it in.
#[inline(always)]
pub(crate) fn admit<const SET: bool>(packet: &Packet, headers: &Headers, is_ruled: bool) {
    let is_gateway = config::has::<SET>(feature::GATEWAY);
    let (side, began) = if is_gateway { (Side::Source, 0) } else { (Side::Destination, state::VISIT) };
    let Some(ports) = ports(packet, headers, side) else { return };
    if !is_ruled && config::listens() && config::looks_own(ports.local, ports.remote) {
        return;
    }
    let Some(key) = key(packet, headers, ports, side) else { return };
    let key = if !is_gateway && is_for_group::<SET>(packet, headers) { key.of_group() } else { key };
    let anew = if headers.kind == Kind::Syn { ANEW } else { 0 };
    let how = u32::from(began) | if is_ruled { 0 } else { state::UNRULED.into() } | anew;
    if flow_arrives(&raw const key, how) != 0 && is_gateway {
        mark(headers, ports.local, USED);
    }
}

/// The reason to let out a datagram or an SCTP packet: it answers one that was let in.
#[inline(always)]
pub(crate) fn answer<const SET: bool>(packet: &Packet, headers: &Headers) -> Option<Reason> {
    let leaving = ports(packet, headers, Side::Source)?;
    if may_be_dhcp::<SET>(headers) && is_dhcp(leaving, headers.version) {
        return Some(Reason::Dhcp);
    }
    let began = if config::has::<SET>(feature::GATEWAY) { 0 } else { state::VISIT };
    let reason = if headers.kind == Kind::Association { Reason::FlowSctp } else { Reason::FlowUdp };
    is_answer::<SET>(packet, headers, leaving, began, state::VISIT | state::UNRULED)?.then_some(reason)
}

/// Whether a leaving datagram or SCTP packet belongs to a conversation whose state is `state` among the bits of
/// `mask`: on a gateway one that a client began to whom it goes, else one with this host.
#[inline(always)]
fn is_answer<const SET: bool>(
    packet: &Packet,
    headers: &Headers,
    leaving: Ports,
    state: u8,
    mask: u8,
) -> Option<bool> {
    let key = if config::has::<SET>(feature::GATEWAY) {
        key(packet, headers, leaving.reversed(), Side::Destination)?
    } else {
        key(packet, headers, leaving, Side::Source)?
    };
    Some(flow_answers(&raw const key, u32::from(mask) << 8 | u32::from(state)) != 0)
}

/// The slot of an arriving packet that no rule admits, where it is accepted: it replies to a conversation that
/// this host began, or to its DHCP client.
#[inline(always)]
pub(crate) fn reply<const SET: bool>(packet: &Packet, headers: &Headers) -> Option<Slot> {
    let ports = ports(packet, headers, Side::Destination)?;
    if may_be_dhcp::<SET>(headers) && is_dhcp(ports, headers.version) {
        return Some(Reason::Dhcp.slot());
    }
    let key = key(packet, headers, ports, Side::Destination)?;
    let ending = ending(packet, headers, Side::Destination);
    (flow_continues(&raw const key, ending.into()) != 0).then_some(headers.kind.reply())
}

/// Whether an arriving datagram answers a question of this host that others may answer than it was sent to.
#[inline(always)]
pub(crate) fn answers_question(packet: &Packet, headers: &Headers) -> bool {
    let Some(ports) = ports(packet, headers, Side::Destination) else { return false };
    let Some(key) = key(packet, headers, ports, Side::Destination) else { return false };
    flow_asked(&raw const key) != 0
}

/// What a TCP segment of the local end (source) or the remote one (destination) ends: its own side of the
/// conversation, or, by a reset, both. That the remote end resets is only claimed.
#[inline(always)]
fn ending(packet: &Packet, headers: &Headers, side: Side) -> u8 {
    const FIN: u8 = 0x01;
    const RST: u8 = 0x04;
    if headers.kind != Kind::Segment {
        return 0;
    }
    let Some(header) = packet.window::<14>(headers.transport) else { return 0 };
    let flags = header.byte::<13>();
    let (fin, reset) = match side {
        Side::Source => (state::LOCAL_FIN, state::LOCAL_FIN | state::REMOTE_FIN),
        Side::Destination => (state::REMOTE_FIN, state::RESET),
    };
    (if flags & RST != 0 { reset } else { 0 }) | if flags & FIN != 0 { fin } else { 0 }
}

/// A conversation's ports as they stand in the packet; for echo, both are the identifier.
#[derive(Clone, Copy)]
struct Ports {
    local: u16,
    remote: u16,
}

impl Ports {
    /// Those of the same packet, whose other end is the local one.
    #[inline(always)]
    fn reversed(self) -> Self {
        Self { local: self.remote, remote: self.local }
    }
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
fn key(packet: &Packet, headers: &Headers, ports: Ports, side: Side) -> Option<Key> {
    let ends = Key::ends(ports.local, ports.remote, headers.kind.protocol());
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

/// Whether an arriving packet is addressed to more than one host: by its link-layer address (IEEE 802-2014 section
/// 8.2.2: the lowest bit of the first byte), which covers the broadcasts of networks that the program does not
/// know, or by its IP address (RFC 1112 section 4, RFC 919 section 7, RFC 4291 section 2.7).
#[inline(always)]
fn is_for_group<const SET: bool>(packet: &Packet, headers: &Headers) -> bool {
    // The compiler knows that the header is there, because others are, and would leave the check out; the
    // verifier, which does not, would refuse the program.
    let first = black_box(0);
    if !config::has::<SET>(feature::NO_LINK_HEADER)
        && packet.window::<ETHERNET>(first).is_some_and(|frame| frame.byte::<0>() & 1 != 0)
    {
        return true;
    }
    match headers.version {
        Version::V4 => packet.window::<20>(headers.network).is_some_and(|header| header.byte::<16>() >= 224),
        Version::V6 => packet.window::<40>(headers.network).is_some_and(|header| header.byte::<24>() == 0xff),
    }
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

/// Sets bits in the mark of what replies to a packet have: the local port, or the type of an echo reply.
#[inline(always)]
fn mark(headers: &Headers, local_port: u16, bits: u32) {
    let index = match (headers.kind, headers.version) {
        (Kind::Syn | Kind::Segment, _) => tcp_index(local_port),
        (Kind::Datagram, _) => udp_index(local_port),
        (Kind::Association, _) => sctp_index(local_port),
        (Kind::EchoRequest, Version::V4) => class::ICMP4 + usize::from(icmp::ECHO_REPLY),
        (Kind::EchoRequest, Version::V6) => class::ICMP6 + usize::from(icmp6::ECHO_REPLY),
        (Kind::EchoReply | Kind::Other, _) => return,
    };
    let marked = mark_of(index);
    if marked & bits != bits {
        // SAFETY: `byte_of` gives a byte inside the map's value, valid while the program runs; it is written whole.
        // Should two write at once, no writer leaves out `USED`, and the next question sets its bit again.
        unsafe { byte_of(index).write_volatile((marked | bits) as u8) };
    }
}

/// The mark of a class index: bit 0 where some flow has replies of it.
#[inline(always)]
pub(crate) fn mark_of(index: usize) -> u32 {
    // SAFETY: `byte_of` gives a byte inside the map's value, valid while the program runs.
    unsafe { byte_of(index).read_volatile() }.into()
}

/// The byte of `FLOW_MARKS` for a class index.
#[inline(always)]
fn byte_of(index: usize) -> *mut u8 {
    // SAFETY: the masked index is inside the value. The mask leaves a class index as it is.
    unsafe { FLOW_MARKS.get().cast::<u8>().add(index & (MARKS - 1)) }
}
