//! Running one command as root.
//!
//! Only the finished programs run as root, never cargo: root would leave files in the target folder
//! that their owner cannot replace.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use anyhow::{Result, bail};
use xtask::places::Places;

/// How this process becomes root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// It asks sudo.
    Sudo,
}

/// The words that sudo is called with: the programs read their settings from the environment.
pub(crate) const SUDO: [&str; 3] = ["sudo", "--preserve-env", "--"];

impl Privilege {
    /// Finds a way to run `what` as root.
    pub(crate) fn find(places: &Places, what: &str) -> Result<Self> {
        if is_root() {
            Ok(Self::Root)
        } else if places.on_path("sudo").is_some() {
            println!("{what} as root: asking sudo");
            Ok(Self::Sudo)
        } else {
            bail!("{what} needs root: run this command as root, or install sudo");
        }
    }

    /// `program` as root.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Root => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new(SUDO[0]);
                command.args(&SUDO[1..]).arg(program);
                command
            }
        }
    }
}

/// Whether this process is root. The owner of `/proc/self` is its effective user.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
