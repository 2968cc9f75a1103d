//! Behind VLAN tags: all that the protected host and its neighbour say to each other is tagged, once or twice,
//! and is judged by what stands behind the tags.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, pings, policy},
    lab::Namespace,
    operator::rows,
    packet::Ip,
    running::PATIENCE,
    tagged::Tagged,
    traffic::{EchoServer, Protocol, exchange},
};

use crate::{Edge, IMPATIENCE};

const VLAN: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;

/// Holds: policy 10.
#[test]
fn conversations_behind_vlan_tags_are_judged_by_their_ports() -> Result<()> {
    for tags in [&[(VLAN, 7)][..], &[(SERVICE, 100), (VLAN, 7)]] {
        let Some((edge, _devices)) = edge(tags)? else { return Ok(()) };
        let ping = pings("ping", &["icmp", "icmpv6"]);
        let sip = ["tcp", "udp"].map(|protocol| allow(&format!("sip-{protocol}"), protocol, "5060"));
        edge.apply(&policy(&[interface("edge0", &[&sip[..], &[ping]].concat())]));
        for ip in Ip::BOTH {
            for (protocol, rule, flow, reason) in [
                (Protocol::Tcp, "sip-tcp", "flow-tcp", "undocumented-tcp"),
                (Protocol::Udp, "sip-udp", "flow-udp", "undocumented-udp"),
            ] {
                let served = |namespace: &Namespace, address: IpAddr, port| {
                    EchoServer::start(namespace, protocol, SocketAddr::new(address, port))
                };
                let before = [rule, flow, reason].map(|name| edge.counted(name));
                let _servers = (
                    served(edge.host(), ip.address(1), 5060)?,
                    served(edge.host(), ip.address(1), 5059)?,
                    served(&edge.neighbour, ip.address(2), 53)?,
                );
                let asks = |from, n, port, patience| {
                    exchange(from, protocol, SocketAddr::new(ip.address(n), port), patience)
                };
                assert!(asks(&edge.neighbour, 1, 5060, PATIENCE)?, "{tags:x?} {ip:?} {protocol:?}: by rule");
                assert!(asks(edge.host(), 2, 53, PATIENCE)?, "{tags:x?} {ip:?} {protocol:?}: by flow");
                assert!(
                    !asks(&edge.neighbour, 1, 5059, IMPATIENCE)?,
                    "{tags:x?} {ip:?} {protocol:?}: closed"
                );
                let after = [rule, flow, reason].map(|name| edge.counted(name));
                assert!(
                    before.iter().zip(&after).all(|(before, after)| before < after),
                    "{before:?} {after:?}"
                );
            }
            for (from, n) in [(edge.host(), 2), (&edge.neighbour, 1)] {
                let to = ip.address(n).to_string();
                drop(edge.programs.run(from, "ping", 10, &["-c", "3", "-i", "0.2", &to]).exits(0));
            }
        }
        assert_eq!((edge.counted("ping"), edge.counted("flow-echo")), (6, 6));
        edge.operator.show("edge0", &format!("{} tags", tags.len()));
    }
    Ok(())
}

#[test]
fn a_third_tag_hides_nothing() -> Result<()> {
    let Some((edge, _devices)) = edge(&[(SERVICE, 1), (VLAN, 2), (VLAN, 3)])? else { return Ok(()) };
    edge.apply(&policy(&[interface("edge0", &[allow("sip", "udp", "5060")])]));
    let server = SocketAddr::new(Ip::V4.address(1), 5060);
    let _server = EchoServer::start(edge.host(), Protocol::Udp, server)?;
    assert!(!exchange(&edge.neighbour, Protocol::Udp, server, IMPATIENCE)?);
    let counters = edge.operator.counters("edge0");
    let used: Vec<_> = rows(&counters).filter(|row| row["packets"] != 0).map(|row| &row["reason"]).collect();
    assert_eq!(used, ["vlan-depth"], "not even who has the address is asked");
    Ok(())
}

/// The two sides, and the devices on which they have their addresses.
fn edge(tags: &[(u16, u16)]) -> Result<Option<(Edge, [Tagged; 2])>> {
    let Some(edge) = Edge::behind(&["ping"], |lab| lab.silent_neighbour("edge0", "far0"))? else {
        return Ok(None);
    };
    let device = |namespace: &Namespace, below, n| -> Result<Tagged> {
        let device = Tagged::new(namespace, "vlan0", below, tags)?;
        namespace.address("vlan0", &format!("203.0.113.{n}/24"))?;
        namespace.address("vlan0", &format!("2001:db8::{n}/64"))?;
        Ok(device)
    };
    let devices = [device(edge.host(), "edge0", 1)?, device(&edge.neighbour, "far0", 2)?];
    Ok(Some((edge, devices)))
}
