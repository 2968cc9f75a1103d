//! What answers a question of this host from elsewhere than it was sent to: let in by an allow of its own alone.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Instant,
};

use anyhow::{Result, ensure};
use portcullis_tests::{
    draft::{interface, policy},
    packet::{Frame, Ip, Transport},
    tagged::packets,
};

use crate::{Edge, IMPATIENCE, PATIENCE};

/// The port of a search (SSDP), and that of TFTP.
const SEARCH: u16 = 1_900;
const TFTP: u16 = 69;

/// Answers from these networks for so many seconds.
fn answers(from: &[&str], seconds: u8) -> String {
    let allow = format!(
        "\n[[interface.allow]]\nname = \"discovery\"\nprotocol = \"group-answer\"\nfrom = {from:?}\n"
    );
    format!("{}\n[flows]\nanswers = {seconds}\n", policy(&[interface("edge0", &[allow])]))
}

/// A socket of this host that asks, and what comes to it.
struct Asker {
    socket: UdpSocket,
    here: SocketAddr,
}

impl Asker {
    fn new(edge: &Edge, ip: Ip) -> Result<Self> {
        let socket = edge.lab.host().within(|| UdpSocket::bind(SocketAddr::new(ip.address(1), 0)))?;
        socket.set_broadcast(ip == Ip::V4)?;
        let here = socket.local_addr()?;
        Ok(Self { socket, here })
    }

    fn ask(&self, to: &str, port: u16) -> Result<()> {
        let to: SocketAddr = match to.parse::<IpAddr>()? {
            IpAddr::V6(to) if to.is_multicast() => {
                let scope = nix::net::if_::if_nametoindex("edge0")?;
                std::net::SocketAddrV6::new(to, port, 0, scope).into()
            }
            to => SocketAddr::new(to, port),
        };
        self.socket.send_to(b"who is there", to)?;
        Ok(())
    }

    /// Whether what an address of the neighbour's sends from a new port arrives.
    fn hears(&self, edge: &Edge, from: &str) -> Result<bool> {
        let other = edge
            .neighbour
            .within(|| UdpSocket::bind(SocketAddr::new(from.parse().expect("an address"), 0)))?;
        other.send_to(b"it is me", self.here)?;
        self.socket.set_read_timeout(Some(IMPATIENCE))?;
        Ok(self.socket.recv(&mut [0; 16]).is_ok())
    }
}

/// The neighbour's addresses: the one that is asked, and another.
fn edge() -> Result<Option<Edge>> {
    let Some(edge) = Edge::new()? else { return Ok(None) };
    edge.neighbour.run("ip", &["address", "add", "203.0.113.3/24", "dev", "far0"])?;
    edge.lab.host().run("ip", &["route", "add", "multicast", "239.0.0.0/8", "dev", "edge0"])?;
    Ok(Some(edge))
}

/// Holds: policy 7.
#[test]
fn answers_to_a_group_are_dropped_under_their_own_reason() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    let asker = Asker::new(&edge, Ip::V4)?;
    assert!(!asker.hears(&edge, "203.0.113.2")?, "nobody was asked");
    assert_eq!(edge.operator.packets("edge0", "group-answer"), 0);
    for (count, group) in (1..).zip(["239.255.255.250", "203.0.113.255", "255.255.255.255"]) {
        let asker = Asker::new(&edge, Ip::V4)?;
        asker.ask(group, SEARCH)?;
        assert!(!asker.hears(&edge, "203.0.113.2")?, "{group}");
        assert_eq!(edge.operator.packets("edge0", "group-answer"), count, "{group}");
    }
    Ok(())
}

/// Holds: policy 7.
#[test]
fn an_allow_lets_them_in_from_its_networks() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.operator.apply(&answers(&["203.0.113.2/32", "2001:db8::/64"], 60)).exits(0);
    for (ip, group, answerer) in [
        (Ip::V4, "239.255.255.250", "203.0.113.2"),
        (Ip::V4, "203.0.113.255", "203.0.113.2"),
        (Ip::V6, "ff02::c", "2001:db8::2"),
    ] {
        let asker = Asker::new(&edge, ip)?;
        asker.ask(group, SEARCH)?;
        let before = edge.operator.packets("edge0", "discovery");
        assert!(asker.hears(&edge, answerer)?, "{group}");
        assert!(asker.hears(&edge, answerer)?, "{group}: from another port");
        assert_eq!(edge.operator.packets("edge0", "discovery"), before + 2);
        let silent = Asker::new(&edge, ip)?;
        assert!(!silent.hears(&edge, answerer)?, "{group}: from the port that asked alone");
    }
    let asker = Asker::new(&edge, Ip::V4)?;
    asker.ask("239.255.255.250", SEARCH)?;
    assert!(!asker.hears(&edge, "203.0.113.3")?, "from another network");
    assert_eq!(edge.operator.packets("edge0", "group-answer"), 1);
    Ok(())
}

/// A server of TFTP answers from a new port, but from its own address.
#[test]
fn tftp_is_answered_by_the_server_alone() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.operator.apply(&answers(&["203.0.113.0/24"], 60)).exits(0);
    let asker = Asker::new(&edge, Ip::V4)?;
    asker.ask("203.0.113.2", TFTP)?;
    assert!(asker.hears(&edge, "203.0.113.2")?);
    assert!(!asker.hears(&edge, "203.0.113.3")?, "it was not asked");
    assert_eq!(edge.operator.packets("edge0", "undocumented-udp"), 1);
    Ok(())
}

/// A question is remembered next to the conversations, with no address or port where anybody may answer. What really
/// comes from there is no reply.
#[test]
fn nobody_passes_for_the_question_itself() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.operator.apply(&answers(&["192.0.2.0/24"], 60)).exits(0);
    let asker = Asker::new(&edge, Ip::V4)?;
    asker.ask("239.255.255.250", SEARCH)?;
    asker.ask("203.0.113.2", TFTP)?;
    let mut wire = edge.neighbour.within(|| packets("far0"))?;
    let before = edge.operator.packets("edge0", "group-answer");
    for source in ["0.0.0.0", "203.0.113.2", "203.0.113.3"] {
        let mut frame = Frame::new(Ip::V4, Transport::Udp { source: 0, destination: asker.here.port() });
        frame.source = source.parse()?;
        frame.destination = asker.here.ip();
        wire.write_all(&frame.bytes())?;
    }
    assert_eq!(edge.operator.packets("edge0", "group-answer"), before + 3);
    assert_eq!(edge.operator.packets("edge0", "flow-udp"), 0);
    Ok(())
}

#[test]
fn they_are_let_in_for_a_time() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.operator.apply(&answers(&["203.0.113.0/24"], 1)).exits(0);
    let asker = Asker::new(&edge, Ip::V4)?;
    asker.ask("239.255.255.250", SEARCH)?;
    let deadline = Instant::now() + PATIENCE;
    while asker.hears(&edge, "203.0.113.2")? {
        ensure!(Instant::now() < deadline, "answers are let in without end");
    }
    assert_eq!(edge.operator.packets("edge0", "group-answer"), 0);
    assert_eq!(edge.operator.packets("edge0", "undocumented-udp"), 1);
    Ok(())
}
