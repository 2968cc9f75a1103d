//! How long a change of policy takes, and how much memory the kernel gives to a generation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use portcullis::{
    compile,
    datapath::{LoadOptions, Programs},
};
use portcullis_tests::{
    draft::{allow, interface, policy},
    judge,
    lab::Lab,
    operator::{Operator, attachment},
};
use serde::Serialize;

use crate::{cases, measure::middle_and_largest, stage::Loaded};

/// How often a change is made.
const CHANGES: usize = 20;

/// How long something takes.
#[derive(Serialize)]
pub(crate) struct Change {
    pub(crate) what: &'static str,
    pub(crate) rules: usize,
    /// Milliseconds.
    pub(crate) min_ms: f64,
    /// Milliseconds: half of all take less.
    pub(crate) p50_ms: f64,
    /// Milliseconds.
    pub(crate) max_ms: f64,
    /// Milliseconds that half of all may take.
    pub(crate) budget_ms: Option<f64>,
    /// What the command itself says of its parts: half of all take fewer milliseconds. Empty for what has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) phases: Vec<(String, f64)>,
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
    // As many as the largest documented role, and many more.
    for count in [34, 10_000] {
        changes.push(applies(lab, count)?);
    }
    Ok(changes)
}

/// Both programs of a loaded generation, in the place of those before them.
fn swaps(lab: &Lab, count: u16) -> Result<Change> {
    let name = format!("swap{count}");
    let _peer = lab.silent_neighbour(&name, "peer0")?;
    let attachment = attachment(&name, Lab::bpffs());
    attachment.prepare(false)?;
    let rules = cases::rules(count);
    let tables = compile::compile(&rules, &judge::slots(&rules))?.tables;
    let mut all = Vec::new();
    for n in 0..=CHANGES {
        let programs = Programs::load(&tables, &LoadOptions::default(), Some(attachment.pins()))?;
        let begun = Instant::now();
        attachment.attach(&programs)?;
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
    let (mut all, mut parts) = (Vec::new(), BTreeMap::new());
    let mut order = Vec::new();
    for n in 0..=CHANGES {
        let path = operator.policy(&policies[n % 2])?;
        let path = path.to_str().context("the lab's paths are text")?;
        let begun = Instant::now();
        let ran = operator.run(&["apply", path]).exits(0);
        if n > 0 {
            all.push(begun.elapsed());
            let ran = ran.prints("swapped in");
            for (phase, time) in phases(&ran.stdout)? {
                if !order.contains(&phase) {
                    order.push(phase.clone());
                }
                parts.entry(phase).or_insert_with(Vec::new).push(time);
            }
        }
    }
    let phases = order.into_iter().map(|phase| {
        let times = parts.remove(&phase).unwrap_or_default();
        (phase, middle_and_largest(times).0)
    });
    let phases = phases.collect();
    drop(operator.run(&["detach", "--all"]).exits(0));
    lab.host().run("ip", &["link", "delete", "edge0"])?;
    Ok(Change { phases, ..change("portcullis apply, start to end", count, all, Some(50.0)) })
}

/// The parts of the time that `apply` says it took: `done in 61 ms: 9 reading, 10 compiling, …`.
fn phases(printed: &str) -> Result<Vec<(String, Duration)>> {
    let line = printed.lines().find(|line| line.starts_with("done in ")).context("apply tells its time")?;
    let (_, parts) = line.split_once(": ").context("apply tells the parts of its time")?;
    let part = |part: &str| {
        let (milliseconds, what) = part.split_once(' ').context("a number and a word")?;
        Ok((what.to_owned(), Duration::from_millis(milliseconds.parse()?)))
    };
    parts.split(", ").map(part).collect()
}

fn change(what: &'static str, rules: u16, all: Vec<Duration>, budget_ms: Option<f64>) -> Change {
    let min_ms = all.iter().min().map_or(f64::NAN, |least| least.as_secs_f64() * 1e3);
    let (p50_ms, max_ms) = middle_and_largest(all);
    Change { what, rules: rules.into(), min_ms, p50_ms, max_ms, budget_ms, phases: Vec::new() }
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
