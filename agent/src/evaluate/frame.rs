//! Frame -> what a packet is addressed to and which conversation it belongs to, or the reason why
//! that cannot be told. Straight from the standards, byte by byte, without regard to speed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portcullis_common::slot::Reason;

/// Headers are not looked for behind this offset.
const LAST_START: usize = 0xfff;
/// VLAN tags that are looked behind.
const MAX_TAGS: usize = 2;
/// IPv6 extension headers that are looked behind.
const MAX_EXTENSIONS: usize = 8;

/// What a packet is addressed to, beside its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
    /// An SCTP port.
    Sctp(u16),
    /// An ICMP type.
    Icmp(u8),
    /// An ICMPv6 type.
    Icmpv6(u8),
    /// An IGMP type.
    Igmp(u8),
    /// Another IP protocol, by number.
    Protocol(u8),
    /// Nothing that a packet says: whatever answers a question of this host from elsewhere.
    Answers,
}

/// A packet whose headers could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) target: IpAddr,
    pub(super) destination: Destination,
    pub(super) message: Message,
    /// Whether it is addressed to more than one host, by its link-layer address or by its own.
    pub(super) is_for_group: bool,
    /// The datagram of which the packet is the first fragment.
    pub(super) begins: Option<(Datagram, usize)>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A whole packet, or the first fragment of one.
    Packet(Packet),
    /// A fragment that begins so many bytes into its datagram.
    Later(Datagram, usize),
    /// Neither IP nor ARP, but what this EtherType says (or a length, IEEE 802.3-2022 section 3.2.6).
    Other(u16),
}

/// What the fragments of a datagram have in common: in IPv4 the protocol too (RFC 791 section 2.3), in
/// IPv6 not (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Datagram {
    source: IpAddr,
    target: IpAddr,
    identification: u32,
    protocol: Option<u8>,
}

/// The part that a packet can have in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Tcp { from: u16, to: u16, asks: bool, ends: bool, breaks: bool },
    Udp { from: u16, to: u16 },
    Sctp { from: u16, to: u16 },
    EchoRequest { identifier: u16 },
    EchoReply { identifier: u16 },
    None,
}

/// Reads an Ethernet frame.
pub(super) fn read(frame: &[u8]) -> Result<Content, Reason> {
    take(frame, 0, 14)?;
    let mut at = 12;
    for tags in 0.. {
        let ether_type = half(frame, at)?;
        at += 2;
        match ether_type {
            0x0800 => return ipv4(frame, at),
            0x86dd => return ipv6(frame, at),
            0x0806 => return Err(Reason::Arp),
            0x8100 | 0x88a8 if tags == MAX_TAGS => return Err(Reason::VlanDepth),
            // Two bytes of tag, then the next type.
            0x8100 | 0x88a8 => {
                take(frame, at, 4)?;
                at += 2;
            }
            // Control frames, which no bridge passes on (IEEE 802.1Q-2022 table 8-1).
            _ if frame[..5] == [0x01, 0x80, 0xc2, 0, 0] && frame[5] < 0x10 => {
                return Err(Reason::LinkControl);
            }
            other => return Ok(Content::Other(other)),
        }
    }
    unreachable!("the third tag returns")
}

/// IPv4 (RFC 791 section 3.1). What the total length says does not matter.
fn ipv4(frame: &[u8], at: usize) -> Result<Content, Reason> {
    let header = take(frame, at, 20)?;
    let (version, words) = (header[0] >> 4, header[0] & 15);
    if version != 4 || words < 5 {
        return Err(Reason::Malformed);
    }
    let address = |at: usize| IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&header[at..at + 4]).unwrap()));
    let (source, target) = (address(12), address(16));
    let identification = half(header, 4)?.into();
    let datagram = Datagram { source, target, identification, protocol: Some(header[9]) };
    let (more, offset) = (header[6] & 0x20 != 0, half(header, 6)? & 0x1fff);
    if offset != 0 {
        return Ok(Content::Later(datagram, usize::from(offset) * 8));
    }
    let behind = at + usize::from(words) * 4;
    let upper = match header[9] {
        1 => icmp(frame, behind),
        6 => tcp(frame, behind),
        17 => udp(frame, behind),
        132 => sctp(frame, behind),
        2 => take(frame, behind, 8).map(|header| (Destination::Igmp(header[0]), Message::None)),
        other => Ok((Destination::Protocol(other), Message::None)),
    };
    let (destination, message) = upper.map_err(|reason| if more { split(reason) } else { reason })?;
    let begins = more.then(|| (datagram, headers_of(destination)));
    let is_for_group = frame[0] & 1 != 0 || header[16] >= 224;
    Ok(Content::Packet(Packet { source, target, destination, message, is_for_group, begins }))
}

/// The reason for a first fragment that lacks a part of its headers.
fn split(reason: Reason) -> Reason {
    if reason == Reason::Truncated { Reason::FragmentHeader } else { reason }
}

/// Bytes of a transport header that no later fragment may bring again.
fn headers_of(destination: Destination) -> usize {
    match destination {
        Destination::Tcp(_) => 20,
        Destination::Sctp(_) => 12,
        Destination::Udp(_) | Destination::Icmp(_) | Destination::Icmpv6(_) | Destination::Igmp(_) => 8,
        Destination::Protocol(_) | Destination::Answers => 0,
    }
}

