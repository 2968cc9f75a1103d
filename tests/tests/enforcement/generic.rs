//! Interfaces whose drivers have no XDP of their own: generic mode enforces there, and says so.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    operator::Operator,
    traffic::{EchoServer, Protocol, exchange},
};

use crate::{Edge, IMPATIENCE, PATIENCE};

const LINK_ADDRESS: &str = "02:00:00:00:00:07";

/// A second interface on the same link, with an address of its own; its name has a dot, as VLANs' have.
/// Gives its address and one of the neighbour.
fn macvlan(edge: &Edge) -> Result<[IpAddr; 2]> {
    let host = edge.lab.host();
    let add = ["link", "add", "link", "edge0", "name", "edge0.7", "address", LINK_ADDRESS, "type", "macvlan"];
    host.run("ip", &add)?;
    host.run("ip", &["address", "add", "198.51.100.1/24", "dev", "edge0.7"])?;
    host.run("ip", &["link", "set", "edge0.7", "up"])?;
    edge.neighbour.run("ip", &["address", "add", "198.51.100.2/24", "dev", "far0"])?;
    // Linux answers ARP for every local address on every interface: asked, the host might name edge0.
    let known = ["neighbour", "replace", "198.51.100.1", "lladdr", LINK_ADDRESS, "dev", "far0"];
    edge.neighbour.run("ip", &known)?;
    Ok([1, 2].map(|n| IpAddr::from([198, 51, 100, n])))
}

#[test]
fn an_interface_without_native_xdp_is_enforced_in_generic_mode() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let [here, there] = macvlan(&edge)?;
    let serve = |port| EchoServer::start(edge.lab.host(), Protocol::Tcp, SocketAddr::new(here, port));
    let _servers = [serve(443)?, serve(8080)?];
    let web = policy(&[interface("edge0.7", &[allow("web", "tcp", "443")])]);
    let said =
        edge.operator.apply(&web).exits(0).prints("edge0.7: enforcing 1 rule, generation 1, generic XDP\n");
    said.prints("edge0.7: native XDP is not possible here (").prints("generic XDP is slower");

    let ask =
        |port, patience| exchange(&edge.neighbour, Protocol::Tcp, SocketAddr::new(here, port), patience);
    assert!(ask(443, PATIENCE)?);
    assert!(!ask(8080, IMPATIENCE)?);
    assert!(edge.operator.packets("edge0.7", "web") > 0);
    assert!(edge.operator.packets("edge0.7", "undocumented-tcp") > 0);

    // What this host begins is answered here, too.
    let server = SocketAddr::new(there, 53);
    let _server = EchoServer::start(&edge.neighbour, Protocol::Udp, server)?;
    assert!(exchange(edge.lab.host(), Protocol::Udp, server, PATIENCE)?);
    assert!(edge.operator.packets("edge0.7", "flow-udp") > 0);

    // The mode stays, also where the state that told it was lost.
    let more = format!("{web}{}", allow("more", "tcp", "8443"));
    edge.operator.apply(&more).exits(0).prints("generation 2, generic XDP, swapped in\n");
    assert_eq!(mode(&edge.operator), "generic");
    std::fs::remove_dir_all(Operator::state())?;
    edge.operator.apply(&web).exits(0).prints("generation 1, generic XDP, swapped in\n");
    assert_eq!(mode(&edge.operator), "generic");
    assert!(ask(443, PATIENCE)?);

    edge.operator.run(&["detach", "edge0.7"]).exits(0);
    assert!(ask(8080, PATIENCE)?);
    Ok(())
}

fn mode(operator: &Operator) -> String {
    let status = operator.run(&["status", "--json"]).exits(0).json();
    status["interfaces"][0]["xdp"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn other_interfaces_without_native_xdp_say_why() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    for kind in ["bridge", "ifb"] {
        edge.lab.host().run("ip", &["link", "add", "soft0", "type", kind])?;
        let said = edge.operator.apply(&policy(&[interface("soft0", &[])])).exits(0);
        said.prints("generic XDP").prints("native XDP is not possible here");
        edge.operator.run(&["detach", "soft0"]).exits(0);
        edge.lab.host().run("ip", &["link", "delete", "soft0"])?;
    }
    Ok(())
}
