//! tun devices: what is read from and written to them begins with its IP header.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use etherparse::{IpNumber, Ipv4Header, Ipv4Options};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    packet::Ip,
    programs::soon,
    running::Running,
    traffic::{EchoServer, Protocol, exchange},
    tun::{self, Kind},
    tunnel::Tunnel,
};

use crate::{CLOSED, IMPATIENCE, OPEN, PATIENCE, everything, expect_judged, opened, serve};

/// A host with `tun0` and a neighbour, both of which serve.
struct Tunnelled {
    _servers: [Vec<EchoServer>; 2],
    _tunnel: Tunnel,
    lab: Lab,
    neighbour: Namespace,
    operator: Operator,
}

impl Tunnelled {
    fn new(lab: Lab) -> Result<Self> {
        let (neighbour, tunnel) = lab.tunnelled("tun0", "far0")?;
        let operator = Operator::new(&lab)?;
        let servers = [serve(lab.host(), 1, &Ip::BOTH)?, serve(&neighbour, 2, &Ip::BOTH)?];
        Ok(Self { _servers: servers, _tunnel: tunnel, lab, neighbour, operator })
    }
}

/// Holds: policy 3, policy 7.
#[test]
fn packets_without_an_ethernet_header_are_judged_by_their_ports() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let Tunnelled { _servers, _tunnel, lab, neighbour, operator } = Tunnelled::new(lab)?;
    operator.apply(&opened("tun0")).exits(0);
    expect_judged((&lab, &operator), &neighbour, &["tun0"], &Ip::BOTH);
    operator.apply(&opened("tun0")).exits(0).prints("unchanged");
    Ok(())
}

/// Holds: policy 14, policy 16.
#[test]
fn what_leaves_without_an_ethernet_header_is_judged_too() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let Tunnelled { _servers, _tunnel, lab, neighbour, operator } = Tunnelled::new(lab)?;
    let port = OPEN.to_string();
    let out = |name, protocol| format!("{}direction = \"out\"\n", allow(name, protocol, &port));
    let allows = [
        allow("web", "tcp", &port),
        allow("media", "udp", &port),
        out("web-out", "tcp"),
        out("media-out", "udp"),
    ];
    let text = policy(&[interface("tun0", &allows)])
        .replace("name = \"tun0\"\n", "name = \"tun0\"\noutbound = \"enforce\"\n");
    operator.apply(&text).exits(0);
    for (ip, transport) in everything(&Ip::BOTH) {
        let talk = |from, own, port, patience| {
            exchange(from, transport, SocketAddr::new(ip.address(own), port), patience)
        };
        assert!(talk(&neighbour, 1, OPEN, PATIENCE)?, "{ip:?} {transport:?}: an answer leaves");
        assert!(talk(lab.host(), 2, OPEN, PATIENCE)?, "{ip:?} {transport:?}: what is let out leaves");
        let reason = match transport {
            Protocol::Tcp => "outbound-undocumented-tcp",
            Protocol::Udp => "outbound-undocumented-udp",
        };
        let before = operator.packets("tun0", reason);
        assert!(!talk(lab.host(), 2, CLOSED, IMPATIENCE)?, "{ip:?} {transport:?}: and nothing else");
        assert!(operator.packets("tun0", reason) > before, "{ip:?} {transport:?}: counted as {reason}");
    }
    assert_eq!(operator.packets("tun0", "outbound-non-ip"), 0);
    Ok(())
}

