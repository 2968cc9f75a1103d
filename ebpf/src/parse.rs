//! Packet -> headers, or the reason why it cannot be judged by what it is addressed to.
//!
//! [`headers`] is the whole truth: Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with
//! extension headers. [`common`] recognises the shapes that nearly all traffic has with one bounds
//! check and a few masked words, and says nothing about any other packet.

use portcullis_common::{abi::feature, class, slot::Reason};

use crate::{
    config::{self, Features},
    header::{
        ACK, Headers, Kind, Part, SYN, Version, icmp, icmp6, protocol, sctp_index, tcp_index, udp_index,
    },
    packet::Packet,
};

/// Length of an Ethernet header without tags.
pub(crate) const ETHERNET: usize = 14;
/// Length of a VLAN tag (IEEE 802.1Q).
pub(crate) const TAG: usize = 4;
/// IPv6 extension headers that are followed. RFC 8200 section 4.1 names six that may stand before
/// the upper layer, one of them twice; more is no honest packet. Followed are those that a host takes off: behind
/// an Authentication, Mobility, HIP or Shim6 header, sockets of that protocol get the packet, so it is judged as one
/// of that protocol, as in IPv4.
const MAX_EXTENSIONS: usize = 8;

/// EtherTypes in network byte order, as they stand in the packet.
mod ether {
    pub(super) const IPV4: u16 = 0x0800_u16.to_be();
    pub(super) const ARP: u16 = 0x0806_u16.to_be();
    pub(super) const IPV6: u16 = 0x86dd_u16.to_be();
    pub(super) const VLAN: u16 = 0x8100_u16.to_be();
    pub(super) const SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
}

/// A word of the packet as a native integer, from its bytes in the packet's order.
const fn word(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}

/// What most verdicts need of a packet of a common shape. Little, so that it stays in registers.
pub(crate) struct Common {
    /// Index into the class table.
    pub(crate) index: usize,
    /// Zero where the packet is a TCP segment that asks for a connection.
    pub(crate) not_syn: u32,
    /// One where it is a UDP datagram, else zero.
    pub(crate) is_datagram: u32,
    version: Version,
    network: usize,
}

impl Common {
    /// Everything there is to know of the headers.
    #[inline(always)]
    pub(crate) fn headers(&self) -> Headers {
        let Self { index, version, network, .. } = *self;
        let length = match version {
            Version::V4 => 20,
            Version::V6 => 40,
        };
        let (transport, kind) = (network + length, self.kind());
        Headers { index, version, network, transport, kind, part: Part::Whole, fragment: 0 }
    }

    /// Syn, Segment or Datagram.
    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        match self.not_syn {
            0 => Kind::Syn,
            _ if self.index < class::UDP => Kind::Segment,
            _ => Kind::Datagram,
        }
    }
}

/// Recognises the shapes that carry nearly all traffic: at most two VLAN tags, IPv4 without options
/// and not a fragment or IPv6 without extension headers, TCP or UDP. `None` says nothing but that
/// [`headers`] must look.
#[inline(always)]
pub(crate) fn common(packet: &Packet, features: Features) -> Option<Common> {
    if features.has(feature::NO_LINK_HEADER) {
        return None;
    }
    let frame = packet.window::<54>(0)?;
    match frame.half::<12>() {
        ether::VLAN | ether::SERVICE_VLAN => match frame.half::<16>() {
            ether::VLAN | ether::SERVICE_VLAN => common_at::<{ 2 * TAG }>(packet),
            _ => common_at::<TAG>(packet),
        },
        _ => common_at::<0>(packet),
    }
}

