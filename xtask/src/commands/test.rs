//! `cargo xtask test`: everything that has to hold before a change is merged.

use std::process::Command;

use anyhow::Result;
use xtask::places::TOOLS_VARIABLE;

use crate::commands::{check, debian, setup, vm};
use crate::journal::Journal;
use crate::privilege::{Privilege, SUDO};
use crate::skipped::Watch;
use crate::workspace::{Workspace, host, in_variables};

/// Sets up, checks, and runs every test.
pub(crate) fn run(workspace: &Workspace, without_kernel: bool) -> Result<()> {
    let mut journal = Journal::new("test");
    journal.step("setup", "finding or installing tools", "see the message above", || {
        setup::ensure(workspace, false)
    })?;
    check::steps(workspace, &mut journal)?;
    let watch = Watch::new(workspace)?;

    let mut tests = workspace.cargo(["test", "--locked", "--workspace"]);
    tests.args(["--exclude", "portcullis-ebpf", "--exclude", "portcullis-tests"]);
    journal.run(
        "unit and property tests",
        watch.over(&mut tests),
        "run the failing test alone: `cargo test NAME`",
    )?;

    if without_kernel {
        journal.skip("kernel tests", "--without-kernel was given");
        journal.skip("older kernel", "--without-kernel was given");
    } else {
        journal.step(
            "clients and servers",
            "programs that the kernel tests talk with",
            "see the message above",
            || debian::ensure(workspace),
        )?;
        kernel_tests(workspace, &mut journal, &watch)?;
        vm::step(workspace, &mut journal)?;
    }
    watch.report(workspace, &mut journal, !without_kernel)?;
    journal.close();
    Ok(())
}

fn kernel_tests(workspace: &Workspace, journal: &mut Journal, watch: &Watch) -> Result<()> {
    journal.run(
        "kernel tests",
        watch.over(&mut as_root(workspace)?),
        "run the failing test alone, as root: `cargo test --package portcullis-tests NAME`; docs/testing.md tells what each proves",
    )
}

/// `cargo test` of the kernel tests: cargo and rustc run as the user; the finished test programs run as
/// root, by cargo's `runner`.
pub(crate) fn as_root(workspace: &Workspace) -> Result<Command> {
    let mut tests = workspace.cargo(["test", "--locked", "--package", "portcullis-tests"]);
    // root's cache folder is another one.
    tests.env(TOOLS_VARIABLE, &workspace.places.tools);
    if Privilege::find(&workspace.places, "kernel tests run")? == Privilege::Sudo {
        tests.env(format!("CARGO_TARGET_{}_RUNNER", in_variables(&host()?)), SUDO.join(" "));
    }
    Ok(tests)
}
