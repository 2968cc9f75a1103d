//! The programs that the tests talk with: downloaded from Debian, and unpacked beside the other tools.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
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
    let (cache, root) = (work.join("cache"), work.join("root"));
    remove(&work)?;
    for needed in [&cache.join("archives/partial"), &root] {
        fs::create_dir_all(needed).with_context(|| format!("cannot create {}", needed.display()))?;
    }
    if let Err(error) = download(&cache) {
        // Lists of packages age: what they name may have been replaced since.
        if !privilege::is_root() {
            return Err(error
                .context("the packages cannot be downloaded: run `sudo apt-get update`, then this again"));
        }
        output_of(&mut apt(&["update", "-qq"]))?;
        download(&cache)?;
    }
    for entry in fs::read_dir(cache.join("archives")).context("cannot read what was downloaded")? {
        let package = entry.context("cannot read what was downloaded")?.path();
        if package.extension() == Some(OsStr::new("deb")) {
            output_of(Command::new("dpkg-deb").arg("--extract").args([&package, &root]))?;
        }
    }
    remove(folder)?;
    fs::rename(&root, folder).with_context(|| format!("cannot create {}", folder.display()))?;
    remove(&work)
}

fn download(cache: &Path) -> Result<()> {
    let mut command =
        apt(&["install", "-qq", "--yes", "--no-install-recommends", "--download-only", "--reinstall"]);
    // Nothing of the system's is written, so that no lock of it, and no root, is needed.
    for option in
        [format!("Dir::Cache={}", cache.display()), "Debug::NoLocking=1".into(), "APT::Sandbox::User=".into()]
    {
        command.args(["-o", &option]);
    }
    command.args(PACKAGES.map(|package| package.name));
    println!("running: {}", shown(&command));
    output_of(&mut command).map(drop)
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
