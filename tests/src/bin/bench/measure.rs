//! The clock.

use std::{fs, os::fd::OwnedFd, rc::Rc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::time::{ClockId, clock_gettime};
use portcullis_tests::raw;

/// What an entry stands for in the table.
#[derive(Clone)]
pub(crate) struct Label {
    /// What is measured.
    pub(crate) program: &'static str,
    /// Number of rules that it holds.
    pub(crate) rules: usize,
    /// What the packet is.
    pub(crate) case: String,
    /// Nanoseconds above the floor that it may cost.
    pub(crate) budget: Option<f64>,
}

/// One thing to measure: a program and the packet it sees.
pub(crate) struct Entry {
    /// What it is called.
    pub(crate) label: Label,
    /// The program.
    pub(crate) handle: Rc<OwnedFd>,
    /// The packet.
    pub(crate) packet: Vec<u8>,
    /// The action that the program must answer; `None` where it changes from run to run.
    pub(crate) action: Option<u32>,
    /// The number of the entry that it is compared with.
    pub(crate) floor: usize,
}

/// Nanoseconds of one run of each entry, the smallest of `rounds`.
pub(crate) fn best(entries: &[Entry], rounds: u32, repeat: u32) -> Result<Vec<f64>> {
    ensure_no_statistics()?;
    let mut best = vec![f64::INFINITY; entries.len()];
    for _ in 0..rounds {
        for (entry, best) in entries.iter().zip(&mut best) {
            let Label { program, rules, case, .. } = &entry.label;
            let (action, nanoseconds) = once(&entry.handle, &entry.packet, repeat)
                .with_context(|| format!("cannot run {program} on {case}"))?;
            ensure!(
                entry.action.is_none_or(|expected| expected == action),
                "{program} with {rules} rules answers {action} to {case}"
            );
            *best = best.min(nanoseconds);
        }
    }
    Ok(best)
}

/// Runs a program `repeat` times; gives its last answer, and the nanoseconds of one run.
pub(crate) fn once(program: &OwnedFd, packet: &[u8], repeat: u32) -> Result<(u32, f64)> {
    let before = spent()?;
    let (action, _) = raw::run(program, packet, repeat)?;
    Ok((action, (spent()? - before).as_secs_f64() * 1e9 / f64::from(repeat)))
}

/// Processor time of this thread: what others do meanwhile does not count.
fn spent() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("cannot read the thread's clock")?.into())
}

/// Refuses where the kernel measures every program's run itself, which would be most of the time.
pub(crate) fn ensure_no_statistics() -> Result<()> {
    let setting = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").unwrap_or_default();
    ensure!(
        matches!(setting.trim(), "" | "0"),
        "the kernel takes the time of every BPF program: switch it off with `sysctl kernel.bpf_stats_enabled=0`"
    );
    Ok(())
}

/// The middle and the largest of several durations, in milliseconds.
pub(crate) fn middle_and_largest(mut all: Vec<Duration>) -> (f64, f64) {
    all.sort_unstable();
    let milliseconds = |at: usize| all.get(at).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e3);
    (milliseconds(all.len() / 2), milliseconds(all.len().saturating_sub(1)))
}
