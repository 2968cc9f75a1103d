//! The programs that the tests talk with: downloaded from Debian, and unpacked beside the other tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use xtask::debian::{self, PACKAGES, Package};

use crate::apt;
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
    unpack(&packages, &debian::folder(places))?;
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
    if apt::update()? {
        return Ok(listed());
    }
    println!("some packages are not in this machine's lists; `sudo apt-get update` may mend that");
    Ok(found)
}

/// Replaces the folder by one with these packages.
fn unpack(packages: &[Package], folder: &Path) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    let unpacked = folder.with_extension("part");
    apt::unpack(&names, &[], &unpacked)?;
    apt::remove(folder)?;
    fs::rename(&unpacked, folder).with_context(|| format!("cannot create {}", folder.display()))
}
