//! Packets a second that a program drops, over veth.
//!
//! A generator in the neighbour's namespace sends frames as fast as it can (BPF_PROG_TEST_RUN with
//! live frames); the receiving end drops them on the same CPU, so that the time holds both. The
//! generator's part is the same for every program: the ratio to the program that does nothing is a
//! lower bound of the truth.

use std::{fs, os::fd::OwnedFd, time::Instant};

use anyhow::{Context as _, Result, ensure};
use portcullis_tests::{
    assembly::{self, Generator},
    lab::{Lab, Namespace},
    packet::{Frame, Ip},
    raw,
};
use serde::Serialize;

use crate::cases::{self, Loaded};

/// Rounds of which the best counts.
const ROUNDS: u32 = 7;

/// How fast a flood is dropped.
#[derive(Serialize)]
pub(crate) struct Rate {
    pub(crate) program: &'static str,
    pub(crate) case: &'static str,
    pub(crate) rules: usize,
    pub(crate) packets_per_second: f64,
    pub(crate) of_noop: f64,
}

/// Measures each program on each flood.
pub(crate) fn rates(lab: &Lab, count: u32) -> Result<Vec<Rate>> {
    let floods = [
        ("undocumented SYN", Frame::syn(Ip::V4, 444).bytes()),
        ("undocumented UDP", Frame::udp(Ip::V4, 444).bytes()),
        ("undocumented SYN over IPv6", Frame::syn(Ip::V6, 444).bytes()),
    ];
    let mut targets = vec![Target::new(lab, "noop", 0, &assembly::nothing()?)?];
    let loaded = [Loaded::new(&cases::rules(1))?, Loaded::new(&cases::rules(10_000))?];
    for loaded in &loaded {
        targets.push(Target::new(lab, "portcullis", loaded.rules, &raw::program(loaded.id)?)?);
    }
    let mut rates = Vec::new();
    for (case, packet) in &floods {
        let mut best = vec![0_f64; targets.len()];
        for _ in 0..ROUNDS {
            for (target, best) in targets.iter().zip(&mut best) {
                *best = best.max(target.rate(packet, count)?);
            }
        }
        for (target, &packets_per_second) in targets.iter().zip(&best) {
            let of_noop = packets_per_second / best[0];
            rates.push(Rate { program: target.name, case, rules: target.rules, packets_per_second, of_noop });
        }
    }
    Ok(rates)
}

/// A program on one end of a veth pair, and a generator on the other.
struct Target {
    name: &'static str,
    rules: usize,
    interface: String,
    peer: Namespace,
    generator: Generator,
    _link: OwnedFd,
}

impl Target {
    fn new(lab: &Lab, name: &'static str, rules: usize, program: &OwnedFd) -> Result<Self> {
        let interface = format!("{name}{rules}");
        let peer = lab.silent_neighbour(&interface, "peer0")?;
        let link = raw::attach(program, &interface).context("cannot attach")?;
        let generator = peer.within(|| Generator::new("peer0"))?;
        Ok(Self { name, rules, interface, peer, generator, _link: link })
    }

    /// Packets a second that arrived at the program.
    fn rate(&self, packet: &[u8], count: u32) -> Result<f64> {
        let before = self.received()?;
        let start = Instant::now();
        self.peer.within(|| self.generator.send(packet, count))?;
        let seconds = start.elapsed().as_secs_f64();
        let arrived = self.received()? - before;
        ensure!(arrived <= u64::from(count), "{arrived} of {count} packets arrived");
        ensure!(arrived > u64::from(count) / 2, "only {arrived} of {count} packets arrived");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(arrived as f64 / seconds)
    }

    /// Packets that arrived at the interface so far.
    fn received(&self) -> Result<u64> {
        // Of this thread's namespace; /proc/net would be that of the process's first thread.
        let table = fs::read_to_string("/proc/thread-self/net/dev").context("cannot read the interfaces")?;
        let counts =
            table.lines().find_map(|line| line.trim().strip_prefix(&self.interface)?.strip_prefix(':'));
        let packets = counts.and_then(|counts| counts.split_whitespace().nth(1));
        Ok(packets.with_context(|| format!("no counts of {}", self.interface))?.parse()?)
    }
}
