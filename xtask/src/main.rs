//! `cargo xtask`: what people and CI run.
//!
//! Parses the command line, runs one command, turns its result into an exit code.

mod apt;
mod commands;
mod journal;
mod privilege;
mod promises;
mod readme;
mod skipped;
mod tools;
mod vm;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::commands::{build, check, debian, fuzz, launch, package, setup, soak, test};
use crate::workspace::Workspace;

/// Sets up, builds, checks, tests and demonstrates Portcullis.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Exit codes: 0 done, 1 failed, 2 bad usage, 3 something is missing (setup --check) or \
                  slower (bench --against)."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what building and testing needs, and say why.
    Setup {
        /// Only report; exit code 3 where something is missing.
        #[arg(long)]
        check: bool,
        /// Also what `cargo xtask bench` compares against (xdp-tools, nftables, iptables).
        #[arg(long)]
        bench: bool,
    },
    /// Build the command `portcullis` with its kernel programs.
    Build {
        /// Optimised, as it is shipped.
        #[arg(long)]
        release: bool,
    },
    /// Check format, lints, documentation, licences and the README; run nothing as root.
    Check,
    /// List what the documents promise with the tests that hold it; exit code 1 where none does.
    Promises,
    /// Set up, check and run every test; the kernel tests run as root.
    Test {
        /// Leave out the kernel tests, which need root.
        #[arg(long)]
        without_kernel: bool,
    },
    /// Run the tests of endurance for long: a thousand reloads under a flood, hundreds of kills; as root.
    Soak,
    /// Set up, build, and run kernel tests on an older kernel in a virtual machine, without root.
    Vm {
        /// Debian package of the kernel; otherwise that of Debian's cloud images.
        #[arg(long, value_name = "PACKAGE")]
        kernel: Option<String>,
        /// Test programs of the tests crate, each with what it is asked for (`"links bonds::"`); otherwise those of
        /// `cargo xtask test`.
        tests: Vec<String>,
    },
    /// Set up, and make up documents, catalogs and policies until one breaks a property.
    Fuzz {
        /// The targets, one after the other; all of them if none is named (tests/fuzz/targets).
        #[arg(value_name = "TARGET")]
        targets: Vec<String>,
        /// Time for each target.
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
    },
    /// Set up, build, and show the product at work in network namespaces, as root.
    Demo {
        /// Arguments for the demonstration.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Set up, build, and compare the kernel programs with the reference model on random rules and
    /// packets while policies change, as root; exit code 1 with the smallest example found where they differ.
    Differential {
        /// Packets in all.
        #[arg(long, default_value_t = 10_000_000)]
        packets: u64,
        /// Policies that share them.
        #[arg(long, default_value_t = 1_000)]
        policies: u64,
        /// Changes in the middle of each policy's packets.
        #[arg(long, default_value_t = 4)]
        changes: u64,
        /// What all choices follow from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Set up, build a static binary, and pack it for Debian with manual, completions and units.
    Package,
    /// Set up, build, and measure the cost per packet against no-op and peers, as root.
    Bench {
        /// Only compare with this kernel object of an earlier build, in one run; exit code 3 where a dropped
        /// packet costs more than half a nanosecond more.
        #[arg(long, value_name = "OBJECT", conflicts_with = "svg")]
        against: Option<PathBuf>,
        /// Also write the figures to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Also draw the cost of each packet into this file.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// More arguments for the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let CommandLine { command } = CommandLine::parse();
    run(command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::Setup { check: true, bench } => return setup::report(&workspace, bench),
        Command::Setup { check: false, bench } => {
            setup::ensure(&workspace, bench)?;
            debian::ensure(&workspace)?;
        }
        Command::Build { release } => build::run(&workspace, release)?,
        Command::Check => check::run(&workspace)?,
        Command::Promises => promises::print(&workspace)?,
        Command::Test { without_kernel } => test::run(&workspace, without_kernel)?,
        Command::Soak => soak::run(&workspace)?,
        Command::Vm { kernel, tests } => commands::vm::run(&workspace, kernel.as_deref(), &tests)?,
        Command::Fuzz { targets, seconds } => fuzz::run(&workspace, &targets, seconds)?,
        Command::Package => package::run(&workspace)?,
        Command::Demo { arguments } => launch::demo(&workspace, &arguments)?,
        Command::Differential { packets, policies, changes, seed } => {
            let values =
                [("--packets", packets), ("--policies", policies), ("--changes", changes), ("--seed", seed)];
            launch::differential(&workspace, &values)?;
        }
        Command::Bench { against, json, svg, arguments } => {
            let files = launch::BenchFiles {
                against: against.as_deref(),
                json: json.as_deref(),
                svg: svg.as_deref(),
            };
            return launch::bench(&workspace, &files, &arguments);
        }
    }
    Ok(ExitCode::SUCCESS)
}
