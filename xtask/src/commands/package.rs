//! `cargo xtask package`: a static binary and a Debian package.

use std::fs;

use anyhow::{Context as _, Result};
use xtask::package::{self, Request};

use crate::commands::{build, setup};
use crate::journal::Journal;
use crate::workspace::{Workspace, host, in_variables};

/// Builds as shipped and packs.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut journal = Journal::new("package");
    journal.step("setup", "finding or installing tools", "see the message above", || {
        setup::ensure(workspace, false)
    })?;
    let target = host()?;
    let mut cargo = workspace.cargo(["build", "--locked", "--release", "--package", "portcullis", "--bin"]);
    cargo.args(["portcullis", "--target", &target]);
    // With a target named, the flag is for the command alone, not for what runs while it is built.
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", in_variables(&target));
    cargo.env(variable, "-C target-feature=+crt-static");
    journal.run("static binary", &mut cargo, build::ADVICE)?;
    let binary = workspace.target_dir()?.join(&target).join("release/portcullis");
    let output = workspace.target_dir()?.join("package");
    let package = journal.step("package", "laying out and packing", "install dpkg-dev and gzip", || {
        package::build(&Request {
            workspace: &workspace.root,
            binary: &binary,
            version: env!("CARGO_PKG_VERSION"),
            output: &output,
            compress: true,
        })
    })?;
    for file in [binary, package] {
        let bytes = fs::metadata(&file).with_context(|| format!("cannot read {}", file.display()))?.len();
        println!("built: {} ({:.1} MiB)", workspace.relative(&file).display(), mebibytes(bytes));
    }
    journal.close();
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
