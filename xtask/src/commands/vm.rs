//! `cargo xtask vm`: the kernel tests on an older kernel, in a virtual machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

use xtask::skip::{Need, Skipped};

use crate::commands::{build, setup};
use crate::journal::{Journal, shown};
use crate::vm::{self, Guest, Image, Packages, Unavailable};
use crate::workspace::Workspace;

/// Tests that run there, each with what its program is asked for: what the verifier says, every kind of packet, the
/// whole life of an enforcement with real interfaces, and interfaces that not every kernel has.
const TESTS: [&str; 7] =
    ["verifier", "verdicts", "flows", "fragments", "outbound", "lifecycle", "links bonds:: tunnels::"];

/// Sets up, builds, and runs the tests there.
pub(crate) fn run(workspace: &Workspace, kernel: Option<&str>, tests: &[String]) -> Result<()> {
    let mut journal = Journal::new("vm");
    journal.step("setup", "finding or installing tools", "see the message above", || {
        setup::ensure(workspace, false)
    })?;
    let tests: Vec<&str> =
        if tests.is_empty() { TESTS.to_vec() } else { tests.iter().map(String::as_str).collect() };
    if let Err(Unavailable(why)) = steps(workspace, &mut journal, kernel, &tests)? {
        bail!("{why}");
    }
    journal.close();
    Ok(())
}

/// The same as a step of `cargo xtask test`, skipped where it cannot be had.
pub(crate) fn step(workspace: &Workspace, journal: &mut Journal) -> Result<()> {
    if let Err(Unavailable(why)) = steps(workspace, journal, None, &TESTS)? {
        journal.skip("older kernel", why);
    }
    Ok(())
}

fn steps(
    workspace: &Workspace,
    journal: &mut Journal,
    kernel: Option<&str>,
    tests: &[&str],
) -> Result<Result<(), Unavailable>> {
    let packages = match Packages::get(&workspace.places, kernel)? {
        Ok(packages) => packages,
        Err(unavailable) => return Ok(Err(unavailable)),
    };
    let programs = journal.step("programs for the guest", "cargo", build::ADVICE, || {
        // As the operator of the tests builds it: with the features of both packages.
        let both = ["build", "--locked", "--package", "portcullis", "--package", "portcullis-tests"];
        let mut command = workspace.cargo(both);
        let command = executables(command.args(["--bin", "portcullis"]))?;
        let command = command.into_iter().next().context("cargo names no program `portcullis`")?;
        let mut cargo = workspace.cargo(["test", "--locked", "--no-run", "--package", "portcullis-tests"]);
        for test in tests {
            cargo.args(["--test", vm::program_of(test)]);
        }
        Ok((command, executables(&mut cargo)?))
    })?;
    let (command, built) = programs;
    let tests: Vec<(String, PathBuf)> = tests
        .iter()
        .map(|test| {
            let found = built.iter().find(|file| name_of(file) == vm::program_of(test));
            let found = found.with_context(|| format!("cargo built no test `{test}`"))?;
            Ok(((*test).to_owned(), found.clone()))
        })
        .collect::<Result<_>>()?;
    let what = format!("Linux {} under qemu, as an ordinary user", packages.release);
    let advice = "find the test in the output above; it passes on this machine's kernel if `cargo xtask test` came this far";
    let skipped = journal.step("older kernel", &what, advice, || {
        let folder = workspace.target_dir()?.join("vm");
        let guest = Guest { tests: &tests, command: &command };
        let image = Image::build(&packages, &workspace.places, &guest, &folder)?;
        let names: Vec<&str> = tests.iter().map(|(name, _)| name.as_str()).collect();
        vm::boot(&packages, &image, &names, &folder)
    })?;
    for Skipped { test, reason, .. } in &skipped {
        journal.skip_test(test, reason);
    }
    // The guest has root, and a kernel with modules for everything that is tested there.
    let has = |test: &&Skipped| matches!(test.need, Need::Root | Need::Kernel);
    let wrong: Vec<&str> = skipped.iter().filter(has).map(|test| test.test.as_str()).collect();
    if !wrong.is_empty() {
        bail!(
            "the guest has what these tests were skipped for: {}; see MODULES in xtask/src/vm",
            wrong.join(", ")
        );
    }
    Ok(Ok(()))
}

/// Runs cargo; gives the programs that it names in its messages, without those that it only needed.
fn executables(cargo: &mut Command) -> Result<Vec<PathBuf>> {
    cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let line = shown(cargo);
    let output = cargo.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        return Err(anyhow!("`{line}` failed ({})", output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = |line: &str| Some(PathBuf::from(line.split_once("\"executable\":\"")?.1.split_once('"')?.0));
    Ok(messages.lines().filter_map(path).collect())
}

/// The name of a test program: that of its file without the hash.
fn name_of(file: &std::path::Path) -> &str {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.rsplit_once('-').map_or(stem, |(name, _)| name)
}
