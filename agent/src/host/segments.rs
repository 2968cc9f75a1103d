//! The TCP sockets of this network namespace -> how much has reached each.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::{Answers, HostError, Netlink};

/// Where `tcpi_segs_in` stands in `struct tcp_info` (include/uapi/linux/tcp.h).
const SEGMENTS_IN: usize = 140;

/// The ends of a conversation: here, and there.
pub type Ends = (SocketAddr, SocketAddr);

/// Segments that have reached the socket of each TCP conversation, by its ends. What was dropped on the way is
/// not among them, and a conversation that both sides have ended is missing.
///
/// # Errors
///
/// Where the kernel does not tell.
pub fn segments() -> Result<BTreeMap<Ends, u32>, HostError> {
    let netlink = Netlink::open(NETLINK_SOCK_DIAG, "its sockets")?;
    let mut segments = BTreeMap::new();
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let question = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::INFO,
            states: StateFlags::all(),
            socket_id,
        });
        for answer in netlink.ask(&question, Answers::List)? {
            let SockDiagMessage::InetResponse(response) = answer else { continue };
            let id = &response.header.socket_id;
            let end = |address: IpAddr, port| SocketAddr::new(address.to_canonical(), port);
            let arrived = response.nlas.iter().find_map(|nla| match nla {
                Nla::TcpInfo(info) => info.get(SEGMENTS_IN..SEGMENTS_IN + 4),
                _ => None,
            });
            if let Some(arrived) = arrived.and_then(|bytes| bytes.try_into().ok()) {
                let ends = (
                    end(id.source_address, id.source_port),
                    end(id.destination_address, id.destination_port),
                );
                segments.insert(ends, u32::from_ne_bytes(arrived));
            }
        }
    }
    Ok(segments)
}
