//! `portcullis detach`.

use std::io::Write as _;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};

use super::{
    Outcome,
    output::json,
    saying::{Saying, SayingArgs},
};
use crate::{
    datapath::ensure_permission,
    generation::{Roots, detach},
    terminal,
};

/// Arguments of `detach`.
#[derive(Debug, Args)]
#[command(after_help = "\
Packets pass as if Portcullis were not there, and what was counted is forgotten. The policy file is not changed: \
an agent that runs enforces it again when it is reloaded or changes.

Exit codes: 0 done, also where nothing was enforced with --all, 1 an interface is not enforced, or the kernel \
refused.")]
#[command(group(ArgGroup::new("which").required(true).args(["interfaces", "all"])))]
pub(super) struct Detach {
    /// Interfaces
    #[arg(value_name = "INTERFACE")]
    interfaces: Vec<String>,
    /// Every interface that is enforced
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub(super) saying: SayingArgs,
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
        let mut out = terminal::out();
        match self.saying.saying() {
            Saying::Json => json(&mut out, &serde_json::json!({ "detached": interfaces }))?,
            Saying::Quiet => {}
            Saying::All => {
                for interface in &interfaces {
                    writeln!(out, "{interface}: detached; every packet passes")?;
                }
                if interfaces.is_empty() {
                    writeln!(out, "no interface is enforced")?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}
