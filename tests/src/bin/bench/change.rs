//! How long a change of policy takes, and how much memory the kernel gives to a generation.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use portcullis::{
    compile,
    datapath::{Attachment, LoadOptions, Pins, Programs},
};
use portcullis_tests::{
    draft::{allow, interface, policy},
    judge,
    lab::Lab,
    operator::Operator,
};
use serde::Serialize;

use crate::{cases, measure::middle_and_largest, stage::Loaded};

/// How often a change is made.
const CHANGES: usize = 30;

/// How long something takes.
#[derive(Serialize)]
pub(crate) struct Change {
    pub(crate) what: &'static str,
    pub(crate) rules: usize,
    /// Milliseconds: half of all take less.
    pub(crate) p50_ms: f64,
    /// Milliseconds.
    pub(crate) max_ms: f64,
    /// Milliseconds that half of all may take.
    pub(crate) budget_ms: Option<f64>,
}

/// What the maps of a generation hold.
#[derive(Serialize)]
pub(crate) struct Memory {
    pub(crate) rules: usize,
    pub(crate) bytes: u64,
}

/// Measures changes of policy.
pub(crate) fn changes(lab: &Lab) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for count in [1, 10_000] {
        changes.push(swaps(lab, count)?);
    }
    for count in [1, 10_000] {
        changes.push(applies(lab, count)?);
    }
    Ok(changes)
}

/// Both programs of a loaded generation, in the place of those before them.
fn swaps(lab: &Lab, count: u16) -> Result<Change> {
    let name = format!("swap{count}");
    let _peer = lab.silent_neighbour(&name, "peer0")?;
    let pins = Pins::new(&Lab::bpffs(), &name);
    let attachment = Attachment::new(&name, pins.clone());
    attachment.prepare(false)?;
    let rules = cases::rules(count);
    let tables = compile::compile(&rules, &judge::slots(&rules))?.tables;
    let mut all = Vec::new();
    for n in 0..=CHANGES {
        let mut programs = Programs::load(&tables, &LoadOptions::default(), Some(&pins))?;
        let begun = Instant::now();
        attachment.attach(&mut programs)?;
        // The first one is no swap.
        if n > 0 {
            all.push(begun.elapsed());
        }
    }
    attachment.detach()?;
    Ok(change("swap of loaded programs", count, all, None))
}

/// The command, from its start to its end, when the policy is enforced.
fn applies(lab: &Lab, count: u16) -> Result<Change> {
    let _neighbour = lab.neighbour("edge0", "far0")?;
    let operator = Operator::new(lab)?;
    let policies = [443, 444].map(|port: u16| {
        let ports = [port].into_iter().chain(cases::other_ports(count));
        let allows: Vec<String> =
            ports.map(|port| allow(&format!("port-{port}"), "tcp", &port.to_string())).collect();
        policy(&[interface("edge0", &allows)])
    });
    let mut all = Vec::new();
    for n in 0..=CHANGES {
        let path = operator.policy(&policies[n % 2])?;
        let path = path.to_str().context("the lab's paths are text")?;
        let begun = Instant::now();
        let ran = operator.run(&["apply", path]).exits(0);
        if n > 0 {
            all.push(begun.elapsed());
            drop(ran.prints("swapped in"));
        }
    }
    drop(operator.run(&["detach", "--all"]).exits(0));
    lab.host().run("ip", &["link", "delete", "edge0"])?;
    Ok(change("portcullis apply, start to end", count, all, Some(50.0)))
}

fn change(what: &'static str, rules: u16, all: Vec<Duration>, budget_ms: Option<f64>) -> Change {
    let (p50_ms, max_ms) = middle_and_largest(all);
    Change { what, rules: rules.into(), p50_ms, max_ms, budget_ms }
}

/// Measures the maps of a generation alone: flows and counters included, which generations share.
pub(crate) fn memory(count: u16) -> Result<Memory> {
    let before = maps()?;
    let loaded = Loaded::new(&cases::rules(count))?;
    let after = maps()?;
    let bytes = after.difference(&before).map(|(_, bytes)| bytes).sum();
    Ok(Memory { rules: loaded.rules, bytes })
}

/// The maps that this process has open, by their kernel identifiers, with their memory in bytes
/// (`bpf_map_show_fdinfo` in kernel/bpf/syscall.c).
fn maps() -> Result<BTreeSet<(u64, u64)>> {
    let mut maps = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo").context("cannot list the open files")? {
        // The descriptor of the listing itself is gone by now.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(bytes)) = (field("map_id"), field("memlock")) {
            maps.insert((id, bytes));
        }
    }
    Ok(maps)
}
