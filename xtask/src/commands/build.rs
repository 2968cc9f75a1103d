//! `cargo xtask build`: the command `portcullis` with its kernel programs.

use anyhow::Result;

use crate::journal::Journal;
use crate::workspace::Workspace;

/// What to do when a build fails.
pub(crate) const ADVICE: &str =
    "mend what the compiler reports above; if it names a missing tool, run `cargo xtask setup`";

/// Builds the command and says where it lies.
pub(crate) fn run(workspace: &Workspace, release: bool) -> Result<()> {
    let mut journal = Journal::new("build");
    let mut cargo = workspace.cargo(["build", "--locked", "--package", "portcullis"]);
    if release {
        cargo.arg("--release");
    }
    journal.run("build", &mut cargo, ADVICE)?;
    let profile = if release { "release" } else { "debug" };
    let binary = workspace.target_dir()?.join(profile).join("portcullis");
    println!("built: {}", workspace.relative(&binary).display());
    Ok(())
}
