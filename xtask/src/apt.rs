//! Debian's packages -> a folder with what they hold.
//!
//! Nothing is installed: that needs no root, starts no server and changes nothing on the host.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::journal::output_of;
use crate::privilege;

/// Downloads and unpacks into a new folder: `complete` with all that they need and the host lacks, `alone`
/// with nothing. What a call that failed has left there is replaced.
pub(crate) fn unpack(complete: &[&str], alone: &[&str], folder: &Path) -> Result<()> {
    remove(folder)?;
    let archives = folder.join("archives");
    fs::create_dir_all(&archives).with_context(|| format!("cannot create {}", archives.display()))?;
    if let Err(error) = fetch(complete, alone, &archives) {
        // The lists may be older than the mirror.
        if !update()? {
            return Err(error.context("`sudo apt-get update` may mend that"));
        }
        fetch(complete, alone, &archives)?;
    }
    for archive in fs::read_dir(&archives)? {
        output_of(Command::new("dpkg").arg("--extract").arg(archive?.path()).arg(folder))?;
    }
    remove(&archives)
}

/// Renews the lists of packages, as root; gives whether it could.
pub(crate) fn update() -> Result<bool> {
    if !privilege::is_root() {
        return Ok(false);
    }
    output_of(Command::new("apt-get").args(["update", "-qq"]))?;
    Ok(true)
}

/// Removes a folder, if there is one.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn fetch(complete: &[&str], alone: &[&str], archives: &Path) -> Result<()> {
    let mut plan = Command::new("apt-get");
    // Also what the host has: its own may be confined to the files of its own configuration.
    plan.args(["--simulate", "--reinstall", "--no-install-recommends", "install"]).args(complete);
    let plan = output_of(&mut plan)?;
    let names = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next());
    let names: Vec<&str> = alone.iter().copied().chain(names).collect();
    println!("downloading {} packages, which are not installed: {}", names.len(), names.join(" "));
    let mut download = Command::new("apt-get");
    output_of(download.current_dir(archives).args(["-qq", "download"]).args(&names))?;
    if fs::read_dir(archives)?.next().is_none() {
        bail!("apt-get downloaded nothing");
    }
    Ok(())
}
