//! `cargo xtask demo`, `differential` and `bench`: build, then run one program of the tests crate as root.
//! The demonstration takes the development build, which the tests use, too: a newcomer compiles once.
//! What is measured, or runs for long, is built as shipped. All find the command under test in the
//! environment variable `PORTCULLIS`.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::commands::{build, setup};
use crate::journal::Journal;
use crate::privilege::Privilege;
use crate::workspace::Workspace;

/// Shows the product at work in network namespaces.
pub(crate) fn demo(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    launch(workspace, "demo", "lab-demo", arguments)
}

/// Compares the kernel programs with the reference model.
pub(crate) fn differential(workspace: &Workspace, packets: u64, policies: u64, seed: u64) -> Result<()> {
    let values = [("--packets", packets), ("--policies", policies), ("--seed", seed)];
    let arguments: Vec<String> =
        values.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]).collect();
    launch(workspace, "differential", "differential", &arguments)
}

/// Measures the cost per packet.
pub(crate) fn bench(
    workspace: &Workspace,
    json: Option<&Path>,
    svg: Option<&Path>,
    arguments: &[String],
) -> Result<()> {
    let mut all = Vec::new();
    for (option, file) in [("--json", json), ("--svg", svg)] {
        if let Some(file) = file {
            let file =
                std::path::absolute(file).with_context(|| format!("cannot resolve {}", file.display()))?;
            all.extend([option.to_owned(), file.display().to_string()]);
        }
    }
    all.extend_from_slice(arguments);
    launch(workspace, "bench", "bench", &all)
}

fn launch(
    workspace: &Workspace,
    command: &'static str,
    program: &'static str,
    arguments: &[String],
) -> Result<()> {
    let mut journal = Journal::new(command);
    journal.step("setup", "finding or installing tools", "see the message above", || {
        setup::ensure(workspace, command == "bench")
    })?;
    let packages = ["--package", "portcullis", "--package", "portcullis-tests"];
    // The comparison runs no command.
    let binaries: &[&str] = if command == "differential" {
        &["--bin", program]
    } else {
        &["--bin", "portcullis", "--bin", program]
    };
    let mut cargo = workspace.cargo(["build", "--locked"]);
    let shipped = command != "demo";
    if shipped {
        cargo.arg("--release");
    }
    journal.run("build", cargo.args(packages).args(binaries), build::ADVICE)?;

    let built = workspace.target_dir()?.join(if shipped { "release" } else { "debug" });
    let mut run =
        Privilege::find(&workspace.places, "network namespaces are made")?.command(built.join(program));
    run.args(arguments).env("PORTCULLIS", built.join("portcullis"));
    journal.run(
        program,
        &mut run,
        "read the program's own message above; it needs Linux 6.1 or later with BTF",
    )?;
    journal.close();
    Ok(())
}
