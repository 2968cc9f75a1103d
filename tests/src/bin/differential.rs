//! Compares the kernel programs with the reference model for as long as asked.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use clap::Parser;
use portcullis_tests::{
    differential::{self, Plan},
    lab::Lab,
};

/// Compares the kernel programs with the reference model on random rules and packets.
#[derive(Parser)]
struct Arguments {
    /// Packets in all
    #[arg(long, default_value_t = 10_000_000)]
    packets: u64,
    /// Rule sets that share them
    #[arg(long, default_value_t = 1_000)]
    policies: u64,
    /// What all choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<ExitCode> {
    let Arguments { packets, policies, seed } = Arguments::parse();
    let _lab = Lab::enter()?;
    let begun = Instant::now();
    Ok(match differential::run(Plan { packets, policies, seed })? {
        Ok(statistics) => {
            println!("{statistics}");
            println!("no difference under {policies} rule sets, in {:.0} s", begun.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(difference) => {
            println!("{difference}");
            ExitCode::FAILURE
        }
    })
}
