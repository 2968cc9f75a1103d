//! The programs that the tests talk with: downloaded from Debian, and unpacked beside the other tools.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use xtask::debian::{self, PACKAGES};

use crate::journal::{output_of, shown};
use crate::privilege;
use crate::workspace::Workspace;

/// Unpacks what is missing. On a machine without apt-get it says what that means and leaves it at that.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let places = &workspace.places;
    let missing = debian::missing(places);
    if missing.is_empty() {
        println!("the tests have all their clients and servers");
        return Ok(());
    }
    let list = missing.join(", ");
    if places.on_path("apt-get").is_none() {
        println!("no apt-get here; tests that need one of these say so and are skipped: {list}");
        return Ok(());
    }
    println!("from Debian's packages, unpacked and not installed: {list}");
    unpack(workspace, &debian::folder(places))?;
    match debian::missing(places).as_slice() {
        [] => Ok(()),
        [name, ..] => bail!("{name} is in none of the unpacked packages: please report this"),
    }
}

/// Downloads all packages, with what they need and the system lacks, and replaces the folder by them.
fn unpack(workspace: &Workspace, folder: &Path) -> Result<()> {
    let work = workspace.places.tools.join("debian.new");
    let root = extract(&work, &PACKAGES.map(|package| package.name), &[])?;
    remove(folder)?;
    fs::rename(&root, folder).with_context(|| format!("cannot create {}", folder.display()))?;
    remove(&work)
}

/// Downloads packages, with what they need and the system lacks, and packages `alone`, without what they
/// need, below an empty folder; gives the folder inside it that they were unpacked into.
pub(crate) fn extract(work: &Path, packages: &[&str], alone: &[&str]) -> Result<PathBuf> {
    let (cache, root) = (work.join("cache"), work.join("root"));
    remove(work)?;
    for needed in [&cache.join("archives/partial"), &root] {
        fs::create_dir_all(needed).with_context(|| format!("cannot create {}", needed.display()))?;
    }
    if let Err(error) = download(&cache, packages, alone) {
        // Lists of packages age: what they name may have been replaced since.
        if !privilege::is_root() {
            return Err(error
                .context("the packages cannot be downloaded: run `sudo apt-get update`, then this again"));
        }
        output_of(&mut apt(&["update", "-qq"]))?;
        download(&cache, packages, alone)?;
    }
    for entry in fs::read_dir(cache.join("archives")).context("cannot read what was downloaded")? {
        let package = entry.context("cannot read what was downloaded")?.path();
        if package.extension() == Some(OsStr::new("deb")) {
            output_of(Command::new("dpkg-deb").arg("--extract").args([&package, &root]))?;
        }
    }
    Ok(root)
}

fn download(cache: &Path, packages: &[&str], alone: &[&str]) -> Result<()> {
    // Nothing of the system's is written, so that no lock of it, and no root, is needed.
    let options = [
        format!("Dir::Cache={}", cache.display()),
        "Debug::NoLocking=1".into(),
        "APT::Sandbox::User=".into(),
    ];
    let with_options = |arguments: &[&str]| {
        let mut command = apt(arguments);
        for option in &options {
            command.args(["-o", option]);
        }
        command
    };
    let mut command = with_options(&[
        "install",
        "-qq",
        "--yes",
        "--no-install-recommends",
        "--download-only",
        "--reinstall",
    ]);
    command.args(packages);
    println!("running: {}", shown(&command));
    output_of(&mut command)?;
    if !alone.is_empty() {
        let mut command = with_options(&["download", "-qq"]);
        command.args(alone).current_dir(cache.join("archives"));
        println!("running: {}", shown(&command));
        output_of(&mut command)?;
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
