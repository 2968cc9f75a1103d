//! Nanoseconds a packet above a program that does nothing, packets a second over veth, time and memory of
//! a change of policy; each beside its budget, and beside other filters where they are installed.
//!
//! Every figure of a packet is the smallest of several rounds in which all programs take turns, so that a
//! busy moment of the machine hits none of them alone. The thread's clock is read around the system call;
//! a run of a million packets makes its cost vanish.

mod cases;
mod change;
mod flood;
mod measure;
mod peers;
mod report;
mod stage;
mod svg;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use portcullis_tests::lab::Lab;

use crate::report::Report;

/// Measures what a packet costs.
#[derive(Parser)]
struct Arguments {
    /// Writes the figures as JSON, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws the nanoseconds as a picture, too
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Rounds of which the best counts
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Runs of a program in each round
    #[arg(long, default_value_t = 1_000_000)]
    repeat: u32,
    /// Packets of each flood over veth; 0 leaves the floods out
    #[arg(long, default_value_t = 3_000_000)]
    flood: u32,
    /// Leaves out how long changes of policy take
    #[arg(long)]
    no_changes: bool,
    /// Only measures how long changes of policy take
    #[arg(long, conflicts_with = "no_changes")]
    only_changes: bool,
    /// Only packets whose case contains this
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let lab = Lab::enter()?;
    let missing = peers::missing();
    let mut report = Report::default();
    if !arguments.only_changes {
        let mut stage = stage::Stage::set(!missing.contains(&"xdp-filter"))?;
        report.verified = stage.verified()?;
        stage.keep(&arguments.only);
        let best = measure::best(&stage.entries, arguments.rounds, arguments.repeat)?;
        report.rows = report::rows(&stage.entries, &best);
        report.missing = stage.left_out;
    }
    report.missing.extend(missing.iter().map(|name| format!("{name}: not installed")));
    if !arguments.only_changes {
        report::print_rows(&report);
    }
    if arguments.flood > 0 && !arguments.only_changes {
        report.floods = flood::rates(&lab, arguments.flood, &missing)?;
        report::print_floods(&report.floods);
    }
    if !arguments.no_changes {
        report.changes = change::changes(&lab)?;
        report.memory = [1, 10_000].into_iter().map(change::memory).collect::<Result<_>>()?;
        report::print_changes(&report);
    }
    if let Some(path) = arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = arguments.svg {
        fs::write(&path, svg::draw(&report.rows))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