/// [`common`] behind `TAGS` bytes of VLAN tags.
#[inline(always)]
fn common_at<const TAGS: usize>(packet: &Packet) -> Option<Common> {
    // The EtherType, then version and IHL (IPv4) or version and half of the traffic class (IPv6).
    const TYPE_IHL: u32 = word([0xff, 0xff, 0xff, 0]);
    const IPV4_PLAIN: u32 = word([0x08, 0x00, 0x45, 0]);
    const TYPE_VERSION: u32 = word([0xff, 0xff, 0xf0, 0]);
    const IPV6: u32 = word([0x86, 0xdd, 0x60, 0]);
    // MF and the fragment offset, TTL left out, and the protocol.
    const FRAGMENT_PROTOCOL: u32 = word([0x3f, 0xff, 0, 0xff]);
    const WHOLE_TCP: u32 = word([0, 0, 0, protocol::TCP]);
    const WHOLE_UDP: u32 = word([0, 0, 0, protocol::UDP]);

    let network = ETHERNET + TAGS;
    let frame = packet.window::<54>(TAGS)?;
    let start = frame.word::<12>();
    if start & TYPE_IHL == IPV4_PLAIN {
        let version = Version::V4;
        let destination = frame.half::<36>();
        return match frame.word::<20>() & FRAGMENT_PROTOCOL {
            WHOLE_TCP => {
                let not_syn = not_syn(frame.byte::<47>());
                Some(Common { index: tcp_index(destination), not_syn, is_datagram: 0, version, network })
            }
            WHOLE_UDP => {
                Some(Common { index: udp_index(destination), not_syn: 1, is_datagram: 1, version, network })
            }
            _ => None,
        };
    }
    if start & TYPE_VERSION == IPV6 {
        let version = Version::V6;
        return match frame.byte::<20>() {
            protocol::TCP => {
                let frame = packet.window::<74>(TAGS)?;
                let not_syn = not_syn(frame.byte::<67>());
                let index = tcp_index(frame.half::<56>());
                Some(Common { index, not_syn, is_datagram: 0, version, network })
            }
            protocol::UDP => {
                let frame = packet.window::<62>(TAGS)?;
                let index = udp_index(frame.half::<56>());
                Some(Common { index, not_syn: 1, is_datagram: 1, version, network })
            }
            _ => None,
        };
    }
    None
}

/// Zero where a TCP segment's flags ask for a connection: [`Kind::of_tcp`] without a branch.
#[inline(always)]
fn not_syn(flags: u8) -> u32 {
    (flags & (SYN | ACK) ^ SYN).into()
}

/// Headers of any packet, or the reason why it has none to judge it by.
#[inline(always)]
pub(crate) fn headers(packet: &Packet, features: Features) -> Result<Headers, Reason> {
    let (network, ether_type) = if features.has(feature::NO_LINK_HEADER) {
        (0, without_link_header(packet)?)
    } else {
        behind_link_header(packet)?
    };
    match ether_type {
        ether::IPV4 => ipv4(packet, network),
        ether::IPV6 => ipv6(packet, network),
        ether::ARP => Err(Reason::Arp),
        ether::VLAN | ether::SERVICE_VLAN => Err(Reason::VlanDepth),
        other => not_ip(packet, network, other, features),
    }
}

/// Where a packet without a link-layer header begins, as an EtherType: its version of IP.
#[inline(always)]
fn without_link_header(packet: &Packet) -> Result<u16, Reason> {
    // No less than a header: one byte would be compared in 32 bits, which the verifier does not follow.
    match packet.window::<20>(0).ok_or(Reason::Truncated)?.byte::<0>() >> 4 {
        4 => Ok(ether::IPV4),
        6 => Ok(ether::IPV6),
        _ => Err(Reason::NonIp),
    }
}

/// Where the network header stands behind Ethernet and at most two tags, and its EtherType.
#[inline(always)]
fn behind_link_header(packet: &Packet) -> Result<(usize, u16), Reason> {
    let mut network = ETHERNET;
    let mut ether_type = packet.window::<ETHERNET>(0).ok_or(Reason::Truncated)?.half::<12>();
    for _ in 0..2 {
        if ether_type != ether::VLAN && ether_type != ether::SERVICE_VLAN {
            break;
        }
        let tag = packet.window::<TAG>(network).ok_or(Reason::Truncated)?;
        ether_type = tag.half::<2>();
        network += TAG;
    }
    Ok((network, ether_type))
}