/// The source address of a packet stands where an Ethernet header has its EtherType, and its options where the IP
/// header after that would go on.
///
/// Holds: policy 10, security closed.
#[test]
fn options_of_ipv4_are_not_taken_for_a_header() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let (_neighbour, tunnel) = lab.tunnelled("tun0", "far0")?;
    // It is answered by that way, so that no filter of sources drops it.
    lab.host().run("ip", &["route", "add", "8.0.0.0/8", "dev", "tun0"])?;
    let operator = Operator::new(&lab)?;
    operator.apply(&opened("tun0")).exits(0);
    let [open, closed] = [OPEN, CLOSED].map(|port| UdpSocket::bind(("203.0.113.1", port)));
    let [open, closed] = [open?, closed?];
    for socket in [&open, &closed] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    let packet = |port: u16| -> Result<Vec<u8>> {
        // Read from byte 14 on: version 4 and 20 bytes of header, no fragment, UDP to the open port.
        let mut options = [0_u8; 40];
        options[3] = 17;
        options[16..18].copy_from_slice(&OPEN.to_be_bytes());
        let mut header = Ipv4Header::new(12, 64, IpNumber::UDP, [8, 0, 0x45, 0], [203, 0, 113, 1])?;
        header.options = Ipv4Options::from(options);
        header.set_payload_len(12)?;
        header.header_checksum = header.calc_header_checksum();
        let mut packet = header.to_bytes().to_vec();
        packet.extend([4_000, port, 12, 0].map(u16::to_be_bytes).concat());
        packet.extend(b"word");
        Ok(packet)
    };
    tunnel.send(&packet(CLOSED)?)?;
    tunnel.send(&packet(OPEN)?)?;
    let (mut word, from) = ([0; 8], SocketAddr::from((Ipv4Addr::new(8, 0, 0x45, 0), 4_000)));
    assert_eq!(open.recv_from(&mut word)?, (4, from), "such packets are taken");
    // What came before it has been judged.
    assert_eq!(operator.packets("tun0", "undocumented-udp"), 1);
    closed.set_nonblocking(true)?;
    assert!(closed.recv_from(&mut word).is_err(), "the closed port has heard nothing");
    Ok(())
}

/// Who asks before anything is dropped is heard on every kind of link.
///
/// Holds: policy 7.
#[test]
fn a_client_that_is_active_at_the_first_enforcement_is_a_stranger() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let (neighbour, _tunnel) = lab.tunnelled("tun0", "far0")?;
    // Programs listen to both at once.
    let _other = lab.neighbour_in("edge0", "far0", "198.51.100.", "2001:db8:1::")?;
    let operator = Operator::new(&lab)?;
    let _servers = serve(lab.host(), 1, &Ip::BOTH)?;
    let client = neighbour.within(|| UdpSocket::bind("203.0.113.2:0"))?;
    client.connect(("203.0.113.1", CLOSED))?;
    let ask = |patience: Duration| -> Result<bool> {
        client.set_read_timeout(Some(patience))?;
        client.send(b"question")?;
        Ok(client.recv(&mut [0; 8]).is_ok())
    };
    let (done, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| -> Result<()> {
        let asking = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                answered.fetch_add(ask(Duration::from_millis(20))?.into(), Ordering::Relaxed);
            }
            Ok(())
        });
        soon("answers", || answered.load(Ordering::Relaxed) > 10);
        operator.apply(&policy(&[interface("edge0", &[]), interface("tun0", &[])])).exits(0);
        done.store(true, Ordering::Relaxed);
        asking.join().expect("the client does not panic")
    })?;
    for _ in 0..10 {
        ensure!(!ask(IMPATIENCE)?, "a client that asked while the programs listened is still answered");
    }
    Ok(())
}

#[test]
fn the_guard_asks_about_packets_as_they_arrive_there() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let Tunnelled { _servers, _tunnel, lab, neighbour, operator } = Tunnelled::new(lab)?;
    let connect = |from: &Namespace, own, port| {
        let server = SocketAddr::new(Ip::V4.address(own), port);
        from.within(|| TcpStream::connect_timeout(&server, PATIENCE))
    };
    let _talks = [
        connect(&neighbour, 1, OPEN)?,
        connect(&neighbour, 1, CLOSED)?,
        // What this host began goes on.
        connect(lab.host(), 2, CLOSED)?,
    ];
    let path = operator.policy(&opened("tun0"))?;
    let plan = operator.run(&["plan", path.to_str().expect("text"), "--json"]).exits(3).json();
    let cuts = plan["cuts"].as_array().expect("a list");
    assert_eq!(cuts.len(), 1, "{plan:#}");
    let cut = cuts[0]["conversation"].as_str().expect("a conversation");
    assert!(cut.ends_with(&format!("> 203.0.113.1:{CLOSED}")), "{cut}");
    Ok(())
}

