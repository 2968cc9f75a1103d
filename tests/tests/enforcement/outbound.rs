//! Real clients and servers where leaving packets are judged.

use std::{io::Write as _, net::SocketAddr};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, policy},
    packet::{Frame, Ip, Transport},
    tagged::packets,
    traffic::{EchoServer, Protocol, exchange},
};

use crate::{Edge, IMPATIENCE, PATIENCE, TRANSPORTS};

/// An interface that judges what leaves.
fn judged(allows: &[String]) -> String {
    format!("\n[[interface]]\nname = \"edge0\"\noutbound = \"enforce\"\n{}", allows.concat())
}

/// Ports that are open to what leaves, to some destinations.
fn out(name: &str, protocol: &str, ports: &str, to: &[&str]) -> String {
    format!("{}direction = \"out\"\nto = {to:?}\n", allow(name, protocol, ports))
}

/// Holds: policy 14.
#[test]
fn only_what_the_policy_lets_out_leaves() -> Result<()> {
    let Some(mut edge) = Edge::new()? else { return Ok(()) };
    edge.serve(443)?;
    let to = ["203.0.113.2", "2001:db8::2"];
    let allows = [allow("web", "tcp", "443"), allow("stun", "udp", "443"), out("names", "udp", "53", &to)];
    edge.operator.apply(&policy(&[judged(&allows)])).exits(0);
    for ip in Ip::BOTH {
        for transport in TRANSPORTS {
            edge.answers(transport, SocketAddr::new(ip.address(1), 443));
        }
        let (names, web) = (SocketAddr::new(ip.address(2), 53), SocketAddr::new(ip.address(2), 80));
        let _names = EchoServer::start(&edge.neighbour, Protocol::Udp, names)?;
        let _web = EchoServer::start(&edge.neighbour, Protocol::Tcp, web)?;
        assert!(exchange(edge.lab.host(), Protocol::Udp, names, PATIENCE)?, "{names}");
        let before = edge.operator.packets("edge0", "outbound-undocumented-tcp");
        assert!(!exchange(edge.lab.host(), Protocol::Tcp, web, IMPATIENCE)?, "{web}");
        assert!(edge.operator.packets("edge0", "outbound-undocumented-tcp") > before);
    }
    let counters = edge.operator.counters("edge0");
    let outbound = &counters["outbound"];
    assert_eq!(outbound["mode"], "enforce");
    let number = |value: &serde_json::Value| value["packets"].as_u64().expect("packets are a number");
    assert_eq!(
        number(&outbound["total"]),
        number(&outbound["accepted"]) + number(&outbound["dropped"]),
        "{outbound}"
    );
    assert!(number(&outbound["dropped"]) > 0 && edge.operator.packets("edge0", "names") > 0, "{counters:#}");
    Ok(())
}

/// Of a frame above a page the kernel keeps only the link's header in the linear part (`packet_alloc_skb` in
/// net/packet/af_packet.c).
#[test]
fn a_large_frame_of_a_packet_socket_leaves_by_its_port() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.lab.host().run("ip", &["link", "set", "edge0", "mtu", "9000"])?;
    edge.neighbour.run("ip", &["link", "set", "far0", "mtu", "9000"])?;
    let copies = out("copies", "udp", "4789", &["203.0.113.2", "2001:db8::2"]);
    edge.operator.apply(&policy(&[judged(&[copies])])).exits(0);
    let mut socket = edge.lab.host().within(|| packets("edge0"))?;
    for (ip, payload) in [(Ip::V4, 1_000), (Ip::V4, 8_000), (Ip::V6, 8_000)] {
        for (port, rule) in [(4789, "copies"), (4790, "outbound-undocumented-udp")] {
            let mut frame = Frame::new(ip, Transport::Udp { source: 4789, destination: port });
            std::mem::swap(&mut frame.source, &mut frame.destination);
            frame.payload = payload;
            let before = edge.operator.packets("edge0", rule);
            // The kernel reports to such a socket what was dropped (ENOBUFS).
            let leaves = socket.write_all(&frame.bytes()).is_ok();
            assert_eq!(leaves, port == 4789, "{ip:?} {payload} bytes to {port}");
            assert_eq!(edge.operator.packets("edge0", rule), before + 1, "{ip:?} {payload} bytes to {port}");
        }
    }
    assert_eq!(edge.operator.packets("edge0", "outbound-truncated"), 0);
    Ok(())
}

/// Holds: policy 18.
#[test]
fn check_warns_where_no_name_could_be_found_any_more() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let check = |allows: &[String]| -> Result<_> {
        let path = edge.operator.policy(&policy(&[judged(allows)]))?;
        Ok(edge.operator.run(&["check", path.to_str().expect("the lab's paths are text")]))
    };
    check(&[allow("ssh", "tcp", "22")])?.exits(3).prints("nothing lets udp/53 out");
    let names = out("names", "udp", "53", &["203.0.113.2"]);
    check(&[allow("ssh", "tcp", "22"), names])?.keeps_quiet_about("udp/53");
    Ok(())
}