/// A frame that carries neither IP nor ARP: a control frame of the link, an EtherType that a rule names, or
/// neither.
#[inline(always)]
fn not_ip(packet: &Packet, network: usize, ether_type: u16, features: Features) -> Result<Headers, Reason> {
    // The first four bytes of the sixteen addresses that no bridge passes on (IEEE 802.1Q-2022 table 8-1).
    const CONTROL: u32 = word([0x01, 0x80, 0xc2, 0x00]);
    let frame = packet.window::<ETHERNET>(0).ok_or(Reason::Truncated)?;
    if frame.word::<0>() == CONTROL && frame.byte::<4>() == 0 && frame.byte::<5>() < 0x10 {
        return Err(Reason::LinkControl);
    }
    if !features.has(feature::ETHER_TYPES) {
        return Err(Reason::NonIp);
    }
    let number = config::ether_type(ether_type).ok_or(Reason::NonIp)?;
    let (version, kind, part) = (Version::V4, Kind::Other, Part::Whole);
    Ok(Headers {
        index: class::ETHER + number,
        version,
        network,
        transport: network,
        kind,
        part,
        fragment: 0,
    })
}

/// IPv4 (RFC 791 section 3.1).
#[inline(always)]
fn ipv4(packet: &Packet, network: usize) -> Result<Headers, Reason> {
    let header = packet.window::<20>(network).ok_or(Reason::Truncated)?;
    let version_ihl = header.byte::<0>();
    let length = usize::from(version_ihl & 0x0f) * 4;
    if version_ihl >> 4 != 4 || length < 20 {
        return Err(Reason::Malformed);
    }
    let transport = network + length;
    let field = u16::from_be(header.half::<6>());
    let more = field & 0x2000 != 0;
    let (version, fragment) = (Version::V4, 0);
    if field & 0x1fff != 0 {
        let (kind, part) = (Kind::Other, Part::Later);
        return Ok(Headers { index: 0, version, network, transport, kind, part, fragment });
    }
    let upper = match header.byte::<9>() {
        protocol::TCP => tcp(packet, transport),
        protocol::UDP => udp(packet, transport),
        protocol::SCTP => sctp(packet, transport),
        protocol::ICMP => icmp4(packet, transport),
        protocol::IGMP => igmp(packet, transport),
        other => Ok((class::PROTOCOL + usize::from(other), Kind::Other)),
    };
    let (index, kind) = upper.map_err(|reason| cut_short(reason, more))?;
    let part = if more { Part::First } else { Part::Whole };
    Ok(Headers { index, version, network, transport, kind, part, fragment })
}

/// A first fragment that ends inside its headers is no accident (RFC 1858 section 3, RFC 7112): the
/// next one would bring what it lacks.
#[inline(always)]
fn cut_short(reason: Reason, is_first: bool) -> Reason {
    if is_first && reason == Reason::Truncated { Reason::FragmentHeader } else { reason }
}

/// IPv6 (RFC 8200 sections 3 and 4) with its chain of extension headers.
#[inline(always)]
fn ipv6(packet: &Packet, network: usize) -> Result<Headers, Reason> {
    let header = packet.window::<40>(network).ok_or(Reason::Truncated)?;
    if header.byte::<0>() >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let hop_limit = header.byte::<7>();
    let mut next = header.byte::<6>();
    let mut transport = network + 40;
    let version = Version::V6;
    // Where the fragment header stands, zero where there is none.
    let mut fragment = 0;
    let mut more = false;
    for _ in 0..MAX_EXTENSIONS {
        match next {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                let extension = packet.window::<2>(transport).ok_or(cut_short(Reason::Truncated, more))?;
                next = extension.byte::<0>();
                transport += (usize::from(extension.byte::<1>()) + 1) * 8;
            }
            protocol::FRAGMENT => {
                let extension = packet.window::<8>(transport).ok_or(cut_short(Reason::Truncated, more))?;
                // Only a router that reassembles could make sense of a fragment of a fragment.
                if fragment != 0 {
                    return Err(Reason::Malformed);
                }
                fragment = transport;
                next = extension.byte::<0>();
                transport += 8;
                // The upper 13 bits are the offset; the byte before them is reserved and may hold anything.
                let field = u16::from_be(extension.half::<2>());
                more = field & 1 != 0;
                if field & 0xfff8 != 0 {
                    let (kind, part) = (Kind::Other, Part::Later);
                    return Ok(Headers { index: 0, version, network, transport, kind, part, fragment });
                }
            }
            _ => {
                let upper = match next {
                    protocol::TCP => tcp(packet, transport),
                    protocol::UDP => udp(packet, transport),
                    protocol::SCTP => sctp(packet, transport),
                    protocol::ICMP6 => icmp6(packet, transport, hop_limit),
                    other => Ok((class::PROTOCOL + usize::from(other), Kind::Other)),
                };
                let (index, kind) = upper.map_err(|reason| cut_short(reason, more))?;
                let part = if more { Part::First } else { Part::Whole };
                return Ok(Headers { index, version, network, transport, kind, part, fragment });
            }
        }
    }
    Err(Reason::HeaderLimit)
}

