//! The sockets of this network namespace, as sock_diag(7) tells them.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use serde::Serialize;

use super::netlink::{Answers, HostError, Netlink};

/// States of a socket, `enum` of include/net/tcp_states.h; UDP uses the first and `CLOSE`.
mod state {
    pub(super) const ESTABLISHED: u8 = 1;
    pub(super) const TIME_WAIT: u8 = 6;
    pub(super) const CLOSE: u8 = 7;
    pub(super) const LISTEN: u8 = 10;
}

/// Transport of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Transport.
    pub transport: Transport,
    /// Its own address; unspecified where it takes every one.
    pub local: SocketAddr,
    /// The other side; `None` for one that listens or is not connected.
    pub remote: Option<SocketAddr>,
    /// Whether data can flow both ways.
    pub is_established: bool,
    /// Index of the interface that it is bound to.
    pub interface: Option<u32>,
    /// What /proc knows it by; 0 where no process holds it.
    pub inode: u32,
}

/// Every TCP and UDP socket.
///
/// # Errors
///
/// Where the kernel does not tell.
pub fn sockets() -> Result<Vec<Socket>, HostError> {
    let netlink = Netlink::open(NETLINK_SOCK_DIAG, "its sockets")?;
    let mut sockets = Vec::new();
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        for (protocol, transport) in [(IPPROTO_TCP, Transport::Tcp), (IPPROTO_UDP, Transport::Udp)] {
            let question = SockDiagMessage::InetRequest(InetRequest {
                family,
                protocol,
                extensions: ExtensionFlags::empty(),
                states: StateFlags::all(),
                socket_id: socket_id.clone(),
            });
            for answer in netlink.ask(&question, Answers::List)? {
                if let SockDiagMessage::InetResponse(response) = answer {
                    sockets.extend(Socket::of(transport, &response));
                }
            }
        }
    }
    Ok(sockets)
}

impl Socket {
    /// `None` for what is over.
    fn of(transport: Transport, response: &InetResponse) -> Option<Self> {
        let InetResponse { header, .. } = response;
        let id = &header.socket_id;
        let end = |address: IpAddr, port| SocketAddr::new(address.to_canonical(), port);
        let remote = match (transport, header.state) {
            (Transport::Tcp, state::TIME_WAIT | state::CLOSE) => return None,
            (_, state::LISTEN | state::CLOSE) => None,
            _ => Some(end(id.destination_address, id.destination_port)),
        };
        Some(Self {
            transport,
            local: end(id.source_address, id.source_port),
            remote,
            is_established: header.state == state::ESTABLISHED,
            interface: Some(id.interface_id).filter(|index| *index != 0),
            inode: header.inode,
        })
    }
}

/// The ports at which this host can be addressed by anybody: of TCP sockets that listen, and of UDP
/// sockets that are not connected.
pub(super) struct Doors(BTreeSet<(Transport, u16, Option<IpAddr>)>);

impl Doors {
    pub(super) fn of(sockets: &[Socket]) -> Self {
        let open = sockets.iter().filter(|socket| socket.remote.is_none());
        // A socket that takes every address may take those of the other version of IP, too.
        let address = |socket: &Socket| Some(socket.local.ip()).filter(|ip| !ip.is_unspecified());
        Self(open.map(|socket| (socket.transport, socket.local.port(), address(socket))).collect())
    }

    /// Whether somebody waits at this local address.
    pub(super) fn has(&self, transport: Transport, local: SocketAddr) -> bool {
        [None, Some(local.ip())].into_iter().any(|ip| self.0.contains(&(transport, local.port(), ip)))
    }
}
