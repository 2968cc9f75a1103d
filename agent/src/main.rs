//! The command `portcullis`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use portcullis::cli::{self, Outcome};

/// Enforces vendors' documented network ports in the kernel.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read documents and print what they require.
    Import(cli::import::ImportArgs),
    /// Show systems, roles, and what they require.
    Catalog(cli::catalog::CatalogArgs),
    /// Compare two documents or catalogs: which ports opened, closed or moved.
    Diff(cli::diff::DiffArgs),
}

fn main() -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let result = match Cli::parse().command {
        Command::Import(args) => cli::import::run(&args, &mut out),
        Command::Catalog(args) => cli::catalog::run(&args, &mut out),
        Command::Diff(args) => cli::diff::run(&args, &mut out),
    };
    let outcome = result.unwrap_or_else(|error| {
        eprintln!("portcullis: {error:#}");
        Outcome::BadInput
    });
    outcome.into()
}
