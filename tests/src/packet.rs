//! Packets to judge: valid Ethernet frames, built one change at a time from a plain one.

use std::net::IpAddr;

use etherparse::{
    IcmpEchoHeader, Icmpv4Type, Icmpv6Type, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv4Options,
    Ipv6Extensions, Ipv6Header, PacketBuilder, PacketBuilderStep, VlanId,
};

/// A frame under construction.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// VLAN tags, outermost first; at most two.
    pub tags: Vec<u16>,
    /// What IP carries.
    pub transport: Transport,
    /// Bytes behind the last header.
    pub payload: usize,
}

/// What IP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP with the given flags.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// SYN.
        syn: bool,
        /// ACK.
        ack: bool,
    },
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// SCTP (RFC 9260 section 3.1): the common header, without chunks.
    Sctp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP or ICMPv6, as the addresses ask, with this type and identifier.
    Icmp {
        /// Type.
        kind: u8,
        /// Bytes 4 and 5: the identifier of an echo.
        identifier: u16,
    },
    /// Another protocol.
    Other(u8),
}

/// Which IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Ip {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// An address for tests (RFC 5737, RFC 3849), the `n`-th.
    #[must_use]
    pub fn address(self, n: u8) -> IpAddr {
        match self {
            Self::V4 => [203, 0, 113, n].into(),
            Self::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)].into(),
        }
    }
}

impl Frame {
    /// A frame from the second test address to the first.
    #[must_use]
    pub fn new(ip: Ip, transport: Transport) -> Self {
        Self { source: ip.address(2), destination: ip.address(1), tags: Vec::new(), transport, payload: 18 }
    }

    /// The opening segment of a TCP connection to `port`.
    #[must_use]
    pub fn syn(ip: Ip, port: u16) -> Self {
        Self::new(ip, Transport::Tcp { source: 40_000, destination: port, syn: true, ack: false })
    }

    /// A later segment of a TCP connection to `port`.
    #[must_use]
    pub fn ack(ip: Ip, port: u16) -> Self {
        Self::new(ip, Transport::Tcp { source: 40_000, destination: port, syn: false, ack: true })
    }

    /// A UDP datagram to `port`.
    #[must_use]
    pub fn udp(ip: Ip, port: u16) -> Self {
        Self::new(ip, Transport::Udp { source: 40_000, destination: port })
    }

    /// An SCTP packet to `port`.
    #[must_use]
    pub fn sctp(ip: Ip, port: u16) -> Self {
        Self::new(ip, Transport::Sctp { source: 40_000, destination: port })
    }

    /// With VLAN tags.
    #[must_use]
    pub fn tagged(mut self, tags: &[u16]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    /// The same conversation in the other direction.
    #[must_use]
    pub fn reply(mut self) -> Self {
        std::mem::swap(&mut self.source, &mut self.destination);
        match &mut self.transport {
            Transport::Tcp { source, destination, .. }
            | Transport::Udp { source, destination }
            | Transport::Sctp { source, destination } => {
                std::mem::swap(source, destination);
            }
            Transport::Icmp { .. } | Transport::Other(_) => {}
        }
        self
    }

    /// The frame's bytes.
    ///
    /// # Panics
    ///
    /// On addresses of two versions, or more than two tags.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
        let id = |tag: &u16| VlanId::try_new(*tag).expect("12 bits");
        let ip = match self.tags.as_slice() {
            [] => ethernet.ip(self.ip_headers()),
            [tag] => ethernet.single_vlan(id(tag)).ip(self.ip_headers()),
            [outer, inner] => ethernet.double_vlan(id(outer), id(inner)).ip(self.ip_headers()),
            _ => panic!("at most two tags"),
        };
        self.finish(ip)
    }

    fn ip_headers(&self) -> IpHeaders {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Header::new(0, 64, IpNumber::TCP, source.octets(), destination.octets())
                    .expect("no payload yet");
                header.options = Ipv4Options::new();
                IpHeaders::Ipv4(header, Ipv4Extensions::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => IpHeaders::Ipv6(
                Ipv6Header {
                    hop_limit: 255,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv6Header::default()
                },
                Ipv6Extensions::default(),
            ),
            _ => panic!("source and destination are of two versions of IP"),
        }
    }

    fn finish(&self, step: PacketBuilderStep<IpHeaders>) -> Vec<u8> {
        let payload = vec![0x5a; self.payload];
        let mut bytes = Vec::new();
        let written = match self.transport {
            Transport::Tcp { source, destination, syn, ack } => {
                let mut tcp = step.tcp(source, destination, 1, 1024);
                if syn {
                    tcp = tcp.syn();
                }
                if ack {
                    tcp = tcp.ack(1);
                }
                tcp.write(&mut bytes, &payload)
            }
            Transport::Udp { source, destination } => {
                step.udp(source, destination).write(&mut bytes, &payload)
            }
            Transport::Icmp { kind, identifier } => {
                let id = identifier.to_be_bytes();
                let rest = [id[0], id[1], 0, 1];
                let echo = IcmpEchoHeader { id: identifier, seq: 1 };
                match (self.source.is_ipv4(), kind) {
                    (true, 0) => step.icmpv4(Icmpv4Type::EchoReply(echo)).write(&mut bytes, &payload),
                    (true, _) => step
                        .icmpv4(Icmpv4Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: rest })
                        .write(&mut bytes, &payload),
                    (false, _) => step
                        .icmpv6(Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: rest })
                        .write(&mut bytes, &payload),
                }
            }
            Transport::Sctp { source, destination } => {
                // Verification tag and checksum, which no verdict depends on, are zero.
                let header = [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 8]].concat();
                step.write(&mut bytes, IpNumber::SCTP, &[header, payload].concat())
            }
            Transport::Other(number) => step.write(&mut bytes, IpNumber(number), &payload),
        };
        written.expect("a vector takes every byte");
        bytes
    }
}
