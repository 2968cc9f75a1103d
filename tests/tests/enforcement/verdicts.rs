//! Rules: what is open answers, everything else does not and is counted under its reason.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use portcullis_tests::{
    draft::{address, allow, allow_from, interface, observed, policy},
    packet::Ip,
    traffic::Protocol,
};

use crate::{Edge, TRANSPORTS, hosts, undocumented};

#[test]
fn what_a_rule_opens_answers_and_nothing_else() -> Result<()> {
    let Some(mut edge) = Edge::new()? else { return Ok(()) };
    for port in [443, 5000, 5100, 5101] {
        edge.serve(port)?;
    }
    let rules = [allow("web", "tcp", "443"), allow("media", "udp", "443,5000-5100")];
    edge.operator.apply(&policy(&[interface("edge0", &rules)])).exits(0);
    for host in hosts() {
        edge.answers(Protocol::Tcp, SocketAddr::new(host, 443));
        for port in [443, 5000, 5100] {
            edge.answers(Protocol::Udp, SocketAddr::new(host, port));
        }
        edge.drops(Protocol::Tcp, SocketAddr::new(host, 5000), "undocumented-tcp");
        edge.drops(Protocol::Udp, SocketAddr::new(host, 5101), "undocumented-udp");
        // Nobody listens there: the kernel would have refused, had it seen the packet.
        edge.drops(Protocol::Tcp, SocketAddr::new(host, 4711), "undocumented-tcp");
    }
    Ok(())
}

#[test]
fn a_rule_with_sources_answers_to_them_alone() -> Result<()> {
    let Some(mut edge) = Edge::new()? else { return Ok(()) };
    for port in [443, 22, 53] {
        edge.serve(port)?;
    }
    let mut text = policy(&[interface(
        "edge0",
        &[
            allow_from("ours", "tcp", "443", &["neighbours"]),
            allow_from("theirs", "tcp", "22", &["198.51.100.0/24", "2001:db8:1::/48"]),
            allow_from("old", "udp", "53", &["203.0.113.2"]),
        ],
    )]);
    text.push_str("\n[peers]\nneighbours = [\"203.0.113.0/24\", \"2001:db8::/64\"]\n");
    edge.operator.apply(&text).exits(0);
    for host in hosts() {
        edge.answers(Protocol::Tcp, SocketAddr::new(host, 443));
        edge.drops(Protocol::Tcp, SocketAddr::new(host, 22), "source");
    }
    // Limited to an IPv4 address, it says nothing of IPv6.
    edge.answers(Protocol::Udp, SocketAddr::new(Ip::V4.address(1), 53));
    edge.drops(Protocol::Udp, SocketAddr::new(Ip::V6.address(1), 53), "source");
    Ok(())
}

#[test]
fn a_rule_of_one_local_address_opens_nothing_on_another() -> Result<()> {
    let Some(mut edge) = Edge::new()? else { return Ok(()) };
    let others: [IpAddr; 2] = Ip::BOTH.map(|ip| ip.address(9));
    for (family, other) in [("-4", format!("{}/24", others[0])), ("-6", format!("{}/64", others[1]))] {
        let nodad: &[&str] = if family == "-6" { &["nodad"] } else { &[] };
        let args = [&[family, "address", "add", &other, "dev", "edge0"][..], nodad].concat();
        edge.lab.host().run("ip", &args)?;
    }
    for port in [22, 443] {
        edge.serve(port)?;
        for other in others {
            edge.serve_at(SocketAddr::new(other, port))?;
        }
    }
    let sip = |n: u8| [allow(&format!("sip{n}"), "tcp", "443"), allow(&format!("sip{n}-udp"), "udp", "443")];
    let own = [
        allow("ssh", "tcp", "22"),
        address(&others[0].to_string(), &sip(4)),
        address(&others[1].to_string(), &sip(6)),
    ];
    edge.operator.apply(&policy(&[interface("edge0", &own)])).exits(0);
    for host in hosts() {
        edge.answers(Protocol::Tcp, SocketAddr::new(host, 22));
        for transport in TRANSPORTS {
            edge.drops(transport, SocketAddr::new(host, 443), "source");
        }
    }
    for other in others {
        // What holds for the interface holds for each of its addresses.
        edge.answers(Protocol::Tcp, SocketAddr::new(other, 22));
        for transport in TRANSPORTS {
            edge.answers(transport, SocketAddr::new(other, 443));
        }
    }
    Ok(())
}

#[test]
fn observe_counts_what_would_be_dropped_and_drops_nothing() -> Result<()> {
    let Some(mut edge) = Edge::new()? else { return Ok(()) };
    edge.serve(443)?;
    edge.serve(8080)?;
    let rules = [allow("web", "tcp", "443")];
    edge.operator.apply(&policy(&[observed("edge0", &rules)])).exits(0);
    for host in hosts() {
        for transport in TRANSPORTS {
            let before = edge.operator.packets("edge0", undocumented(transport));
            edge.answers(transport, SocketAddr::new(host, 8080));
            let after = edge.operator.packets("edge0", undocumented(transport));
            assert!(after > before, "{transport:?} is counted as it would be dropped");
        }
        let before = edge.operator.packets("edge0", "web");
        edge.answers(Protocol::Tcp, SocketAddr::new(host, 443));
        assert!(edge.operator.packets("edge0", "web") > before, "rules count as ever");
    }
    Ok(())
}

#[test]
fn a_closed_interface_stays_on_its_link() -> Result<()> {
    let Some(mut edge) = Edge::new()? else { return Ok(()) };
    edge.serve(443)?;
    edge.operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    // Both sides forget each other's link addresses: without ARP and neighbour discovery nothing works.
    edge.lab.host().run("ip", &["neighbour", "flush", "dev", "edge0"])?;
    edge.neighbour.run("ip", &["neighbour", "flush", "dev", "far0"])?;
    for host in hosts() {
        edge.drops(Protocol::Tcp, SocketAddr::new(host, 443), "undocumented-tcp");
    }
    assert!(edge.operator.packets("edge0", "arp") > 0);
    assert!(edge.operator.packets("edge0", "neighbour-discovery") > 0);
    Ok(())
}
