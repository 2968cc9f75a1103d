//! `cargo xtask setup`: finds or installs what is needed.
//!
//! Quick when nothing is missing: a handful of files are looked at and the linker is started once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use xtask::debian;
use xtask::toolchain::{BPF_LINKER, BPF_LINKER_VERSION};

use crate::journal::{output_of, shown};
use crate::privilege;
use crate::tools::{Need, Remedy, survey};
use crate::workspace::Workspace;

/// Exit code of `setup --check` where something is missing.
const MISSING: u8 = 3;

/// Says what is there and what is missing, and changes nothing.
pub(crate) fn report(workspace: &Workspace, bench: bool) -> Result<ExitCode> {
    let needs = survey(&workspace.places, bench)?;
    needs.iter().for_each(say);
    let programs = debian::missing(&workspace.places);
    if !programs.is_empty() {
        println!("  clients and servers of the tests, missing: {}", programs.join(", "));
    }
    let missing = needs.iter().filter(|need| need.state.is_err()).count() + programs.len();
    if missing == 0 {
        println!("nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{missing} missing: run `cargo xtask setup`");
    Ok(ExitCode::from(MISSING))
}

/// Installs what is missing.
pub(crate) fn ensure(workspace: &Workspace, bench: bool) -> Result<()> {
    let places = &workspace.places;
    let needs = survey(places, bench)?;
    needs.iter().for_each(say);
    let remedies: Vec<Remedy> = needs.into_iter().filter_map(|need| need.state.err()).collect();
    if remedies.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    let by_hand = remedies.iter().find_map(|remedy| match remedy {
        Remedy::ByHand(command) => Some(command),
        Remedy::Packages(_) | Remedy::BuildLinker => None,
    });
    if let Some(command) = by_hand {
        bail!(
            "this machine has no apt-get, so that you have to decide: {command}; then run `cargo xtask setup` again"
        );
    }
    let packages: Vec<&str> = remedies
        .iter()
        .flat_map(|remedy| match remedy {
            Remedy::Packages(packages) => *packages,
            Remedy::BuildLinker | Remedy::ByHand(_) => &[],
        })
        .copied()
        .collect();
    install_packages(&packages)?;
    if remedies.contains(&Remedy::BuildLinker) {
        build_linker(workspace)?;
    }
    match survey(places, bench)?.iter().find(|need| need.state.is_err()) {
        None => Ok(()),
        Some(need) => {
            bail!("{} is still missing after its installation went well: please report this", need.what)
        }
    }
}

fn say(need: &Need) {
    let Need { what, reason, state } = need;
    match state {
        Ok(found) => println!("  {what:<14} {found} ({reason})"),
        Err(remedy) => println!("  {what:<14} missing; {reason}; {}", plan(*remedy)),
    }
}

fn plan(remedy: Remedy) -> String {
    match remedy {
        Remedy::Packages(packages) => format!("Debian packages {}", packages.join(" ")),
        Remedy::BuildLinker => format!("crate {BPF_LINKER} {BPF_LINKER_VERSION}, compiled in about a minute"),
        Remedy::ByHand(command) => command.to_owned(),
    }
}

fn install_packages(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !privilege::is_root() {
        bail!(
            "installing packages needs root: run `sudo apt-get update && sudo apt-get install --no-install-recommends {list}`, then `cargo xtask setup` again"
        );
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        println!("running: {}", shown(&command));
        output_of(&mut command)
    };
    apt(&["update", "-qq"])?;
    let install = ["install", "-qq", "--yes", "--no-install-recommends"];
    apt(&[&install, packages].concat()).context(
        "the packages cannot be installed; on other distributions use rustup: `rustup toolchain install nightly --component rust-src` and a bpf-linker on PATH",
    )?;
    Ok(())
}

/// Compiles the linker against the LLVM of the system's compiler, whose output it has to read. Less
/// optimisation than a release build: compiling it takes half the time, and it links one small
/// object in a fraction of a second either way.
fn build_linker(workspace: &Workspace) -> Result<()> {
    let places = &workspace.places;
    let llvm = Llvm::of(&places.system)?;
    let prefix = llvm.prefix(&places.tools)?;
    let mut install =
        workspace.cargo(["install", BPF_LINKER, "--version", BPF_LINKER_VERSION, "--locked", "--quiet"]);
    install
        .args(["--force", "--no-default-features", "--features", &format!("llvm-{}", llvm.major)])
        .arg("--root")
        .arg(places.linker_root())
        .env("LLVM_PREFIX", prefix)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    println!("running: {}", shown(&install));
    let status = install.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{BPF_LINKER} does not compile ({status}); the compiler's report stands above");
    }
    Ok(())
}

/// The LLVM that a compiler uses.
struct Llvm {
    major: String,
    library: PathBuf,
}

impl Llvm {
    /// The LLVM of the compiler below `prefix`, by the version that the compiler names.
    fn of(prefix: &Path) -> Result<Self> {
        let rustc = prefix.join("bin/rustc");
        let version = output_of(Command::new(&rustc).arg("-vV"))?;
        let version = version
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))
            .with_context(|| format!("{} does not name its LLVM version", rustc.display()))?;
        let mut numbers = version.split('.');
        let major = numbers.next().unwrap_or_default().to_owned();
        let name = format!("libLLVM.so.{major}.{}", numbers.next().unwrap_or("1"));
        let library = fs::read_dir(prefix.join("lib"))
            .context("cannot look for LLVM")?
            .flatten()
            .map(|folder| folder.path().join(&name))
            .find(|file| file.is_file())
            .with_context(|| {
                format!("{} uses {name}, which is not below {}/lib", rustc.display(), prefix.display())
            })?;
        Ok(Self { major, library })
    }

    /// A folder that looks like LLVM's own to the build: the library under its development name.
    /// Debian's package with that name would add hundreds of megabytes for a symbolic link.
    fn prefix(&self, tools: &Path) -> Result<PathBuf> {
        let prefix = tools.join(format!("llvm-{}", self.major));
        let link = prefix.join("lib/libLLVM.so");
        fs::create_dir_all(prefix.join("lib"))
            .with_context(|| format!("cannot create {}", prefix.display()))?;
        if link.is_symlink() {
            fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        symlink(&self.library, &link).with_context(|| format!("cannot create {}", link.display()))?;
        Ok(prefix)
    }
}
