//! Which conversation a packet belongs to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::frame::{Message, Packet};

/// A conversation as the host sees it. The ports of an echo are its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Conversation {
    pub(super) carrier: Carrier,
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

/// What carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Carrier {
    Tcp,
    Udp,
    Sctp,
    Echo,
}

impl Conversation {
    /// That of a packet which the host sends; `None` where it belongs to none.
    pub(super) fn leaving(packet: &Packet) -> Option<Self> {
        let (carrier, from, to) = Self::ends(packet.message)?;
        Some(Self { carrier, local: (packet.source, from), remote: (packet.target, to) })
    }

    /// That of a packet which arrives.
    pub(super) fn arriving(packet: &Packet) -> Option<Self> {
        let (carrier, from, to) = Self::ends(packet.message)?;
        Some(Self { carrier, local: (packet.target, to), remote: (packet.source, from) })
    }

    /// The same from whichever address of the local end: a question to a group is answered from one of its own.
    pub(super) fn of_group(mut self) -> Self {
        self.local.0 = match self.local.0 {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self
    }

    fn ends(message: Message) -> Option<(Carrier, u16, u16)> {
        match message {
            Message::Tcp { from, to, .. } => Some((Carrier::Tcp, from, to)),
            Message::Udp { from, to } => Some((Carrier::Udp, from, to)),
            Message::Sctp { from, to } => Some((Carrier::Sctp, from, to)),
            Message::EchoRequest { identifier } | Message::EchoReply { identifier } => {
                Some((Carrier::Echo, identifier, identifier))
            }
            Message::None => None,
        }
    }
}
