//! The agent: follows its policy file however it is changed, refuses what is not valid, and is not
//! needed for what it has put in place. Real binary, real sockets, each test in a lab of its own.

mod boot;
mod control;
mod following;
mod interfaces;
mod rights;
mod service;
mod stopping;
mod streaming;

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    packet::Ip,
    running::Running,
    traffic::{EchoServer, Protocol, exchange},
};

/// How long a client waits for what must come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client waits for what must not come.
const IMPATIENCE: Duration = Duration::from_millis(250);

/// A protected host that serves two ports, and a neighbour.
struct Edge {
    // Servers end before the namespaces that they serve in.
    _servers: Vec<EchoServer>,
    neighbour: Namespace,
    operator: Operator,
    lab: Lab,
}

impl Edge {
    /// `None` without root.
    fn new() -> Result<Option<Self>> {
        let Some(lab) = lab() else { return Ok(None) };
        let neighbour = lab.neighbour("edge0", "far0")?;
        let serve = |port| EchoServer::start(lab.host(), Protocol::Tcp, server(port));
        let servers = [443, 8080].into_iter().map(serve).collect::<Result<_>>()?;
        let operator = Operator::new(&lab)?;
        Ok(Some(Self { _servers: servers, neighbour, operator, lab }))
    }

    /// Connects the host to a new neighbour, after its interface was made anew.
    fn reconnect(&self) -> Result<Namespace> {
        self.lab.connect("edge0", "far0")
    }

    /// Starts the agent on the lab's policy file and waits for its first generation.
    #[track_caller]
    fn agent(&self, text: &str, more: &[&str]) -> Running {
        let path = self.operator.policy(text).expect("the lab's folder can be written");
        self.agent_on(&path, more)
    }

    #[track_caller]
    fn agent_on(&self, path: &std::path::Path, more: &[&str]) -> Running {
        let path = path.to_str().expect("text");
        let mut agent = Running::start(self.operator.command(&[&["agent", "--policy", path], more].concat()));
        agent.event("applied");
        agent
    }

    /// Whether the neighbour reaches what should be open and not what should be closed.
    #[track_caller]
    fn assert_open(&self, open: u16, closed: u16) {
        let ask = |port, patience| {
            exchange(&self.neighbour, Protocol::Tcp, server(port), patience).expect("a socket can be had")
        };
        assert!(ask(open, PATIENCE), "port {open} should be open");
        assert!(!ask(closed, IMPATIENCE), "port {closed} should be closed");
    }
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::new(Ip::V4.address(1), port)
}

/// A policy that opens one of the two ports.
fn opening(port: u16) -> String {
    policy(&[interface("edge0", &[allow("open", "tcp", &port.to_string())])])
}

/// Writes a file beside its place and renames it there, as editors and package managers do.
fn replace(path: &std::path::Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)?;
    Ok(())
}

/// Something that a thread does again and again until this is dropped, however the test ends.
struct Noise {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Noise {
    fn start(make: impl Fn() + Send + 'static) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                make();
            }
        });
        Self { enough, thread: Some(thread) }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Noise that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

/// Points a link somewhere else, as configuration managers do.
fn point(link: &std::path::Path, target: &std::path::Path) -> Result<()> {
    let new = link.with_extension("link");
    std::os::unix::fs::symlink(target, &new)?;
    fs::rename(new, link)?;
    Ok(())
}
