//! The clock.

use std::{os::fd::OwnedFd, rc::Rc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use portcullis_tests::raw;

/// One thing to measure: a program and the packet it sees.
pub(crate) struct Entry {
    /// What is measured.
    pub(crate) program: &'static str,
    /// Number of rules that it holds.
    pub(crate) rules: usize,
    /// What the packet is.
    pub(crate) case: String,
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
    let mut best = vec![f64::INFINITY; entries.len()];
    for _ in 0..rounds {
        for (entry, best) in entries.iter().zip(&mut best) {
            let start = Instant::now();
            let (action, _) = raw::run(&entry.handle, &entry.packet, repeat)
                .with_context(|| format!("cannot run {} on {}", entry.program, entry.case))?;
            let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / f64::from(repeat);
            ensure!(
                entry.action.is_none_or(|expected| expected == action),
                "{} with {} rules answers {action} to {}",
                entry.program,
                entry.rules,
                entry.case
            );
            *best = best.min(nanoseconds);
        }
    }
    Ok(best)
}
