//! `cargo xtask demo`, `differential` and `bench`: build, then run one program of the tests crate as root.
//! The demonstration takes the development build, which the tests use, too: a newcomer compiles once.
//! What is measured, or runs for long, is built as shipped. All find the command under test in the
//! environment variable `PORTCULLIS`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::commands::{build, setup};
use crate::journal::{Journal, shown};
use crate::privilege::Privilege;
use crate::workspace::Workspace;

/// Shows the product at work in network namespaces.
pub(crate) fn demo(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    launch(workspace, "demo", "lab-demo", arguments)
}

/// Compares the kernel programs with the reference model.
pub(crate) fn differential(workspace: &Workspace, values: &[(&str, u64)]) -> Result<()> {
    let arguments: Vec<String> =
        values.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).collect();
    launch(workspace, "differential", "differential", &arguments)
}

/// The files of a benchmark.
pub(crate) struct BenchFiles<'a> {
    /// An earlier kernel object to compare with.
    pub(crate) against: Option<&'a Path>,
    /// Where the figures go.
    pub(crate) json: Option<&'a Path>,
    /// Where the picture goes.
    pub(crate) svg: Option<&'a Path>,
}

/// Measures the cost per packet; exit code 3 where the comparison with an earlier object found something.
pub(crate) fn bench(workspace: &Workspace, files: &BenchFiles<'_>, arguments: &[String]) -> Result<ExitCode> {
    let mut all = Vec::new();
    let BenchFiles { against, json, svg } = files;
    if let Some(object) = against {
        xtask::object::verify(object)?;
    }
    for (option, file) in [("--against", against), ("--json", json), ("--svg", svg)] {
        if let Some(file) = file {
            let file =
                std::path::absolute(file).with_context(|| format!("cannot resolve {}", file.display()))?;
            all.extend([option.to_owned(), file.display().to_string()]);
        }
    }
    all.extend_from_slice(arguments);
    if against.is_some() {
        return compare(workspace, &all);
    }
    launch(workspace, "bench", "bench", &all)?;
    Ok(ExitCode::SUCCESS)
}

/// The exit code of a comparison that found something.
const FOUND: i32 = 3;

/// Compares kernel objects. Nothing of the agent is measured, so that the development build does, and no other
/// filter is needed.
fn compare(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    let mut journal = Journal::new("bench");
    let mut run = built(workspace, &mut journal, "bench", false, &["--bin", "bench"])?;
    run.args(arguments);
    let mut found = false;
    journal.step("bench", &shown(&run), ADVICE, || {
        let status = run.status().context("cannot run the benchmark")?;
        found = status.code() == Some(FOUND);
        ensure!(status.success() || found, "the benchmark failed ({status})");
        Ok(())
    })?;
    journal.close();
    Ok(if found { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// What to do where a program fails.
const ADVICE: &str = "read the program's own message above; it needs Linux 6.1 or later with BTF";

fn launch(
    workspace: &Workspace,
    command: &'static str,
    program: &'static str,
    arguments: &[String],
) -> Result<()> {
    let mut journal = Journal::new(command);
    // The comparison with the model runs no command.
    let binaries: &[&str] = if command == "differential" {
        &["--bin", program]
    } else {
        &["--bin", "portcullis", "--bin", program]
    };
    let mut run = built(workspace, &mut journal, program, command != "demo", binaries)?;
    journal.run(program, run.args(arguments), ADVICE)?;
    journal.close();
    Ok(())
}

/// Sets up and builds; gives the program, as root.
fn built(
    workspace: &Workspace,
    journal: &mut Journal,
    program: &'static str,
    shipped: bool,
    binaries: &[&str],
) -> Result<Command> {
    journal.step("setup", "finding or installing tools", "see the message above", || {
        setup::ensure(workspace, program == "bench" && shipped)
    })?;
    let mut cargo = workspace.cargo(["build", "--locked"]);
    if shipped {
        cargo.arg("--release");
    }
    let packages = ["--package", "portcullis", "--package", "portcullis-tests"];
    journal.run("build", cargo.args(packages).args(binaries), build::ADVICE)?;

    let built = workspace.target_dir()?.join(if shipped { "release" } else { "debug" });
    let mut run =
        Privilege::find(&workspace.places, "network namespaces are made")?.command(built.join(program));
    run.env("PORTCULLIS", built.join("portcullis"));
    Ok(run)
}
