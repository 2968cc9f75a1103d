//! `cargo xtask fuzz`: makes up documents, catalogs and policies until a property breaks or time is up.
//!
//! What it found stays in the target folder and is where the next run begins. An input that broke something lies
//! in `tests/fuzz/artifacts`; moved to `tests/fuzz/regressions/TARGET`, `cargo xtask test` replays it for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::commands::setup;
use crate::journal::Journal;
use crate::workspace::Workspace;

const CARGO_FUZZ: &str = "cargo-fuzz";
const CARGO_FUZZ_VERSION: &str = "0.13.1";
/// Documents that tests read, which are seeds too.
const FIXTURES: &str = "agent/tests/fixtures";
/// Targets that read documents.
const READERS: [&str; 4] = ["text", "html", "delimited", "encoding"];
/// Longest input; what is slow for its length shows long before.
const LONGEST: &str = "-max_len=16384";
/// Seconds for one input on a busy machine (the properties bound its processor time), and megabytes for the process.
const PATIENCE: &str = "-timeout=300";
const MEMORY: &str = "-rss_limit_mb=2048";

/// Fuzzes the named targets, or all, each in turn for so many seconds.
pub(crate) fn run(workspace: &Workspace, named: &[String], seconds: u64) -> Result<()> {
    let mut journal = Journal::new("fuzz");
    let known = targets(workspace)?;
    if let Some(name) = named.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{name}`; there are {}", known.join(", "));
    }
    let wanted = if named.is_empty() { known } else { named.to_vec() };
    journal.step("setup", "finding or installing tools", "see the message above", || {
        setup::ensure(workspace, false)
    })?;
    let program = match installed(workspace) {
        Some(program) => program,
        None => install(workspace, &mut journal)?,
    };
    // Before any of them runs, so that a compiler's report is not taken for a finding.
    for name in &wanted {
        let mut build = cargo_fuzz(workspace, &program, "build");
        journal.run("build", build.arg(name), "the compiler's report stands above")?;
    }
    for name in wanted {
        let mut command = fuzzer(workspace, &program, &name)?;
        command.args(["--", &format!("-max_total_time={seconds}"), LONGEST, PATIENCE, MEMORY]);
        command.arg("-print_final_stats=1");
        command.arg(format!("-dict={}", folder(workspace).join("dictionary.txt").display()));
        println!("\ntarget {name}");
        journal.run(
            "fuzz",
            &mut command,
            "the message above says what broke and which input broke it: move the input to \
             tests/fuzz/regressions/TARGET, where `cargo test --package portcullis-fuzz` replays it, and mend the cause",
        )?;
    }
    journal.close();
    Ok(())
}

/// The command that runs a target on its corpus and its seeds.
fn fuzzer(workspace: &Workspace, program: &Path, name: &str) -> Result<Command> {
    let corpus = workspace.target_dir()?.join("fuzz/corpus").join(name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
    let mut command = cargo_fuzz(workspace, program, "run");
    command.args([name.as_ref(), corpus.as_os_str()]);
    let mut seeds =
        vec![folder(workspace).join("seeds").join(name), folder(workspace).join("regressions").join(name)];
    if READERS.contains(&name) {
        seeds.extend(folders(&workspace.root.join(FIXTURES))?);
    }
    command.args(seeds.into_iter().filter(|seeds| seeds.is_dir()));
    Ok(command)
}

/// `cargo fuzz build` or `run`, whose switches must agree for the second not to compile again.
fn cargo_fuzz(workspace: &Workspace, program: &Path, action: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&workspace.root).args([action, "--fuzz-dir"]).arg(folder(workspace));
    // Our own code is safe Rust, which the compiler of the workspace builds; no sanitizer is needed, and without
    // one the same inputs take half the time.
    command.args(["-O", "--features", "engine", "--sanitizer", "none", "--codegen-units", "16"]);
    // Cargo's own switches, which leave out the packages that the workspace leaves out; cargo-fuzz would set the
    // compiler's for all of them.
    command.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    command.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    // Names in the report of a panic, and a build in minutes.
    command.env("CARGO_PROFILE_RELEASE_STRIP", "none").env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only");
    command
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("tests/fuzz")
}

/// The targets, by the names of their sources.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let sources = folder(workspace).join("targets");
    let entries = fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))?;
    let mut names = vec![];
    for entry in entries {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent).with_context(|| format!("cannot read {}", parent.display()))?;
    let mut folders = vec![];
    for entry in entries {
        folders.extend(Some(entry?.path()).filter(|path| path.is_dir()));
    }
    folders.sort();
    Ok(folders)
}

/// cargo-fuzz, on `PATH` or where [`install`] puts it.
fn installed(workspace: &Workspace) -> Option<PathBuf> {
    let own = root(workspace).join("bin").join(CARGO_FUZZ);
    workspace.places.on_path(CARGO_FUZZ).or_else(|| Some(own).filter(|file| file.is_file()))
}

/// Compiles cargo-fuzz into the tool folder.
fn install(workspace: &Workspace, journal: &mut Journal) -> Result<PathBuf> {
    let root = root(workspace);
    let mut install = workspace.cargo(["install", CARGO_FUZZ, "--version", CARGO_FUZZ_VERSION, "--locked"]);
    install.arg("--quiet").arg("--root").arg(&root);
    journal.run("cargo-fuzz", &mut install, "the compiler's report stands above")?;
    Ok(root.join("bin").join(CARGO_FUZZ))
}

fn root(workspace: &Workspace) -> PathBuf {
    workspace.places.tools.join(format!("{CARGO_FUZZ}-{CARGO_FUZZ_VERSION}"))
}
