//! A host of containers: what they have begun through its address goes on when enforcement begins, and what others have
//! begun with them is no conversation of this host.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    programs::Programs,
    traffic::{EchoServer, Protocol},
};

use crate::adoption::Talk;

/// The container, and whoever is outside: each in a network of its own.
const CONTAINER: [&str; 2] = ["10.0.9.2", "fd00:9::2"];
const OUTSIDE: [&str; 2] = ["203.0.113.2", "2001:db8::2"];
const EDGE: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

/// What container engines set up: masquerading, and a published port of TCP and of UDP.
const RULES: &str = r#"
table inet engine {
    chain published {
        type nat hook prerouting priority dstnat;
        iifname "edge0" meta nfproto ipv4 meta l4proto { tcp, udp } th dport 8080 dnat ip to 10.0.9.2:80
        iifname "edge0" meta nfproto ipv6 meta l4proto { tcp, udp } th dport 8080 dnat ip6 to [fd00:9::2]:80
    }
    chain masqueraded {
        type nat hook postrouting priority srcnat;
        oifname "edge0" masquerade
    }
}
"#;

struct Engine {
    container: Namespace,
    outside: Namespace,
    operator: Operator,
    _lab: Lab,
}

impl Engine {
    /// `None` without root or nft.
    fn new() -> Result<Option<Self>> {
        let (Some(lab), Some(programs)) = (lab(), Programs::find(&["nft"])) else { return Ok(None) };
        let outside = lab.neighbour("edge0", "far0")?;
        let container = lab.neighbour_in("inner0", "eth0", "10.0.9.", "fd00:9::")?;
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let path = format!("/proc/sys/net/{setting}");
            fs::write(&path, "1").with_context(|| format!("cannot write {path}"))?;
        }
        container.run("ip", &["route", "add", "default", "via", "10.0.9.1"])?;
        container.run("ip", &["-6", "route", "add", "default", "via", "fd00:9::1"])?;
        let rules = Lab::state().join("engine.nft");
        fs::write(&rules, RULES)?;
        drop(programs.run(lab.host(), "nft", 20, &["-f", rules.to_str().expect("text")]).exits(0));
        Ok(Some(Self { container, outside, operator: Operator::new(&lab)?, _lab: lab }))
    }

    /// Servers of both transports at a port.
    fn serve(namespace: &Namespace, address: &str, port: u16) -> Result<[EchoServer; 2]> {
        let address = SocketAddr::new(address.parse::<IpAddr>()?, port);
        Ok([
            EchoServer::start(namespace, Protocol::Tcp, address)?,
            EchoServer::start(namespace, Protocol::Udp, address)?,
        ])
    }

    /// Conversations of both transports that have been answered.
    fn talk(from: &Namespace, address: &str, port: u16) -> Result<[Talk; 2]> {
        let server = SocketAddr::new(address.parse::<IpAddr>()?, port);
        let mut talks = [Talk::tcp(from, server)?, Talk::udp(from, server, true)?];
        for talk in &mut talks {
            talk.say(1).with_context(|| format!("to {server}"))?;
        }
        Ok(talks)
    }
}

/// Each of these was cut, although connection tracking knew it.
#[test]
fn what_containers_have_begun_goes_on_and_what_others_have_begun_does_not() -> Result<()> {
    let Some(engine) = Engine::new()? else { return Ok(()) };
    let (mut servers, mut own, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for ((container, outside), edge) in CONTAINER.into_iter().zip(OUTSIDE).zip(EDGE) {
        servers.push(Engine::serve(&engine.outside, outside, 443)?);
        servers.push(Engine::serve(&engine.container, container, 80)?);
        own.extend(Engine::talk(&engine.container, outside, 443)?);
        others.extend(Engine::talk(&engine.outside, edge, 8080)?);
    }
    let ssh = policy(&[interface("edge0", &[allow("ssh", "tcp", "22")])]);
    let said = engine.operator.apply(&ssh).exits(0);
    drop(said.prints("edge0: adopted 4 conversations that this host had begun"));
    for talk in &mut own {
        for word in 2..5 {
            talk.say(word)?;
        }
    }
    for talk in &mut others {
        talk.hurry();
        assert!(talk.say(2).is_err(), "somebody's conversation with a published port goes on");
    }
    // What has begun since is known without connection tracking.
    drop(Engine::talk(&engine.container, OUTSIDE[0], 443)?);
    Ok(())
}
