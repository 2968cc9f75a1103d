//! Packets a second that a filter drops or accepts, over veth.
//!
//! A generator on the host's end of each pair sends frames as fast as it can (BPF_PROG_TEST_RUN with live
//! frames); the filter on the other end, in a namespace of its own, works on the same CPU, so that the
//! time holds both. The generator's part is the same for every filter: the ratio to the program that does
//! nothing is a lower bound of the truth. What is accepted goes on into the network stack, to a socket
//! that is full.

use std::{
    fs,
    net::UdpSocket,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use portcullis_tests::{
    assembly::{self, Generator},
    lab::{Lab, Namespace},
    packet::{Frame, Ip},
    raw,
};
use serde::Serialize;

use crate::{
    cases,
    peers::{Stack, XdpFilter},
    stage::Loaded,
};

/// Rounds of which the best counts.
const ROUNDS: u32 = 7;
/// How long one round may take with a slow filter.
const ROUND: Duration = Duration::from_millis(300);
/// Packets by which a filter's pace is found first.
const TRIAL: u32 = 4_096;
/// The share of the no-op's packets that must be dropped.
const BUDGET: f64 = 0.97;

/// How fast a flood is dropped or accepted.
#[derive(Serialize)]
pub(crate) struct Rate {
    pub(crate) program: &'static str,
    pub(crate) case: &'static str,
    pub(crate) rules: usize,
    pub(crate) packets_per_second: f64,
    pub(crate) of_noop: f64,
    pub(crate) budget: Option<f64>,
}

struct Flood {
    case: &'static str,
    packet: Vec<u8>,
    accepted: bool,
    /// Whether it reaches the chain INPUT: the receivers have no IPv6, which would speak by itself.
    reaches_input: bool,
}

/// Measures each filter on each flood, of at most `count` packets; `missing` peers are left out.
pub(crate) fn rates(lab: &Lab, count: u32, missing: &[&str]) -> Result<Vec<Rate>> {
    let flood = |case, frame: Frame, accepted| Flood {
        case,
        packet: frame.bytes(),
        accepted,
        reaches_input: frame.source.is_ipv4(),
    };
    let floods = [
        flood("drop: undocumented SYN", Frame::syn(Ip::V4, 444), false),
        flood("drop: undocumented UDP", Frame::udp(Ip::V4, 444), false),
        flood("drop: undocumented SYN over IPv6", Frame::syn(Ip::V6, 444), false),
        flood("accept: allowed UDP", Frame::udp(Ip::V4, 3478), true),
    ];
    let loaded = [Loaded::new(&cases::rules(1))?, Loaded::new(&cases::rules(10_000))?];
    let targets = targets(lab, &loaded, missing)?;
    let mut rates = Vec::new();
    for Flood { case, packet, accepted, reaches_input } in &floods {
        let takes_part = |target: &&Target| {
            target.only_for.is_none_or(|only| only == *accepted)
                && (*reaches_input || target.name != Stack::Iptables.name())
        };
        let taking_part: Vec<&Target> = targets.iter().filter(takes_part).collect();
        let mut best = vec![0_f64; taking_part.len()];
        for _ in 0..ROUNDS {
            for (target, best) in taking_part.iter().zip(&mut best) {
                *best = best.max(target.rate(packet, count)?);
            }
        }
        for (target, &packets_per_second) in taking_part.iter().zip(&best) {
            let of_noop = packets_per_second / best[0];
            let budget = (target.name == "portcullis" && !accepted).then_some(BUDGET);
            let (program, rules) = (target.name, target.rules);
            rates.push(Rate { program, case, rules, packets_per_second, of_noop, budget });
        }
    }
    Ok(rates)
}

/// Every filter; those that do nothing come first.
fn targets(lab: &Lab, loaded: &[Loaded], missing: &[&str]) -> Result<Vec<Target>> {
    let attach =
        |program: OwnedFd| move |interface: &str| raw::attach(&program, interface).context("cannot attach");
    let mut targets = vec![
        Target { only_for: Some(false), ..Target::new(lab, "noop", 0, attach(assembly::nothing()?))? },
        Target { only_for: Some(true), ..Target::new(lab, "noop-pass", 0, attach(assembly::everything()?))? },
    ];
    for loaded in loaded {
        targets.push(Target::new(lab, "portcullis", loaded.rules, attach(raw::program(loaded.id)?))?);
    }
    if !missing.contains(&"xdp-filter") {
        let filter = |interface: &str| Ok(XdpFilter::load(interface, cases::other_ports(10_000))?.program);
        targets.push(Target::new(lab, "xdp-filter", 10_000, filter)?);
    }
    let stacks =
        [(Stack::Nft, "nft", [1, 1_000, 10_000]), (Stack::Iptables, "iptables-restore", [1, 100, 1_000])];
    for (stack, command, counts) in stacks {
        for count in counts.into_iter().filter(|_| !missing.contains(&command)) {
            let pass = attach(assembly::everything()?);
            let target = Target::new(lab, stack.name(), count.into(), pass)?;
            let ports: Vec<u16> = cases::other_ports(count).collect();
            stack.set_up(&target.receiver, RECEIVER, &ports)?;
            targets.push(target);
        }
    }
    Ok(targets)
}

/// The receiving interface, in each target's own namespace.
const RECEIVER: &str = "edge0";

/// A generator on one end of a veth pair, and a filter on the other.
struct Target {
    name: &'static str,
    rules: usize,
    /// Whether it can only accept, or only drop.
    only_for: Option<bool>,
    receiver: Namespace,
    generator: Generator,
    _program: OwnedFd,
    _socket: UdpSocket,
}

impl Target {
    fn new(
        lab: &Lab,
        name: &'static str,
        rules: usize,
        attach: impl FnOnce(&str) -> Result<OwnedFd> + Send,
    ) -> Result<Self> {
        let sender = format!("{name}{rules}");
        let receiver = lab.silent_neighbour(&sender, RECEIVER)?;
        // Where the frames go to, so that the stack takes them for its own.
        receiver.run("ip", &["link", "set", RECEIVER, "address", "02:00:00:00:00:01"])?;
        receiver.run("ip", &["address", "add", "203.0.113.1/24", "dev", RECEIVER])?;
        let program = receiver.within(|| attach(RECEIVER))?;
        let socket = receiver.within(|| -> Result<UdpSocket> {
            let socket = UdpSocket::bind("203.0.113.1:3478")?;
            setsockopt(&socket, sockopt::RcvBuf, &1)?;
            Ok(socket)
        })?;
        let generator = Generator::new(&sender)?;
        Ok(Self { name, rules, only_for: None, receiver, generator, _program: program, _socket: socket })
    }

    /// Packets a second that arrived at the filter.
    fn rate(&self, packet: &[u8], count: u32) -> Result<f64> {
        let (arrived, took) = self.send(packet, count.min(TRIAL))?;
        let fits = f64::from(count.min(TRIAL)) * ROUND.as_secs_f64() / took.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
        let count = fits.clamp(1.0, count.into()) as u32;
        let (arrived, took) = if count > TRIAL { self.send(packet, count)? } else { (arrived, took) };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(arrived as f64 / took.as_secs_f64())
    }

    /// Sends frames; gives how many arrived, and how long it took.
    fn send(&self, packet: &[u8], count: u32) -> Result<(u64, Duration)> {
        let before = self.received()?;
        let start = Instant::now();
        self.generator.send(packet, count)?;
        let took = start.elapsed();
        let arrived = self.received()? - before;
        let Self { name, rules, .. } = self;
        ensure!(arrived <= u64::from(count), "{arrived} of {count} packets arrived at {name} {rules}");
        ensure!(
            arrived > u64::from(count) / 2,
            "only {arrived} of {count} packets arrived at {name} {rules}"
        );
        Ok((arrived, took))
    }

    /// Packets that arrived at the interface so far.
    fn received(&self) -> Result<u64> {
        // Of the thread's namespace; /proc/net would be that of the process's first thread.
        let table = self.receiver.within(|| fs::read_to_string("/proc/thread-self/net/dev"));
        let table = table.context("cannot read the interfaces")?;
        let counts = table.lines().find_map(|line| line.trim().strip_prefix(RECEIVER)?.strip_prefix(':'));
        let packets = counts.and_then(|counts| counts.split_whitespace().nth(1));
        Ok(packets.with_context(|| format!("no counts of {RECEIVER}"))?.parse()?)
    }
}
