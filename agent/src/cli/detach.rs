//! `portcullis detach`.

use std::io::Write as _;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};

use super::{Outcome, output::Out};
use crate::{
    datapath::ensure_permission,
    generation::{Roots, detach},
};

/// Arguments of `detach`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["interfaces", "all"])))]
pub(super) struct Detach {
    /// Interfaces
    #[arg(value_name = "INTERFACE")]
    interfaces: Vec<String>,
    /// Every interface that is enforced
    #[arg(long)]
    all: bool,
}

impl Detach {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        ensure_permission("detaching")?;
        let lock = roots.lock()?;
        let known = roots.interfaces()?;
        let interfaces = if self.all { known.clone() } else { self.interfaces };
        if let Some(unknown) = interfaces.iter().find(|name| !known.contains(name)) {
            let known = if known.is_empty() { "no interface is".to_owned() } else { known.join(", ") };
            bail!("`{unknown}` is not enforced; enforced: {known}");
        }
        for interface in &interfaces {
            detach(roots, &lock, interface)?;
        }
        // Said when everything is done: a reader who is gone must not stop it halfway.
        let mut out = Out::new();
        for interface in &interfaces {
            writeln!(out, "{interface}: detached; every packet passes")?;
        }
        if interfaces.is_empty() {
            writeln!(out, "no interface is enforced")?;
        }
        Ok(Outcome::Done)
    }
}
