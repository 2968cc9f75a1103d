//! Nanoseconds a packet above a program that does nothing, packets a second over veth, time and memory of
//! a change of policy; each beside its budget, and beside other filters where they are installed.
//!
//! Every figure of a packet is the smallest of several rounds in which all programs take turns, so that a
//! busy moment of the machine hits none of them alone. The thread's clock is read around the system call;
//! a run of a million packets makes its cost vanish.

mod against;
mod cases;
mod change;
mod earlier;
mod flood;
mod measure;
mod peers;
mod report;
mod stage;
mod svg;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

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
    /// Rounds of which the best counts; with `--against`, each loads both objects anew
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Runs of a program in each round; a million, or with `--against` 200,000
    #[arg(long)]
    repeat: Option<u32>,
    /// Packets of each flood over veth; 0 leaves the floods out
    #[arg(long, default_value_t = 3_000_000)]
    flood: u32,
    /// Leaves out how long changes of policy take
    #[arg(long)]
    no_changes: bool,
    /// Only measures how long changes of policy take
    #[arg(long, conflicts_with = "no_changes")]
    only_changes: bool,
    /// Compares with this kernel object of an earlier build, both in one run, and measures nothing else; exit code
    /// 3 where a dropped packet costs more than half a nanosecond more
    #[arg(long, value_name = "OBJECT", conflicts_with_all = ["svg", "no_changes", "only_changes"])]
    against: Option<PathBuf>,
    /// Only packets whose case contains this
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let lab = Lab::enter()?;
    if let Some(path) = &arguments.against {
        return against(path, &arguments);
    }
    let missing = peers::missing();
    let mut report = Report::default();
    if !arguments.only_changes {
        let mut stage = stage::Stage::set(!missing.contains(&"xdp-filter"))?;
        report.verified = stage.verified()?;
        stage.keep(&arguments.only);
        let best = measure::best(&stage.entries, arguments.rounds, arguments.repeat.unwrap_or(1_000_000))?;
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
        write(&path, &report)?;
    }
    if let Some(path) = arguments.svg {
        fs::write(&path, svg::draw(&report.rows))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares with an earlier object.
fn against(object: &Path, arguments: &Arguments) -> Result<ExitCode> {
    let object = earlier::Object::read(object)?;
    let repeat = arguments.repeat.unwrap_or(200_000);
    let comparison = against::compare(&object, arguments.rounds, repeat, &arguments.only)?;
    against::print(&comparison);
    let slower = comparison.slower() > 0;
    if let Some(path) = &arguments.json {
        write(path, &Report { against: Some(comparison), ..Report::default() })?;
    }
    Ok(if slower { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
}

/// The exit code of a comparison that found something.
const FOUND: u8 = 3;

fn write(path: &Path, report: &Report) -> Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
