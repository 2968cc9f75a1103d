//! Interfaces whose packets begin otherwise than with an Ethernet header of their own: tunnels, and what carries
//! several links as one. Real devices, each test in a lab of its own.

mod bonds;
mod others;
mod tun;
mod tunnels;

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::Operator,
    packet::Ip,
    traffic::{EchoServer, Protocol, exchange},
};
use xtask::skip::{Need, skip};

/// How long a client waits for what must come, on an emulated machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client waits for what must not come.
const IMPATIENCE: Duration = Duration::from_millis(250);
/// A port that policies open, and one that they do not; both are served by either end.
const OPEN: u16 = 443;
const CLOSED: u16 = 444;

const TRANSPORTS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Servers of both ports, over both transports, at the addresses that end with `own`.
fn serve(namespace: &Namespace, own: u8, versions: &[Ip]) -> Result<Vec<EchoServer>> {
    let mut servers = Vec::new();
    for (ip, transport) in everything(versions) {
        for port in [OPEN, CLOSED] {
            let address = SocketAddr::new(ip.address(own), port);
            servers.push(EchoServer::start(namespace, transport, address)?);
        }
    }
    Ok(servers)
}

/// A policy that opens one port of an interface.
fn opened(name: &str) -> String {
    let port = OPEN.to_string();
    policy(&[interface(name, &[allow("web", "tcp", &port), allow("media", "udp", &port)])])
}

fn everything(versions: &[Ip]) -> impl Iterator<Item = (Ip, Protocol)> {
    versions.iter().flat_map(|ip| TRANSPORTS.map(|transport| (*ip, transport)))
}

/// Expects that the open port answers a neighbour, that the closed one does not and is counted as that, and that the
/// neighbour answers this host.
#[track_caller]
fn expect_judged(
    (lab, operator): (&Lab, &Operator),
    neighbour: &Namespace,
    interfaces: &[&str],
    versions: &[Ip],
) {
    let packets =
        |reason: &str| -> u64 { interfaces.iter().map(|name| operator.packets(name, reason)).sum() };
    for (ip, transport) in everything(versions) {
        let talk = |from: &Namespace, own, port, patience| {
            exchange(from, transport, SocketAddr::new(ip.address(own), port), patience)
                .expect("a socket can be had")
        };
        assert!(talk(neighbour, 1, OPEN, PATIENCE), "{ip:?} {transport:?}: the open port");
        let reason = match transport {
            Protocol::Tcp => "undocumented-tcp",
            Protocol::Udp => "undocumented-udp",
        };
        let before = packets(reason);
        assert!(!talk(neighbour, 1, CLOSED, IMPATIENCE), "{ip:?} {transport:?}: the closed port");
        assert!(packets(reason) > before, "{ip:?} {transport:?}: counted as {reason}");
        assert!(talk(lab.host(), 2, CLOSED, PATIENCE), "{ip:?} {transport:?}: a reply to this host");
    }
    assert_eq!(packets("non-ip"), 0);
}

/// Runs iproute2 with these words. Gives false, and says so, where the kernel has no such interfaces.
fn ip(namespace: &Namespace, line: &str) -> Result<bool> {
    match namespace.run("ip", &line.split(' ').collect::<Vec<_>>()) {
        Err(error) if error.to_string().contains("Unknown device type") => {
            skip(Need::Kernel, &format!("this kernel cannot `ip {line}`"));
            Ok(false)
        }
        other => other.map(|_| true),
    }
}
