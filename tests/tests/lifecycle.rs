//! The whole life of an enforcement, from the first `apply` to `detach`, with the real command, real
//! interfaces and real packets. Also run on an older kernel (`cargo xtask vm`), where the egress program
//! hangs on clsact in place of TCX.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    packet::Ip,
    traffic::{EchoServer, Protocol, exchange},
};

/// How long anything that must come may take, on an emulated machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long what must not come is waited for.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// What stands on an interface, as iproute2 tells it.
struct Standing {
    xdp: bool,
    egress_filters: usize,
}

/// Whether nothing is left on an interface. The kernel takes XDP off a moment after its pin is gone.
fn let_go(host: &Namespace, interface: &str) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Standing { xdp, egress_filters } = standing(host, interface)?;
        if !xdp || Instant::now() > deadline {
            return Ok(!xdp && egress_filters == 0);
        }
        std::thread::sleep(POLL);
    }
}

fn standing(host: &Namespace, interface: &str) -> Result<Standing> {
    let link = host.run("ip", &["link", "show", "dev", interface])?;
    // Fails where there is no qdisc for filters.
    let filters = host.run("tc", &["filter", "show", "dev", interface, "egress"]).unwrap_or_default();
    let egress_filters = filters.lines().filter(|line| line.contains("direct-action")).count();
    Ok(Standing { xdp: link.contains("prog/xdp"), egress_filters })
}

/// A conversation that the host began, over either transport.
struct Talk {
    stream: TcpStream,
    socket: UdpSocket,
}

impl Talk {
    fn begin(host: &Namespace, server: SocketAddr) -> Result<Self> {
        host.within(|| {
            let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(Self { stream, socket })
        })
    }

    fn go_on(&mut self, word: &[u8; 4]) -> Result<()> {
        let mut answer = [0; 4];
        self.stream.write_all(word)?;
        self.stream.read_exact(&mut answer)?;
        assert_eq!(&answer, word, "over TCP");
        self.socket.send(word)?;
        self.socket.recv(&mut answer)?;
        assert_eq!(&answer, word, "over UDP");
        Ok(())
    }
}

#[test]
fn an_enforcement_from_beginning_to_end() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let mut servers = Vec::new();
    for ip in Ip::BOTH {
        for port in [443, 8443] {
            let server = SocketAddr::new(ip.address(1), port);
            servers.push(EchoServer::start(lab.host(), Protocol::Tcp, server)?);
        }
    }
    let outside = SocketAddr::new(Ip::V4.address(2), 7);
    servers.push(EchoServer::start(&neighbour, Protocol::Tcp, outside)?);
    servers.push(EchoServer::start(&neighbour, Protocol::Udp, outside)?);
    let open = |port: &str| policy(&[interface("edge0", &[allow("web", "tcp", port)])]);
    let reaches = |port, patience| -> Result<bool> {
        let mut all = true;
        for ip in Ip::BOTH {
            all &= exchange(&neighbour, Protocol::Tcp, SocketAddr::new(ip.address(1), port), patience)?;
        }
        Ok(all)
    };

    let begun = Instant::now();
    operator.apply(&open("443")).exits(0).prints("generation 1");
    println!("applied after {:?}", begun.elapsed());
    let first = standing(lab.host(), "edge0")?;
    assert!(first.xdp, "the ingress program stands on the interface");
    println!("the egress program hangs on {}", if first.egress_filters == 0 { "TCX" } else { "clsact" });
    assert!(reaches(443, PATIENCE)?, "what a rule opens is open");
    assert!(!reaches(8443, IMPATIENCE)?, "what no rule opens is closed");
    assert!(operator.packets("edge0", "undocumented-tcp") > 0);

    let mut talk = Talk::begin(lab.host(), outside)?;
    talk.go_on(b"one.")?;
    assert!(operator.packets("edge0", "flow-tcp") > 0, "replies come by their flow");
    assert!(operator.packets("edge0", "flow-udp") > 0);

    operator.apply(&open("8443")).exits(0).prints("generation 2").prints("swapped in");
    talk.go_on(b"two.")?;
    assert!(reaches(8443, PATIENCE)?, "the new rule holds");
    assert!(!reaches(443, IMPATIENCE)?, "the old one does not");
    assert_eq!(
        standing(lab.host(), "edge0")?.egress_filters,
        first.egress_filters,
        "one in the place of the other"
    );
    // The egress program of the second generation records what begins now.
    Talk::begin(lab.host(), outside)?.go_on(b"new.")?;
    let status = operator.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status["interfaces"][0]["generation"], 2);

    // A filter by hand that is gone stands for an attachment that was interrupted: made anew.
    if first.egress_filters > 0 {
        lab.host().run("tc", &["qdisc", "delete", "dev", "edge0", "clsact"])?;
        operator.apply(&open("443")).exits(0);
        assert_eq!(standing(lab.host(), "edge0")?.egress_filters, 1);
        Talk::begin(lab.host(), outside)?.go_on(b"anew")?;
    }

    operator.run(&["detach", "--all"]).exits(0);
    assert!(let_go(lab.host(), "edge0")?, "both programs are gone");
    assert!(reaches(443, PATIENCE)? && reaches(8443, PATIENCE)?, "nothing is enforced any more");
    let left: Vec<_> = std::fs::read_dir(Lab::bpffs().join("portcullis"))?.collect();
    assert!(left.is_empty(), "pins that are left: {left:?}");
    Ok(())
}

#[test]
fn another_interface_of_the_same_name_leaves_nothing_on_the_first() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let ip = |args: &[&str]| lab.host().run("ip", args);
    let closed = policy(&[interface("edge0", &[])]);
    for peer in ["far0", "far1"] {
        ip(&["link", "add", "edge0", "type", "veth", "peer", "name", peer])?;
        operator.apply(&closed).exits(0).keeps_quiet_about("swapped in");
        if peer == "far0" {
            ip(&["link", "set", "edge0", "name", "old0"])?;
        }
    }
    assert!(let_go(lab.host(), "old0")?);
    assert!(standing(lab.host(), "edge0")?.xdp);
    Ok(())
}

#[test]
fn a_renamed_interface_is_let_go() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let _neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    for args in [&["down"][..], &["name", "wan0"], &["up"]] {
        let dev = if args[0] == "up" { "wan0" } else { "edge0" };
        lab.host().run("ip", &[&["link", "set", "dev", dev], args].concat())?;
    }
    operator.run(&["detach", "--all"]).exits(0);
    assert!(let_go(lab.host(), "wan0")?);
    Ok(())
}
