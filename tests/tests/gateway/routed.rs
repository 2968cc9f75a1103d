//! A host that forwards, whose rules open its own ports and nobody else's.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, UdpSocket},
    time::Instant,
};

use anyhow::{Context as _, Result};
use portcullis_tests::{
    draft::{allow, ether_types, interface, policy},
    packet::{Frame, Ip},
    programs::soon,
    running::Running,
    splice, tagged,
    traffic::{EchoServer, Protocol, exchange},
};

use crate::{CLIENT, IMPATIENCE, PATIENCE, Passage, SERVER};

/// The host's own addresses on the client's side.
const HOST: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];
const TRANSPORTS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn at(address: &str) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse()?, 443))
}

/// The interface towards the client, on which a port is open.
fn open() -> String {
    let allows = [allow("tcp", "tcp", "443"), allow("udp", "udp", "443")];
    policy(&[interface("lan0", &allows)])
}

impl Passage {
    /// Serves the port on the host itself, and behind it.
    fn serves_everywhere(&self) -> Result<Vec<EchoServer>> {
        let mut servers = Vec::new();
        for (host, server) in HOST.into_iter().zip(SERVER) {
            servers.extend(Self::serve(self.lab.host(), host, 443)?);
            servers.extend(Self::serve(&self.server, server, 443)?);
        }
        Ok(servers)
    }

    fn asks(&self, transport: Protocol, address: &str) -> Result<bool> {
        let patience = if HOST.contains(&address) { PATIENCE } else { IMPATIENCE };
        exchange(&self.client, transport, at(address)?, patience)
    }

    /// Waits until packets to hosts behind this one are passed on, or dropped.
    fn until_others_are(&self, reachable: bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while exchange(&self.client, Protocol::Udp, at(SERVER[0])?, IMPATIENCE)? != reachable {
            anyhow::ensure!(Instant::now() < deadline, "others should be reachable: {reachable}");
        }
        Ok(())
    }
}

fn forward(interface: &str, on: bool) -> Result<()> {
    for family in ["ipv4", "ipv6"] {
        let path = format!("/proc/sys/net/{family}/conf/{interface}/forwarding");
        fs::write(&path, if on { "1" } else { "0" }).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

/// Holds: policy 3, security not-routed.
#[test]
fn an_open_port_lets_nothing_through_to_others() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    let _servers = passage.serves_everywhere()?;
    for (transport, server) in TRANSPORTS.into_iter().flat_map(|way| SERVER.map(|server| (way, server))) {
        let answers = exchange(&passage.client, transport, at(server)?, PATIENCE)?;
        assert!(answers, "{transport:?} {server}: nothing is enforced yet");
    }
    passage.operator.apply(&open()).exits(0);
    for transport in TRANSPORTS {
        for (host, server) in HOST.into_iter().zip(SERVER) {
            assert!(passage.asks(transport, host)?, "{transport:?} {host} is open");
            let before = passage.operator.packets("lan0", "routed");
            assert!(!passage.asks(transport, server)?, "{transport:?} {server} is another host");
            assert!(passage.operator.packets("lan0", "routed") > before);
        }
    }

    // Fragments go the way of their first.
    for (address, counted) in [(SERVER[0], "routed"), (HOST[0], "udp")] {
        let before = passage.operator.packets("lan0", counted);
        let send = format!(
            "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x' * 3000, ('{address}', 443))"
        );
        passage.client.run("python3", &["-c", &send])?;
        assert_eq!(passage.operator.packets("lan0", counted), before + 3, "{address}");
    }

    // What the hosts behind it begin is answered all the same.
    let _server = Passage::serve(&passage.client, CLIENT[0], 443)?;
    for transport in TRANSPORTS {
        assert!(exchange(&passage.server, transport, at(CLIENT[0])?, PATIENCE)?, "{transport:?} from behind");
    }
    Ok(())
}

/// A rule only ever lets more in: a conversation that a host behind this one began from the port that is open here is
/// answered as from any other port.
#[test]
fn a_reply_to_others_is_let_in_although_its_port_is_open_here() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    passage.operator.apply(&open()).exits(0);
    let _server = Passage::serve(&passage.client, CLIENT[0], 9_999)?;
    let socket = passage.server.within(|| UdpSocket::bind(at(SERVER[0]).expect("an address")))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"question", SocketAddr::new(CLIENT[0].parse()?, 9_999))?;
    socket.recv(&mut [0; 16]).context("no answer")?;
    assert_eq!(passage.operator.packets("lan0", "routed"), 0);
    Ok(())
}

