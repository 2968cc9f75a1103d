//! SCTP on the wire: raw sockets carry the packets, so that no kernel needs to know the protocol.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::sys::{
    socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sockopt},
    time::{TimeVal, TimeValLike as _},
};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Namespace,
    packet::Ip,
};

use crate::{Edge, PATIENCE};

/// Every SCTP packet to one address.
struct Associations {
    socket: OwnedFd,
    ip: Ip,
}

impl Associations {
    fn at(namespace: &Namespace, ip: Ip, address: IpAddr) -> Result<Self> {
        let family = if ip == Ip::V4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = namespace
            .within(|| -> nix::Result<OwnedFd> {
                let socket =
                    socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp)?;
                let address = SocketAddr::new(address, 0);
                socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
                let patience = TimeVal::seconds(PATIENCE.as_secs().cast_signed());
                socket::setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
                Ok(socket)
            })
            .with_context(|| format!("no raw socket at {address}"))?;
        Ok(Self { socket, ip })
    }

    /// Sends a packet from one port to another. Its checksum is zero, which a kernel that knows SCTP would
    /// drop silently (RFC 9260 section 6.8), so that nobody but this socket has a say.
    fn send(&self, from: u16, to: u16, address: IpAddr) -> Result<()> {
        // The common header, then a cookie acknowledgement, which is a chunk of four bytes.
        let chunk = [11, 0, 0, 4];
        let packet = [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 8], &chunk].concat();
        let address = SockaddrStorage::from(SocketAddr::new(address, 0));
        socket::sendto(self.socket.as_raw_fd(), &packet, &address, MsgFlags::empty())?;
        Ok(())
    }

    /// Source and destination port of the next packet.
    fn next(&self) -> Result<(u16, u16)> {
        let mut buffer = [0; 256];
        let count = socket::recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
            .map_err(io::Error::from)
            .context("no SCTP packet came")?;
        // IPv4 comes with its header (raw(7)), IPv6 without (ipv6(7)).
        let start = if self.ip == Ip::V4 { usize::from(buffer[0] & 0x0f) * 4 } else { 0 };
        let half = |at: usize| u16::from_be_bytes([buffer[start + at], buffer[start + at + 1]]);
        assert_eq!(count, start + 16, "{buffer:02x?}");
        Ok((half(0), half(2)))
    }
}

#[test]
fn associations_come_in_by_their_ports() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&policy(&[interface("edge0", &[allow("s1", "sctp", "36412")])])).exits(0);
    for ip in Ip::BOTH {
        let (here, there) = (ip.address(1), ip.address(2));
        let host = Associations::at(edge.lab.host(), ip, here)?;
        let neighbour = Associations::at(&edge.neighbour, ip, there)?;
        let counted = |name: &str| edge.operator.packets("edge0", name);

        // Packets on one link keep their order: what should not come would come first.
        let before = ["s1", "undocumented-sctp", "flow-sctp"].map(counted);
        neighbour.send(40_000, 36_413, here)?;
        neighbour.send(3_868, 50_000, here)?;
        neighbour.send(40_000, 36_412, here)?;
        assert_eq!(host.next()?, (40_000, 36_412));
        assert_eq!(
            ["s1", "undocumented-sctp", "flow-sctp"].map(counted),
            [before[0] + 1, before[1] + 2, before[2]]
        );

        // What this host begins is answered, from that port alone.
        host.send(50_000, 3_868, there)?;
        assert_eq!(neighbour.next()?, (50_000, 3_868));
        neighbour.send(3_869, 50_000, here)?;
        neighbour.send(3_868, 50_000, here)?;
        assert_eq!(host.next()?, (3_868, 50_000));
        assert_eq!(["undocumented-sctp", "flow-sctp"].map(counted), [before[1] + 3, before[2] + 1]);
    }
    Ok(())
}
