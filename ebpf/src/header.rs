//! What the rest of the program needs to know of a packet's headers.

use portcullis_common::{
    class,
    slot::{FIRST_ACCEPT, Reason, Slot},
};

/// IP protocol numbers that the program tells apart (IANA protocol numbers).
pub(crate) mod protocol {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const IGMP: u8 = 2;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMP6: u8 = 58;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
    pub(crate) const SCTP: u8 = 132;
}

/// Types of ICMP (RFC 792).
pub(crate) mod icmp {
    pub(crate) const ECHO_REPLY: u8 = 0;
    pub(crate) const ECHO_REQUEST: u8 = 8;
}

/// Types of ICMPv6 (RFC 4443 section 4; RFC 4861 section 4).
pub(crate) mod icmp6 {
    pub(crate) const ECHO_REQUEST: u8 = 128;
    pub(crate) const ECHO_REPLY: u8 = 129;
    pub(crate) const ROUTER_SOLICITATION: u8 = 133;
    pub(crate) const REDIRECT: u8 = 137;
}

/// Flags of a TCP header's fourteenth byte (RFC 9293 section 3.1).
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// Where a packet's headers stand, and what it is addressed to.
pub(crate) struct Headers {
    /// Index into the class table: transport and destination port, ICMP type, or IP protocol.
    pub(crate) index: usize,
    /// Which version of IP.
    pub(crate) version: Version,
    /// Offset of the IP header.
    pub(crate) network: usize,
    /// Offset of the header behind IP and its extensions.
    pub(crate) transport: usize,
    /// What kind of conversation the packet may belong to.
    pub(crate) kind: Kind,
    /// Whether the packet is a fragment. Of a later one, `index` and `kind` say nothing.
    pub(crate) part: Part,
    /// IPv6: offset of the fragment header. Zero where there is none, and for IPv4.
    pub(crate) fragment: usize,
}

/// How much of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it; an IPv6 fragment that is its own first and last, too (RFC 6946).
    Whole,
    /// The first fragment, which names the port.
    First,
    /// Any fragment behind the first.
    Later,
}

/// Which side of a packet this host is, or what lies behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The packet leaves.
    Source,
    /// The packet arrives.
    Destination,
}

impl Side {
    /// The end of the other side and that of this one, of a packet's source and destination.
    #[inline(always)]
    pub(crate) fn ends<T>(self, source: T, destination: T) -> (T, T) {
        match self {
            Self::Source => (destination, source),
            Self::Destination => (source, destination),
        }
    }
}

/// The version of IP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

/// What kind of conversation a packet may begin or belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TCP segment that asks for a connection: SYN without ACK. Never a reply.
    Syn,
    /// Any other TCP segment.
    Segment,
    /// A UDP datagram.
    Datagram,
    /// An SCTP packet.
    Association,
    /// An ICMP or ICMPv6 echo request.
    EchoRequest,
    /// An ICMP or ICMPv6 echo reply.
    EchoReply,
    /// Anything else: begins nothing and replies to nothing.
    Other,
}

impl Kind {
    /// The kind of a TCP segment by its flags (RFC 9293 section 3.1).
    #[inline(always)]
    pub(crate) fn of_tcp(flags: u8) -> Self {
        if flags & (SYN | ACK) == SYN { Self::Syn } else { Self::Segment }
    }

    /// The IP protocol number that a flow of this kind is recorded under; 0 where no flow is.
    #[inline(always)]
    pub(crate) fn protocol(self) -> u8 {
        const PROTOCOLS: u64 = by_kind([
            (Kind::Syn, protocol::TCP),
            (Kind::Segment, protocol::TCP),
            (Kind::Datagram, protocol::UDP),
            (Kind::Association, protocol::SCTP),
            (Kind::EchoRequest, protocol::ICMP),
            (Kind::EchoReply, protocol::ICMP),
        ]);
        self.byte_of(PROTOCOLS)
    }

    /// The slot of a reply of this kind. Asked only of kinds that may reply.
    #[inline(always)]
    pub(crate) fn reply(self) -> Slot {
        const REASONS: u64 = by_kind([
            (Kind::Segment, above_drops(Reason::FlowTcp)),
            (Kind::Datagram, above_drops(Reason::FlowUdp)),
            (Kind::Association, above_drops(Reason::FlowSctp)),
            (Kind::EchoReply, above_drops(Reason::FlowEcho)),
        ]);
        FIRST_ACCEPT + Slot::from(self.byte_of(REASONS))
    }

    /// The byte of this kind. A shift and no branches: the verifier follows what comes behind once for each.
    #[inline(always)]
    fn byte_of(self, table: u64) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "a byte")]
        let byte = (table >> (u8::BITS * self as u32)) as u8;
        byte
    }
}

/// How far the slot of a reason that accepts stands above those that drop.
#[expect(clippy::cast_possible_truncation, reason = "as just checked")]
const fn above_drops(reason: Reason) -> u8 {
    let distance = reason.slot() - FIRST_ACCEPT;
    assert!(distance < 0x100);
    distance as u8
}

/// A byte for each kind, zero where none is given.
const fn by_kind<const N: usize>(bytes: [(Kind, u8); N]) -> u64 {
    let (mut table, mut n) = (0, 0);
    while n < N {
        let (kind, byte) = bytes[n];
        table |= (byte as u64) << (u8::BITS * kind as u32);
        n += 1;
    }
    table
}

/// The class index of a TCP destination port as it stands in the packet.
#[inline(always)]
pub(crate) fn tcp_index(port: u16) -> usize {
    class::TCP + port as usize
}

/// The class index of a UDP destination port as it stands in the packet.
#[inline(always)]
pub(crate) fn udp_index(port: u16) -> usize {
    class::UDP + port as usize
}

/// The class index of an SCTP destination port as it stands in the packet.
#[inline(always)]
pub(crate) fn sctp_index(port: u16) -> usize {
    class::SCTP + port as usize
}
