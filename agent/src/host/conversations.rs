//! Sockets -> conversations, and who began each.

use std::{fmt, net::SocketAddr};

use serde::Serialize;

use super::sockets::{Doors, Socket, Transport};

/// Two ends that talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Conversation {
    /// Transport.
    pub transport: Transport,
    /// The end on this host.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Who began it.
    pub begun: Side,
    /// Whether data can flow both ways already, and still.
    #[serde(skip)]
    pub is_established: bool,
    /// Index of the interface that its socket is bound to.
    #[serde(skip)]
    pub interface: Option<u32>,
    /// What /proc knows its socket by; 0 where no process holds it.
    #[serde(skip)]
    pub inode: u32,
}

/// An end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// This host.
    Here,
    /// The other one.
    There,
}

/// The conversations among these sockets, those of this host with itself left out.
///
/// The kernel does not keep who began a conversation. Where somebody still waits at its local port,
/// the other side came to that door; otherwise this host began.
#[must_use]
pub fn conversations(sockets: &[Socket]) -> Vec<Conversation> {
    let doors = Doors::of(sockets);
    let conversation = |socket: &Socket| {
        let Socket { transport, local, remote, is_established, interface, inode } = *socket;
        let remote = remote.filter(|remote| !remote.ip().is_loopback() && remote.ip() != local.ip())?;
        let begun = if doors.has(transport, local) { Side::There } else { Side::Here };
        Some(Conversation { transport, local, remote, begun, is_established, interface, inode })
    };
    let mut conversations: Vec<Conversation> = sockets.iter().filter_map(conversation).collect();
    conversations.sort_unstable();
    conversations
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, local, remote, .. } = self;
        match self.begun {
            Side::Here => write!(f, "{transport} {local} > {remote}"),
            Side::There => write!(f, "{transport} {remote} > {local}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(transport: Transport, local: &str, remote: Option<&str>) -> Socket {
        let address = |text: &str| text.parse().expect("an address");
        Socket {
            transport,
            local: address(local),
            remote: remote.map(address),
            is_established: remote.is_some(),
            interface: None,
            inode: 1,
        }
    }

    #[test]
    fn whoever_came_to_a_door_began() {
        let (tcp, udp) = (Transport::Tcp, Transport::Udp);
        let sockets = [
            socket(tcp, "[::]:22", None),
            socket(tcp, "203.0.113.1:443", None),
            socket(udp, "0.0.0.0:53", None),
            // Came to a door that takes every address of both versions.
            socket(tcp, "203.0.113.1:22", Some("203.0.113.2:40000")),
            socket(udp, "203.0.113.1:53", Some("203.0.113.2:40001")),
            // The door of another address is none.
            socket(tcp, "203.0.113.9:443", Some("203.0.113.2:40002")),
            // A port that a door has for the other transport is none either.
            socket(udp, "203.0.113.1:22", Some("203.0.113.2:40003")),
            socket(tcp, "203.0.113.1:39000", Some("203.0.113.2:443")),
            // Within this host.
            socket(tcp, "127.0.0.1:39001", Some("127.0.0.1:22")),
            socket(tcp, "203.0.113.1:39002", Some("203.0.113.1:22")),
        ];
        let told: Vec<String> = conversations(&sockets).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "tcp 203.0.113.2:40000 > 203.0.113.1:22",
                "tcp 203.0.113.1:39000 > 203.0.113.2:443",
                "tcp 203.0.113.9:443 > 203.0.113.2:40002",
                "udp 203.0.113.1:22 > 203.0.113.2:40003",
                "udp 203.0.113.2:40001 > 203.0.113.1:53",
            ]
        );
    }
}
