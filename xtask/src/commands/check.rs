//! `cargo xtask check`: everything that can be judged without running the product as root.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xtask::object::{self, Linter, Request};
use xtask::toolchain::{self, Endian, Source};

use crate::journal::Journal;
use crate::promises;
use crate::readme;
use crate::workspace::Workspace;

/// Lines from which on a source file is reported as more than one thought.
const LONG: usize = 500;

/// Runs every check.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut journal = Journal::new("check");
    steps(workspace, &mut journal)?;
    journal.close();
    Ok(())
}

/// The checks, as steps of a longer command.
pub(crate) fn steps(workspace: &Workspace, journal: &mut Journal) -> Result<()> {
    journal.run("format", &mut workspace.cargo(["fmt", "--all", "--check"]), "run `cargo fmt --all`")?;

    let mut clippy = workspace.cargo(["clippy", "--locked", "--workspace", "--exclude", "portcullis-ebpf"]);
    clippy.args(["--all-targets", "--", "-D", "warnings"]);
    journal.run("lints", &mut clippy, "mend what clippy reports above")?;

    kernel_programs(workspace, journal)?;

    let mut rustdoc = workspace.cargo(["doc", "--locked", "--workspace", "--exclude", "portcullis-ebpf"]);
    // Read by contributors, with private items: what links to one is no broken link here.
    let flags = "-D warnings -A rustdoc::private-intra-doc-links";
    rustdoc.args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", flags);
    journal.run("documentation", &mut rustdoc, "mend what rustdoc reports above")?;

    if workspace.places.on_path("cargo-deny").is_some() {
        let mut deny = workspace.cargo(["deny", "--locked", "check", "bans", "licenses", "sources"]);
        journal.run(
            "dependencies",
            &mut deny,
            "choose another dependency, or allow it in deny.toml and say why",
        )?;
    } else {
        journal.skip("dependencies", "cargo-deny is not installed (`cargo install --locked cargo-deny`)");
    }

    let mut build = workspace.cargo(["build", "--quiet", "--locked", "--package", "portcullis"]);
    journal.run("command", &mut build, super::build::ADVICE)?;
    let binary = workspace.target_dir()?.join("debug/portcullis");
    journal.step(
        "documented commands",
        "every command in the documents exists",
        "correct the document, or give the command the name that is documented",
        || readme::check(workspace, &binary),
    )?;
    journal.step(
        "promises",
        "a test holds each sentence that the documents promise",
        "name the promise in the documentation of the test that holds it, or write that test",
        || promises::check(workspace),
    )?;
    journal.step("file lengths", "files that may be more than one thought", "", || long_files(workspace))
}

/// Lints the kernel programs with their own compiler.
fn kernel_programs(workspace: &Workspace, journal: &mut Journal) -> Result<()> {
    const NAME: &str = "lints of kernel programs";
    let toolchain = match toolchain::find(&workspace.places, Endian::NATIVE)? {
        Source::Compile(toolchain) => toolchain,
        Source::Prebuilt(object) => {
            journal.skip(NAME, format!("they are not compiled here, but taken from {}", object.display()));
            return Ok(());
        }
    };
    let target_dir = workspace.target_dir()?.join("ebpf");
    let request = Request {
        workspace: &workspace.root,
        target_dir: &target_dir,
        arch: std::env::consts::ARCH,
        endian: Endian::NATIVE,
        deny_warnings: true,
        features: &[],
    };
    let what = format!("the crate portcullis-ebpf with {toolchain}");
    let linter = journal.step(NAME, &what, "mend what the compiler reports above", || {
        object::lint(&toolchain, &workspace.places, &request)
    })?;
    if linter == Linter::Rustc {
        println!("   (by the compiler's own lints only: this toolchain has no clippy)");
    }
    Ok(())
}

/// Reports long files. It never fails: length is a hint, and some tables are long for a good reason.
fn long_files(workspace: &Workspace) -> Result<()> {
    let mut files = Vec::new();
    for folder in ["agent", "common", "ebpf", "tests", "xtask"] {
        sources(&workspace.root.join(folder), &mut files)?;
    }
    let mut long = Vec::new();
    for file in files {
        let lines = fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .lines()
            .count();
        if lines > LONG {
            long.push((lines, file));
        }
    }
    long.sort();
    for (lines, file) in long.iter().rev() {
        println!("   {lines} lines: {}", workspace.relative(file).display());
    }
    if long.is_empty() {
        println!("   none above {LONG} lines");
    }
    Ok(())
}

/// The Rust files below a folder.
pub(crate) fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