/// IPv6 (RFC 8200 section 3) and its extension headers (section 4; the others by their own RFC).
fn ipv6(frame: &[u8], at: usize) -> Result<Content, Reason> {
    let header = take(frame, at, 40)?;
    if header[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let address = |at: usize| IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap()));
    let (source, target) = (address(8), address(24));
    let hop_limit = header[7];
    let mut next = header[6];
    let mut behind = at + 40;
    let mut extensions = 0;
    // The datagram, where its fragmented part begins, and whether more of it follows.
    let mut fragment: Option<(Datagram, usize, bool)> = None;
    let more = |fragment: &Option<(Datagram, usize, bool)>| fragment.is_some_and(|(_, _, more)| more);
    let fail = |fragment: &Option<_>, reason| if more(fragment) { split(reason) } else { reason };
    let (destination, message) = loop {
        if extensions == MAX_EXTENSIONS {
            return Err(Reason::HeaderLimit);
        }
        let length = match next {
            // Hop-by-hop, routing, destination options: units of eight bytes, the first not counted.
            0 | 43 | 60 => {
                let header = take(frame, behind, 2).map_err(|reason| fail(&fragment, reason))?;
                (usize::from(header[1]) + 1) * 8
            }
            44 => {
                let header = take(frame, behind, 8).map_err(|reason| fail(&fragment, reason))?;
                if fragment.is_some() {
                    return Err(Reason::Malformed);
                }
                let field = half(header, 2)?;
                let identification = u32::from(half(header, 4)?) << 16 | u32::from(half(header, 6)?);
                let datagram = Datagram { source, target, identification, protocol: None };
                if field >> 3 != 0 {
                    return Ok(Content::Later(datagram, usize::from(field >> 3) * 8));
                }
                fragment = Some((datagram, behind + 8, field & 1 != 0));
                8
            }
            6 => break tcp(frame, behind).map_err(|reason| fail(&fragment, reason))?,
            17 => break udp(frame, behind).map_err(|reason| fail(&fragment, reason))?,
            132 => break sctp(frame, behind).map_err(|reason| fail(&fragment, reason))?,
            58 => break icmpv6(frame, behind, hop_limit).map_err(|reason| fail(&fragment, reason))?,
            other => break (Destination::Protocol(other), Message::None),
        };
        next = frame[behind];
        behind += length;
        extensions += 1;
    };
    let begins = fragment
        .filter(|(_, _, more)| *more)
        .map(|(datagram, start, _)| (datagram, behind - start + headers_of(destination)));
    let is_for_group = frame[0] & 1 != 0 || header[24] == 0xff;
    Ok(Content::Packet(Packet { source, target, destination, message, is_for_group, begins }))
}

/// TCP (RFC 9293 section 3.1), up to its flags.
fn tcp(frame: &[u8], at: usize) -> Result<(Destination, Message), Reason> {
    let header = take(frame, at, 20)?;
    let (from, to) = (half(header, 0)?, half(header, 2)?);
    let (syn, ack) = (header[13] & 0x02 != 0, header[13] & 0x10 != 0);
    let (ends, breaks) = (header[13] & 0x01 != 0, header[13] & 0x04 != 0);
    Ok((Destination::Tcp(to), Message::Tcp { from, to, asks: syn && !ack, ends, breaks }))
}

/// UDP (RFC 768).
fn udp(frame: &[u8], at: usize) -> Result<(Destination, Message), Reason> {
    let header = take(frame, at, 8)?;
    let (from, to) = (half(header, 0)?, half(header, 2)?);
    Ok((Destination::Udp(to), Message::Udp { from, to }))
}

/// SCTP (RFC 9260 section 3.1): source port, destination port, verification tag, checksum.
fn sctp(frame: &[u8], at: usize) -> Result<(Destination, Message), Reason> {
    let header = take(frame, at, 12)?;
    let (from, to) = (half(header, 0)?, half(header, 2)?);
    Ok((Destination::Sctp(to), Message::Sctp { from, to }))
}

/// ICMP (RFC 792).
fn icmp(frame: &[u8], at: usize) -> Result<(Destination, Message), Reason> {
    let header = take(frame, at, 8)?;
    let identifier = half(header, 4)?;
    let message = match header[0] {
        8 => Message::EchoRequest { identifier },
        0 => Message::EchoReply { identifier },
        _ => Message::None,
    };
    Ok((Destination::Icmp(header[0]), message))
}

/// ICMPv6 (RFC 4443). Neighbour discovery must come from the link (RFC 4861 section 7.1).
fn icmpv6(frame: &[u8], at: usize, hop_limit: u8) -> Result<(Destination, Message), Reason> {
    let kind = take(frame, at, 4)?[0];
    if (133..=137).contains(&kind) && hop_limit != 255 {
        return Err(Reason::ForgedNeighbour);
    }
    // An echo without an identifier belongs to no conversation.
    let message = match (kind, take(frame, at, 8).and_then(|header| half(header, 4))) {
        (128, Ok(identifier)) => Message::EchoRequest { identifier },
        (129, Ok(identifier)) => Message::EchoReply { identifier },
        _ => Message::None,
    };
    Ok((Destination::Icmpv6(kind), message))
}

fn half(bytes: &[u8], at: usize) -> Result<u16, Reason> {
    let bytes = take(bytes, at, 2)?;
    Ok(u16::from(bytes[0]) << 8 | u16::from(bytes[1]))
}

fn take(bytes: &[u8], at: usize, count: usize) -> Result<&[u8], Reason> {
    if at > LAST_START {
        return Err(Reason::Truncated);
    }
    bytes.get(at..at + count).ok_or(Reason::Truncated)
}
