//! Compares the kernel programs with the reference model for as long as asked.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use clap::Parser;
use portcullis_tests::{
    differential::{self, Plan, Statistics},
    lab::Lab,
};

/// Policies after which is told how far it is.
const PROGRESS: u64 = 50;

/// Compares the kernel programs with the reference model on random rules and packets, while policies change.
#[derive(Parser)]
struct Arguments {
    /// Packets in all
    #[arg(long, default_value_t = 10_000_000)]
    packets: u64,
    /// Policies that share them
    #[arg(long, default_value_t = 1_000)]
    policies: u64,
    /// Changes of policy in the middle of each policy's packets
    #[arg(long, default_value_t = 4)]
    changes: u64,
    /// What all choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<ExitCode> {
    let Arguments { packets, policies, changes, seed } = Arguments::parse();
    let _lab = Lab::enter()?;
    let begun = Instant::now();
    let progress = |policy, tried: &Statistics| {
        if policy % PROGRESS == 0 && policy > 0 {
            eprintln!("{policy} policies, {} packets, {:.0} s", tried.arrived, begun.elapsed().as_secs_f64());
        }
    };
    Ok(match differential::run(Plan { packets, policies, changes, seed }, progress)? {
        Ok(statistics) => {
            println!("{statistics}");
            println!("no difference under {policies} policies, in {:.0} s", begun.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(difference) => {
            println!("{difference}");
            ExitCode::FAILURE
        }
    })
}
