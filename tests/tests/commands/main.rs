//! What the commands do to a host, and what they say about it: the real binary, real interfaces, real
//! packets, each test in a lab of its own.

mod adoption;
mod apply;
mod automation;
mod containers;
mod doctor;
mod escaping;
mod groups;
mod guard;
mod openings;
mod past;
mod plan;
mod recovery;
mod refusals;
mod rollback;
mod seeing;
mod shadow;
mod trial;
mod untrusted;

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, Ran, enforced, left_behind},
    packet::Ip,
    traffic::{EchoServer, Protocol, exchange},
};

/// How long a client waits for what must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client waits for what must not come.
const IMPATIENCE: Duration = Duration::from_millis(250);

/// A policy for `edge0` that lets in web requests.
fn web() -> String {
    policy(&[interface("edge0", &[allow("web", "tcp", "443")])])
}

/// A protected host with one interface, `edge0`, that serves the web, and a neighbour.
struct Edge {
    // Servers end before the namespaces that they serve in.
    _servers: Vec<EchoServer>,
    neighbour: Namespace,
    operator: Operator,
    lab: Lab,
}

impl Edge {
    fn new(lab: Lab) -> Result<Self> {
        let neighbour = lab.neighbour("edge0", "far0")?;
        let serve =
            |ip: Ip| EchoServer::start(lab.host(), Protocol::Tcp, SocketAddr::new(ip.address(1), 443));
        let servers = Ip::BOTH.into_iter().map(serve).collect::<Result<_>>()?;
        let operator = Operator::new(&lab)?;
        Ok(Self { _servers: servers, neighbour, operator, lab })
    }

    /// Whether the neighbour reaches the web server.
    fn answers(&self, patience: Duration) -> Result<bool> {
        let mut all = true;
        for ip in Ip::BOTH {
            let server = SocketAddr::new(ip.address(1), 443);
            all &= exchange(&self.neighbour, Protocol::Tcp, server, patience)?;
        }
        Ok(all)
    }
}

/// `apply` that must work.
#[track_caller]
fn applied(operator: &Operator, text: &str) -> Ran {
    operator.apply(text).exits(0).prints("done in")
}
