//! The command line: one table of commands feeds parsing and help.
//!
//! A command turns its arguments into calls of the modules below and prints what they give; it
//! decides nothing itself. Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 done and something
//! was found.

mod agent;
mod apply;
mod boot;
mod catalog;
mod check;
mod confirm;
mod counters;
mod detach;
mod diff;
mod doctor;
mod duration;
mod enforce;
mod generate;
mod import;
mod output;
mod plan;
mod policy;
mod reload;
mod report;
mod rollback;
mod saying;
mod shadow;
mod status;
mod table;
mod usage;

use std::{
    io::{BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

pub(crate) use output::complaints;
pub(crate) use policy::{
    Reading, Source, last_good, read_text as read_policy_text, resolve as resolve_policy,
};
pub(crate) use table::counted;

use self::output::{BadInput, tell};
use crate::{
    generation::Roots,
    terminal::{self, Escaped, Stdout},
};

/// Enforces vendors' documented network ports in the kernel.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 done and something was found."
)]
struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Command,
}

/// Where things are kept; the defaults are right but for tests and network namespaces.
#[derive(Clone, Debug, Args)]
struct Places {
    /// Folder for the state that is lost at boot
    #[arg(
        long,
        global = true,
        help_heading = "Places",
        value_name = "DIR",
        env = "PORTCULLIS_STATE",
        default_value = "/run/portcullis",
        hide_env_values = true
    )]
    state: PathBuf,
    /// Folder for what must outlast a boot: the last known good policy
    #[arg(
        long,
        global = true,
        help_heading = "Places",
        value_name = "DIR",
        env = "PORTCULLIS_LASTING",
        default_value = "/var/lib/portcullis",
        hide_env_values = true
    )]
    lasting: PathBuf,
    /// Where the BPF file system is mounted
    #[arg(
        long,
        global = true,
        help_heading = "Places",
        value_name = "DIR",
        env = "PORTCULLIS_BPFFS",
        default_value = "/sys/fs/bpf",
        hide_env_values = true
    )]
    bpffs: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read vendors' documents and print the requirements in them
    Import(import::ImportArgs),
    /// Show the systems and roles that are known, and what each requires
    Catalog(catalog::CatalogArgs),
    /// Compare two documents or catalog files: which ports opened, closed or moved
    Diff(diff::DiffArgs),
    /// Check a policy: report what is wrong, and what you should know before you apply it
    Check(check::Check),
    /// Show what a policy would open, close and cut, against what is enforced now
    Plan(plan::Plan),
    /// Enforce a policy: compile, load and verify it, then swap it in atomically
    Apply(apply::Apply),
    /// Keep the policy that is tried, or enforce the one that is a shadow
    Confirm(confirm::Confirm),
    /// Tell what stands in the way of enforcement on this host, and mend it if asked
    Doctor(doctor::Doctor),
    /// Enforce the last known good policy, before the network is up
    Boot(boot::Boot),
    /// Have the running agent read its policy file again now, and say what came of it
    Reload(reload::Reload),
    /// Put back the policy that was enforced before the active one
    Rollback(rollback::Rollback),
    /// Show what a policy that is evaluated as a shadow would decide otherwise
    Shadow(shadow::Shadow),
    /// Show what is enforced on which interface
    Status(status::Status),
    /// Show what each documented row has accepted and what was dropped, and why
    Counters(counters::Counters),
    /// End enforcement and forget the counters
    Detach(detach::Detach),
    /// Enforce a policy and follow its file: reload on change, stream counters
    Agent(agent::Agent),
    /// Print completions for a shell
    Completions(generate::Completions),
    /// Write man pages
    Man(generate::Man),
}

/// Standard output of a command that prints once and ends.
type Output = Escaped<BufWriter<Stdout>>;

/// How a command ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Done.
    Done,
    /// It could not be done; it was already told why.
    Failed,
    /// Done, and something was found.
    Found,
    /// The input is not valid; it was already told why.
    BadInput,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { places, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::told(error),
    };
    let roots = Roots::new(places.state, places.lasting, places.bpffs);
    let to_program = command.prints_json();
    let result = match command {
        Command::Import(args) => read_and_print(|out| import::run(&args, out)),
        Command::Catalog(args) => read_and_print(|out| catalog::run(&args, out)),
        Command::Diff(args) => read_and_print(|out| diff::run(&args, out)),
        Command::Check(check) => check.run(),
        Command::Plan(plan) => plan.run(&roots),
        Command::Apply(apply) => apply.run(&roots),
        Command::Confirm(confirm) => confirm.run(&roots),
        Command::Doctor(doctor) => doctor.run(&roots),
        Command::Boot(boot) => boot.run(&roots),
        Command::Reload(reload) => reload.run(&roots),
        Command::Rollback(rollback) => rollback.run(&roots),
        Command::Shadow(shadow) => shadow.run(&roots),
        Command::Status(status) => status.run(&roots),
        Command::Counters(counters) => counters.run(&roots),
        Command::Detach(detach) => detach.run(&roots),
        Command::Agent(agent) => agent.run(&roots),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::BadInput) => ExitCode::from(2),
        Ok(Outcome::Found) => ExitCode::from(3),
        Err(error) => {
            tell(&complaints(&error), to_program);
            if error.is::<BadInput>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

impl Command {
    /// Whether its result is JSON, and so what is wrong is, too.
    fn prints_json(&self) -> bool {
        match self {
            Self::Import(args) => args.prints_json(),
            Self::Catalog(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Check(check) => check.json,
            Self::Plan(plan) => plan.json,
            Self::Apply(apply) => apply.saying.json,
            Self::Confirm(confirm) => confirm.saying.json,
            Self::Reload(reload) => reload.saying.json,
            Self::Rollback(rollback) => rollback.saying.json,
            Self::Detach(detach) => detach.saying.json,
            Self::Doctor(doctor) => doctor.json,
            Self::Shadow(shadow) => shadow.json,
            Self::Status(status) => status.json,
            Self::Counters(counters) => counters.json,
            Self::Boot(_) | Self::Agent(_) | Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

/// Runs a command that reads documents and prints once. What it cannot read is bad input, not a failure
/// of the command.
fn read_and_print(run: impl FnOnce(&mut Output) -> anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    let mut out = terminal::buffered();
    let outcome = run(&mut out).map_err(BadInput)?;
    // Dropping it would hide that the disk is full.
    out.flush()?;
    Ok(outcome)
}
