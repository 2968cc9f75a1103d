//! A protected host that serves two ports, and its neighbour: what most stories begin with.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;

use crate::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    packet::Ip,
    running::{PATIENCE, Running},
    traffic::{EchoServer, Protocol, exchange},
};

/// The two ports, over TCP.
pub const PORTS: [u16; 2] = [443, 8080];
/// How long a client waits for what must not come.
pub const IMPATIENCE: Duration = Duration::from_millis(250);

/// A protected host with the interface `edge0` that serves 443 and 8080, and its neighbour behind `far0`.
pub struct Edge {
    // Servers end before the namespaces that they serve in.
    _servers: Vec<EchoServer>,
    /// The neighbour.
    pub neighbour: Namespace,
    /// Whoever works on the host.
    pub operator: Operator,
    /// Where both are.
    pub lab: Lab,
}

impl Edge {
    /// `None` without root.
    ///
    /// # Errors
    ///
    /// Where the lab cannot be set up.
    pub fn new() -> Result<Option<Self>> {
        let Some(lab) = lab() else { return Ok(None) };
        let neighbour = lab.neighbour("edge0", "far0")?;
        let serve = |port| EchoServer::start(lab.host(), Protocol::Tcp, server(port));
        let servers = PORTS.into_iter().map(serve).collect::<Result<_>>()?;
        let operator = Operator::new(&lab)?;
        Ok(Some(Self { _servers: servers, neighbour, operator, lab }))
    }

    /// Connects the host to a new neighbour, after its interface was made anew.
    ///
    /// # Errors
    ///
    /// Where iproute2 refuses.
    pub fn reconnect(&self) -> Result<Namespace> {
        self.lab.connect("edge0", "far0")
    }

    /// Starts the agent on the lab's policy file and waits for its first generation.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    #[track_caller]
    pub fn agent(&self, text: &str, more: &[&str]) -> Running {
        let path = self.operator.policy(text).expect("the lab's folder can be written");
        self.agent_on(&path, more)
    }

    /// As [`Self::agent`], on another file.
    ///
    /// # Panics
    ///
    /// As there.
    #[must_use]
    #[track_caller]
    pub fn agent_on(&self, path: &Path, more: &[&str]) -> Running {
        let path = path.to_str().expect("text");
        let mut agent = Running::start(self.operator.command(&[&["agent", "--policy", path], more].concat()));
        agent.event("applied");
        agent
    }

    /// Whether a port answers the neighbour.
    ///
    /// # Panics
    ///
    /// Where the neighbour cannot have a socket.
    #[must_use]
    #[track_caller]
    pub fn answers(&self, port: u16, patience: Duration) -> bool {
        exchange(&self.neighbour, Protocol::Tcp, server(port), patience).expect("a socket can be had")
    }

    /// Expects that the neighbour reaches what should be open and not what should be closed.
    ///
    /// # Panics
    ///
    /// Where that is otherwise.
    #[track_caller]
    pub fn assert_open(&self, open: u16, closed: u16) {
        assert!(self.answers(open, PATIENCE), "port {open} should be open");
        assert!(!self.answers(closed, IMPATIENCE), "port {closed} should be closed");
    }
}

/// Where the host serves a port.
#[must_use]
pub fn server(port: u16) -> SocketAddr {
    SocketAddr::new(Ip::V4.address(1), port)
}

/// A policy that opens one of the two ports.
#[must_use]
pub fn opening(port: u16) -> String {
    policy(&[interface("edge0", &[allow("open", "tcp", &port.to_string())])])
}

/// Writes a file beside its place and renames it there, as editors and package managers do.
///
/// # Errors
///
/// Where that is not possible.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)?;
    Ok(())
}