#[test]
fn trials_and_shadows_judge_the_same_packets() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let (neighbour, _tunnel) = lab.tunnelled("tun0", "far0")?;
    let operator = Operator::new(&lab)?;
    let _servers = serve(lab.host(), 1, &Ip::BOTH)?;
    let talk = |port, patience| {
        exchange(&neighbour, Protocol::Tcp, SocketAddr::new(Ip::V6.address(1), port), patience)
    };
    let closed = policy(&[interface("tun0", &[])]);
    operator.apply(&closed).exits(0);

    let path = operator.policy(&opened("tun0"))?;
    let path = path.to_str().expect("text");
    operator.run(&["apply", path, "--shadow"]).exits(0);
    assert!(!talk(OPEN, IMPATIENCE)?, "a shadow decides nothing");
    let shadow = operator.run(&["shadow", "--json"]).exits(3).json();
    assert!(shadow["interfaces"][0]["opens"]["packets"].as_u64() > Some(0), "{shadow:#}");
    operator.run(&["rollback"]).exits(0);

    operator.run(&["apply", path, "--confirm", "5m"]).exits(0);
    assert!(talk(OPEN, PATIENCE)?, "a trial does");
    assert!(!talk(CLOSED, IMPATIENCE)?);
    operator.run(&["rollback"]).exits(0);
    assert!(!talk(OPEN, IMPATIENCE)?, "and is over");
    Ok(())
}

/// The programs that are kept for an interface read the packets of that one.
///
/// Holds: policy 13.
#[test]
fn an_interface_that_is_made_anew_of_another_type_gets_other_programs() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let _servers = serve_later(&lab)?;
    let (neighbour, tunnel) = lab.tunnelled("some0", "far0")?;
    let path = operator.policy(&opened("some0"))?;
    let mut agent = Running::start(operator.command(&["agent", "--policy", path.to_str().expect("text")]));
    assert_eq!(agent.event("applied")["generation"], 1);
    let judged = |neighbour: &Namespace| -> Result<()> {
        let talk = |port, patience| {
            exchange(neighbour, Protocol::Tcp, SocketAddr::new(Ip::V4.address(1), port), patience)
        };
        ensure!(talk(OPEN, PATIENCE)? && !talk(CLOSED, IMPATIENCE)?, "the open port, and no other");
        Ok(())
    };
    judged(&neighbour)?;
    drop((tunnel, neighbour));
    agent.event("vanished");
    let neighbour = lab.neighbour("some0", "far0")?;
    assert_eq!(agent.event("applied")["generation"], 2, "loaded anew");
    judged(&neighbour)?;
    lab.host().run("ip", &["link", "del", "some0"])?;
    agent.event("vanished");
    let (neighbour, _tunnel) = lab.tunnelled("some0", "far1")?;
    assert_eq!(agent.event("applied")["generation"], 3);
    judged(&neighbour)
}

/// Servers that can be reached at any address that the host gets.
fn serve_later(lab: &Lab) -> Result<[EchoServer; 2]> {
    let serve = |port| EchoServer::start(lab.host(), Protocol::Tcp, SocketAddr::from(([0; 4], port)));
    Ok([serve(OPEN)?, serve(CLOSED)?])
}

/// Whoever owns the device may do that, without any rights.
#[test]
fn a_hardware_type_that_somebody_made_up_changes_nothing() -> Result<()> {
    const ETHERNET: u16 = 1;
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    for (kind, hardware) in [(Kind::Tun, ETHERNET), (Kind::Tap, 0xfffe)] {
        let file = lab.host().within(|| tun::open("made0", kind))?;
        tun::call(&file, hardware)?;
        let link = &operator.run(&["doctor", "made0", "--json"]).json()["interfaces"][0]["link_type"];
        let expected = if kind == Kind::Tun { "ip" } else { "ethernet" };
        assert_eq!(link, expected);
    }
    Ok(())
}
