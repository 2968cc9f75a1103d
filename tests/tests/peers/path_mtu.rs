//! Path-MTU discovery (RFC 1191, RFC 8201): a gateway with a narrower link behind it tells the protected host
//! to send less, and what is sent arrives. No rule speaks of it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Namespace,
    packet::Ip,
    programs::soon,
    running::PATIENCE,
};

use crate::{Edge, IMPATIENCE};

/// Of the narrower link; IPv6 has at least 1280.
const MTU: &str = "1300";
/// Sent in each direction.
const BYTES: usize = 4 << 20;

/// Beyond the gateway.
fn far(ip: Ip) -> IpAddr {
    match ip {
        Ip::V4 => [198, 51, 100, 1].into(),
        Ip::V6 => [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1].into(),
    }
}

#[test]
fn bulk_transfers_fit_the_narrowest_link() -> Result<()> {
    for ip in Ip::BOTH {
        let Some((edge, beyond)) = path()? else { return Ok(()) };
        edge.apply(&policy(&[interface("edge0", &[allow("bulk", "tcp", "8080")])]));
        // To a server beyond, and to a client beyond.
        transfer(edge.host(), &beyond, SocketAddr::new(far(ip), 8080), Sender::Client)?;
        assert!(edge.counted("icmp-error") > 0, "{ip:?}: the gateway tells the size");
        let known = edge.host().run("ip", &["route", "get", &far(ip).to_string()])?;
        assert!(known.contains(&format!("mtu {MTU}")), "the host has learnt it: {known}");
        edge.host().run("ip", &[if ip == Ip::V4 { "-4" } else { "-6" }, "route", "flush", "cache"])?;
        let learnt = edge.counted("icmp-error");
        transfer(&beyond, edge.host(), SocketAddr::new(ip.address(1), 8080), Sender::Server)?;
        assert!(edge.counted("icmp-error") > learnt, "{ip:?}: and tells it again");
        // From beyond, where the gateway sends on what it gets.
        transfer(&beyond, edge.host(), SocketAddr::new(ip.address(1), 8080), Sender::Client)?;
        let closed = SocketAddr::new(ip.address(1), 8081);
        let _listener = edge.host().within(|| TcpListener::bind(closed))?;
        let entered = beyond.within(|| TcpStream::connect_timeout(&closed, IMPATIENCE));
        assert!(entered.is_err(), "no rule opens it");
        assert!(edge.counted("undocumented-tcp") > 0);
        edge.operator.show("edge0", &format!("bulk over {ip:?}"));
    }
    Ok(())
}

#[test]
fn large_datagrams_fit_the_narrowest_link() -> Result<()> {
    for ip in Ip::BOTH {
        let Some((edge, beyond)) = path()? else { return Ok(()) };
        edge.apply(&policy(&[interface("edge0", &[allow("media", "udp", "5004")])]));
        let bound = |namespace: &Namespace, address| -> Result<UdpSocket> {
            let socket = namespace.within(|| UdpSocket::bind(SocketAddr::new(address, 5004)))?;
            // Until the host knows what fits, what it sends is lost.
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            Ok(socket)
        };
        let (here, there) = (bound(edge.host(), ip.address(1))?, bound(&beyond, far(ip))?);
        let mut buffer = vec![0; 1 << 16];
        // One that fits the first link alone, and one that fits none and is sent in pieces.
        for size in [1400, 6000] {
            soon(&format!("{size} bytes over {ip:?}"), || {
                // What the gateway said about the one before is an error of this one.
                let _ = here.send_to(&vec![0x5a; size], (far(ip), 5004));
                there.recv(&mut buffer).is_ok_and(|count| count == size)
            });
        }
        assert!(edge.counted("icmp-error") > 0, "{ip:?}: the gateway tells the size");
        edge.operator.show("edge0", &format!("datagrams over {ip:?}"));
    }
    Ok(())
}

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
}

/// Moves [`BYTES`] over one connection.
fn transfer(from: &Namespace, to: &Namespace, server: SocketAddr, sender: Sender) -> Result<()> {
    let listener = to.within(|| TcpListener::bind(server))?;
    thread::scope(|scope| {
        let serving = scope.spawn(|| -> Result<()> {
            listener.set_nonblocking(true)?;
            let mut accepted = None;
            soon("a connection", || {
                accepted = listener.accept().ok();
                accepted.is_some()
            });
            let (stream, _) = accepted.context("it is there")?;
            stream.set_nonblocking(false)?;
            carry(stream, sender == Sender::Server)
        });
        let stream = from.within(|| TcpStream::connect_timeout(&server, PATIENCE))?;
        carry(stream, sender == Sender::Client)?;
        serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// One side of a transfer.
fn carry(mut stream: TcpStream, sends: bool) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut bytes = vec![0x5a; BYTES];
    if sends {
        stream.write_all(&bytes)?;
        stream.shutdown(Shutdown::Write)?;
        // Until the other side has everything.
        ensure!(stream.read(&mut bytes)? == 0, "the receiver says nothing");
    } else {
        stream.read_exact(&mut bytes)?;
        ensure!(stream.read(&mut bytes)? == 0, "no byte more");
    }
    Ok(())
}

/// The protected host, its gateway, and a host beyond a link that carries less.
fn path() -> Result<Option<(Edge, Namespace)>> {
    let Some(edge) = Edge::new(&[])? else { return Ok(None) };
    let gateway = &edge.neighbour;
    let beyond = gateway.link("near1", "beyond1")?;
    for (namespace, name, n) in [(&beyond, "beyond1", 1), (gateway, "near1", 2)] {
        namespace.address(name, &format!("198.51.100.{n}/24"))?;
        namespace.address(name, &format!("2001:db8:1::{n}/64"))?;
    }
    gateway.run("ip", &["link", "set", "near1", "mtu", MTU])?;
    gateway.within(|| -> Result<()> {
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            fs::write(format!("/proc/sys/net/{setting}"), "1").with_context(|| setting.to_owned())?;
        }
        Ok(())
    })?;
    for (namespace, v4, v6) in
        [(edge.host(), "203.0.113.2", "2001:db8::2"), (&beyond, "198.51.100.2", "2001:db8:1::2")]
    {
        namespace.run("ip", &["route", "add", "default", "via", v4])?;
        namespace.run("ip", &["-6", "route", "add", "default", "via", v6])?;
    }
    Ok(Some((edge, beyond)))
}