/// TCP (RFC 9293 section 3.1): its destination port and what its flags make of it, in a header of at least twenty
/// bytes.
#[inline(always)]
fn tcp(packet: &Packet, transport: usize) -> Result<(usize, Kind), Reason> {
    let header = packet.window::<20>(transport).ok_or(Reason::Truncated)?;
    Ok((tcp_index(header.half::<2>()), Kind::of_tcp(header.byte::<13>())))
}

/// UDP (RFC 768): its destination port.
#[inline(always)]
fn udp(packet: &Packet, transport: usize) -> Result<(usize, Kind), Reason> {
    let header = packet.window::<8>(transport).ok_or(Reason::Truncated)?;
    Ok((udp_index(header.half::<2>()), Kind::Datagram))
}

/// SCTP (RFC 9260 section 3.1): its destination port, in a common header of twelve bytes.
#[inline(always)]
fn sctp(packet: &Packet, transport: usize) -> Result<(usize, Kind), Reason> {
    let header = packet.window::<12>(transport).ok_or(Reason::Truncated)?;
    Ok((sctp_index(header.half::<2>()), Kind::Association))
}

/// ICMP (RFC 792).
#[inline(always)]
fn icmp4(packet: &Packet, transport: usize) -> Result<(usize, Kind), Reason> {
    let header = packet.window::<8>(transport).ok_or(Reason::Truncated)?;
    let kind = match header.byte::<0>() {
        icmp::ECHO_REQUEST => Kind::EchoRequest,
        icmp::ECHO_REPLY => Kind::EchoReply,
        _ => Kind::Other,
    };
    Ok((class::ICMP4 + usize::from(header.byte::<0>()), kind))
}

/// IGMP (RFC 9776 section 4): its type, in a message of at least eight bytes.
#[inline(always)]
fn igmp(packet: &Packet, transport: usize) -> Result<(usize, Kind), Reason> {
    let header = packet.window::<8>(transport).ok_or(Reason::Truncated)?;
    Ok((class::IGMP + usize::from(header.byte::<0>()), Kind::Other))
}

/// ICMPv6 (RFC 4443). Neighbour discovery counts only from the link itself: its hop limit is 255,
/// which no router forwards (RFC 4861 section 7.1).
#[inline(always)]
fn icmp6(packet: &Packet, transport: usize, hop_limit: u8) -> Result<(usize, Kind), Reason> {
    let header = packet.window::<4>(transport).ok_or(Reason::Truncated)?;
    let kind = match header.byte::<0>() {
        icmp6::ROUTER_SOLICITATION..=icmp6::REDIRECT if hop_limit != 255 => {
            return Err(Reason::ForgedNeighbour);
        }
        icmp6::ECHO_REQUEST => Kind::EchoRequest,
        icmp6::ECHO_REPLY => Kind::EchoReply,
        _ => Kind::Other,
    };
    Ok((class::ICMP6 + usize::from(header.byte::<0>()), kind))
}
