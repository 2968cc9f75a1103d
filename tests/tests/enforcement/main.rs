//! What real clients and servers meet behind a policy, over IPv4 and IPv6, each test in a lab of its
//! own. The sentences are those of docs/policy.md.

mod answers;
mod associations;
mod beginners;
mod generic;
mod outbound;
mod reload;
mod replies;
mod verdicts;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use portcullis_tests::{
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    packet::Ip,
    traffic::{EchoServer, Protocol, exchange},
};

/// How long a client waits for what must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client waits for what must not come.
const IMPATIENCE: Duration = Duration::from_millis(200);

const TRANSPORTS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// A protected host with the interface `edge0`, and its neighbour.
struct Edge {
    servers: Vec<EchoServer>,
    neighbour: Namespace,
    operator: Operator,
    lab: Lab,
}

impl Edge {
    /// `None` without root.
    fn new() -> Result<Option<Self>> {
        let Some(lab) = lab() else { return Ok(None) };
        let neighbour = lab.neighbour("edge0", "far0")?;
        let operator = Operator::new(&lab)?;
        Ok(Some(Self { servers: Vec::new(), neighbour, operator, lab }))
    }

    /// Serves a port on the protected host, over both transports and on both addresses.
    fn serve(&mut self, port: u16) -> Result<()> {
        for ip in Ip::BOTH {
            self.serve_at(SocketAddr::new(ip.address(1), port))?;
        }
        Ok(())
    }

    fn serve_at(&mut self, address: SocketAddr) -> Result<()> {
        for transport in TRANSPORTS {
            self.servers.push(EchoServer::start(self.lab.host(), transport, address)?);
        }
        Ok(())
    }

    /// Expects an answer of the protected host to its neighbour.
    #[track_caller]
    fn answers(&self, transport: Protocol, address: SocketAddr) {
        let answered = exchange(&self.neighbour, transport, address, PATIENCE).expect("a socket can be had");
        assert!(answered, "{transport:?} {address} should answer");
    }

    /// Expects that the neighbour hears nothing, and that it is counted under `reason`.
    #[track_caller]
    fn drops(&self, transport: Protocol, address: SocketAddr, reason: &str) {
        let before = self.operator.packets("edge0", reason);
        let answered =
            exchange(&self.neighbour, transport, address, IMPATIENCE).expect("a socket can be had");
        assert!(!answered, "{transport:?} {address} should not answer");
        let after = self.operator.packets("edge0", reason);
        assert!(after > before, "{transport:?} {address} should be counted under {reason}");
    }
}

/// The reason under which a transport is dropped where no rule opens its port.
fn undocumented(transport: Protocol) -> &'static str {
    match transport {
        Protocol::Tcp => "undocumented-tcp",
        Protocol::Udp => "undocumented-udp",
    }
}

/// The protected host's addresses.
fn hosts() -> [IpAddr; 2] {
    Ip::BOTH.map(|ip| ip.address(1))
}
