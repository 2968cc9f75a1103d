//! The programs that the tests talk with: downloaded from Debian, and unpacked beside the other tools.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use xtask::debian::{self, PACKAGES, Package};

use crate::journal::{output_of, shown};
use crate::privilege;
use crate::workspace::Workspace;

/// Unpacks what is missing. Where a program is not to be had, it says so, and the tests that need it do, too.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let places = &workspace.places;
    let missing = debian::missing(places);
    if missing.is_empty() {
        println!("the tests have all their clients and servers");
        return Ok(());
    }
    let list = missing.join(", ");
    if places.on_path("apt-get").is_none() {
        println!("no apt-get here; tests that need one of these are skipped: {list}");
        return Ok(());
    }
    let packages = known()?;
    for package in PACKAGES.iter().filter(|package| !packages.contains(package)) {
        let Package { name, programs } = package;
        println!("no package {name} here; tests that need one of these are skipped: {}", programs.join(", "));
    }
    println!("from Debian's packages, unpacked and not installed: {list}");
    unpack(&packages, &places.tools.join("debian.new"), &debian::folder(places))?;
    let had = |name: &&str| packages.iter().any(|package| package.programs.contains(name));
    match debian::missing(places).into_iter().find(had) {
        None => Ok(()),
        Some(name) => bail!("{name} is in none of the unpacked packages: please report this"),
    }
}

/// The packages that the machine's lists name.
fn known() -> Result<Vec<Package>> {
    let listed = || -> Vec<Package> {
        let shown = |package: &Package| {
            let mut command = Command::new("apt-cache");
            command.args(["show", package.name]).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        PACKAGES.iter().filter(|package| shown(package)).copied().collect()
    };
    let found = listed();
    if found.len() == PACKAGES.len() {
        return Ok(found);
    }
    // A fresh machine has no lists yet.
    if privilege::is_root() {
        output_of(&mut apt(&["update", "-qq"]))?;
        return Ok(listed());
    }
    println!("some packages are not in this machine's lists; `sudo apt-get update` may mend that");
    Ok(found)
}

/// Downloads packages, with what they need and the system lacks, and replaces the folder by them.
fn unpack(packages: &[Package], work: &Path, folder: &Path) -> Result<()> {
    let (cache, root) = (work.join("cache"), work.join("root"));
    remove(work)?;
    for needed in [&cache.join("archives/partial"), &root] {
        fs::create_dir_all(needed).with_context(|| format!("cannot create {}", needed.display()))?;
    }
    if packages.is_empty() {
        return remove(work);
    }
    if let Err(error) = download(packages, &cache) {
        // Lists of packages age: what they name may have been replaced since.
        if !privilege::is_root() {
            return Err(error
                .context("the packages cannot be downloaded: run `sudo apt-get update`, then this again"));
        }
        output_of(&mut apt(&["update", "-qq"]))?;
        download(packages, &cache)?;
    }
    for entry in fs::read_dir(cache.join("archives")).context("cannot read what was downloaded")? {
        let package = entry.context("cannot read what was downloaded")?.path();
        if package.extension() == Some(OsStr::new("deb")) {
            output_of(Command::new("dpkg-deb").arg("--extract").args([&package, &root]))?;
        }
    }
    remove(folder)?;
    fs::rename(&root, folder).with_context(|| format!("cannot create {}", folder.display()))?;
    remove(work)
}

fn download(packages: &[Package], cache: &Path) -> Result<()> {
    let words = ["install", "-qq", "--yes", "--no-install-recommends", "--download-only", "--reinstall"];
    let mut command = apt(&words);
    // Nothing of the system's is written, so that no lock of it, and no root, is needed.
    let cache = format!("Dir::Cache={}", cache.display());
    for option in [cache.as_str(), "Debug::NoLocking=1", "APT::Sandbox::User="] {
        command.args(["-o", option]);
    }
    command.args(packages.iter().map(|package| package.name));
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
