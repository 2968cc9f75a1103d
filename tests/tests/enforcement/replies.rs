//! Replies to what this host began come back without a rule; nothing else does.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::Result;
use nix::sys::{
    socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt},
    time::{TimeVal, TimeValLike as _},
};
use portcullis_tests::{
    draft::{allow, interface, policy},
    packet::Ip,
    traffic::{EchoServer, exchange},
};

use crate::{Edge, IMPATIENCE, PATIENCE, TRANSPORTS};

/// Holds: policy 7.
#[test]
fn what_this_host_asks_is_answered() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    for ip in Ip::BOTH {
        let server = SocketAddr::new(ip.address(2), 53);
        for (transport, reason) in TRANSPORTS.into_iter().zip(["flow-tcp", "flow-udp"]) {
            let _server = EchoServer::start(&edge.neighbour, transport, server)?;
            let before = edge.operator.packets("edge0", reason);
            assert!(exchange(edge.lab.host(), transport, server, PATIENCE)?, "{transport:?} {server}");
            assert!(edge.operator.packets("edge0", reason) > before, "counted under {reason}");
        }
    }
    Ok(())
}

#[test]
fn a_conversation_outlives_the_reload_that_comes_in_between() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let closed = policy(&[interface("edge0", &[])]);
    edge.operator.apply(&closed).exits(0);
    let (_tcp, _udp);
    let server = SocketAddr::new(Ip::V4.address(2), 7);
    _tcp = EchoServer::start(&edge.neighbour, TRANSPORTS[0], server)?;
    _udp = EchoServer::start(&edge.neighbour, TRANSPORTS[1], server)?;
    let (mut stream, socket) = edge.lab.host().within(|| -> Result<_> {
        let stream = std::net::TcpStream::connect_timeout(&server, PATIENCE)?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(server)?;
        Ok((stream, socket))
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut talk = |word: &[u8; 4]| -> Result<()> {
        let mut answer = [0; 4];
        stream.write_all(word)?;
        stream.read_exact(&mut answer)?;
        assert_eq!(&answer, word);
        socket.send(word)?;
        socket.recv(&mut answer)?;
        assert_eq!(&answer, word);
        Ok(())
    };
    talk(b"then")?;
    let other = policy(&[interface("edge0", &[allow("web", "tcp", "443")])]);
    edge.operator.apply(&other).exits(0).prints("generation 2");
    talk(b"now.")?;
    Ok(())
}

/// Holds: policy 7.
#[test]
fn a_reply_must_come_from_where_the_question_went() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    for ip in Ip::BOTH {
        // The host asks port 1000 and hears from it; port 1001 of the same neighbour is a stranger.
        let ask = edge.lab.host().within(|| UdpSocket::bind((ip.address(1), 0)))?;
        let here = ask.local_addr()?;
        let bind = |port| edge.neighbour.within(|| UdpSocket::bind((ip.address(2), port)));
        let (asked, stranger) = (bind(1000)?, bind(1001)?);
        ask.send_to(b"?", asked.local_addr()?)?;
        let mut byte = [0];
        asked.set_read_timeout(Some(PATIENCE))?;
        asked.recv(&mut byte)?;
        let before = edge.operator.packets("edge0", "undocumented-udp");
        stranger.send_to(b"x", here)?;
        asked.send_to(b"!", here)?;
        ask.set_read_timeout(Some(PATIENCE))?;
        assert_eq!(ask.recv(&mut byte).map(|_| byte)?, *b"!", "the stranger came first, and was dropped");
        assert_eq!(edge.operator.packets("edge0", "undocumented-udp"), before + 1);
    }
    Ok(())
}

/// Holds: policy 7.
#[test]
fn a_syn_is_never_a_reply() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    // The host talks from port 2000 to the neighbour's port 3000, and would accept connections at
    // 2000 as well.
    let here = SocketAddr::new(Ip::V4.address(1), 2000);
    let there = SocketAddr::new(Ip::V4.address(2), 3000);
    let listener = edge.neighbour.within(|| TcpListener::bind(there))?;
    let host = edge.lab.host();
    let asking = host.within(|| bound(here))?;
    socket::connect(asking.as_raw_fd(), &SockaddrStorage::from(there))?;
    drop((asking, listener));

    let door = host.within(|| bound(here))?;
    socket::listen(&door, Backlog::new(1)?)?;
    let before = edge.operator.packets("edge0", "undocumented-tcp");
    let entering = edge.neighbour.within(|| bound(there))?;
    let entered = socket::connect(entering.as_raw_fd(), &SockaddrStorage::from(here));
    assert!(entered.is_err(), "the neighbour's SYN should be dropped");
    assert!(edge.operator.packets("edge0", "undocumented-tcp") > before);
    Ok(())
}

/// A TCP socket with an address of its own, which may just have been in use.
fn bound(address: SocketAddr) -> Result<OwnedFd> {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    // How long `connect` waits, too (socket(7)).
    let patience = TimeVal::microseconds(i64::try_from(IMPATIENCE.as_micros())?);
    socket::setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}