#[test]
fn an_address_counts_as_soon_as_the_host_has_it() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    passage.operator.apply(&open()).exits(0);
    for address in ["192.0.2.77", "2001:db8:77::1"] {
        let command = ["address", "add", address, "dev", "lo"];
        let whole = if address.contains(':') { &[&command[..], &["nodad"]].concat() } else { &command[..] };
        passage.lab.host().run("ip", whole)?;
        let _server = Passage::serve(passage.lab.host(), address, 443)?;
        for transport in TRANSPORTS {
            assert!(exchange(&passage.client, transport, at(address)?, PATIENCE)?, "{transport:?} {address}");
        }
    }
    Ok(())
}

/// Multicast and broadcast are addressed to this host as well.
#[test]
fn what_goes_to_a_group_is_no_matter_of_routes() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    passage.operator.apply(&open()).exits(0);
    let send = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); \
                [s.sendto(b'x', (to, 443)) for to in ('198.51.100.255', '255.255.255.255', '239.1.2.3')]; \
                s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); \
                s.setsockopt(41, 17, socket.if_nametoindex('client0')); s.sendto(b'x', ('ff02::1', 443))";
    passage.client.run("python3", &["-c", send])?;
    assert_eq!(passage.operator.packets("lan0", "routed"), 0);
    assert_eq!(passage.operator.packets("lan0", "udp"), 4);
    Ok(())
}

#[test]
fn the_agent_follows_whether_the_host_forwards() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    let _servers = passage.serves_everywhere()?;
    forward("lan0", false)?;
    passage.operator.apply(&open()).exits(0);
    passage.operator.run(&["status", "--check"]).exits(0);
    forward("lan0", true)?;
    passage.until_others_are(true)?;
    passage.operator.run(&["status", "--check"]).exits(3).prints("lan0: forwarding was switched on");

    forward("lan0", false)?;
    let path = passage.operator.policy(&open())?;
    let path = path.to_str().expect("text");
    let mut agent = Running::start(passage.operator.command(&["agent", "--policy", path]));
    agent.event("applied");
    forward("lan0", true)?;
    agent.event("applied");
    passage.until_others_are(false)?;
    assert!(passage.asks(Protocol::Tcp, HOST[0])?);
    passage.operator.run(&["status", "--check"]).exits(0);
    forward("lan0", false)?;
    agent.event("applied");
    forward("lan0", true)?;
    agent.event("applied");
    Ok(())
}

/// What stands in such a frame where others have their addresses is no address: this was dropped as `routed`, or as
/// `internal` where the frame was shorter.
#[test]
fn frames_of_a_named_ether_type_have_no_route() -> Result<()> {
    let Some(passage) = Passage::new()? else { return Ok(()) };
    passage.operator.apply(&policy(&[interface("lan0", &[ether_types("clock", &["ptp"])])])).exits(0);
    let mut sender = passage.client.within(|| tagged::packets("client0"))?;
    let to_server = Frame::udp(Ip::V4, 443).bytes()[14..].to_vec();
    let mut addressed = to_server.clone();
    addressed[12..20].copy_from_slice(&[198, 51, 100, 2, 203, 0, 113, 2]);
    for payload in [&addressed[..], &to_server[..16], &[]] {
        let frame = splice::plain(0x88f7, payload);
        assert_eq!(sender.write(&frame)?, frame.len());
    }
    soon("each frame under its rule", || passage.operator.packets("lan0", "clock") == 3);
    assert_eq!(passage.operator.packets("lan0", "routed"), 0);
    Ok(())
}
