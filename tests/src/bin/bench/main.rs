//! Nanoseconds a packet, above a program that does nothing, and packets a second over veth.
//!
//! Every figure is the smallest of several rounds in which all programs take turns, so that a busy
//! moment of the machine hits none of them alone. The clock is read around the system call; a run of a
//! million packets makes its cost vanish.

mod cases;
mod flood;
mod measure;
mod peers;
mod report;

use std::{fs::File, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use portcullis_tests::lab::Lab;

/// Measures what a packet costs.
#[derive(Parser)]
struct Arguments {
    /// Writes the figures as JSON, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds of which the best counts
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Runs of a program in each round
    #[arg(long, default_value_t = 1_000_000)]
    repeat: u32,
    /// Packets of each flood over veth; 0 leaves the floods out
    #[arg(long, default_value_t = 3_000_000)]
    flood: u32,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let lab = Lab::enter()?;
    let mut rows = Vec::new();
    {
        let mut stage = cases::Stage::set()?;
        stage.keep(&arguments.only);
        let best = measure::best(&stage.entries, arguments.rounds, arguments.repeat)?;
        rows.extend(report::rows(&stage.entries, &best));
    }
    report::print_nanoseconds(&rows);
    for reason in peers::missing() {
        println!("not compared: {reason}");
    }
    let floods = if arguments.flood == 0 { Vec::new() } else { flood::rates(&lab, arguments.flood)? };
    report::print_floods(&floods);
    if let Some(path) = arguments.json {
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        serde_json::to_writer_pretty(file, &report::Report { rows: &rows, floods: &floods })?;
    }
    Ok(())
}
