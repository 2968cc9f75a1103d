//! `portcullis boot`.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum};

use super::{
    Outcome,
    output::complaints,
    policy::{self, Reading, Source},
};
use crate::{
    datapath::{LinkType, ensure_lasting_bpffs, ensure_permission},
    generation::{ApplyOptions, Here, Roots, prepare},
    terminal::{self, shown},
};

/// Arguments of `boot`.
#[derive(Debug, Args)]
#[command(after_help = "\
Meant to run once, before the network is up. What is already enforced is left alone. The last known good \
policy is the one that `apply` or the agent put in place last; the policy file is taken where there is none \
yet. Interfaces that are not there yet are left to the agent.

Exit codes: 0 a policy is enforced, 1 nothing is, 3 not the last known good policy is enforced, but what the \
fail mode says.")]
pub(super) struct Boot {
    /// Policy file, for a host on which no policy was ever in place
    #[arg(long, value_name = "FILE", default_value = policy::DEFAULT)]
    policy: PathBuf,
    /// What holds where the last known good policy cannot be loaded
    #[arg(long, value_enum, value_name = "MODE", env = "PORTCULLIS_FAIL_MODE", default_value_t = FailMode::LastGood)]
    fail_mode: FailMode,
}

/// What holds where the last known good policy cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailMode {
    /// The policy file, if it can be loaded, and nothing otherwise
    LastGood,
    /// Nothing gets in but what every policy accepts, as replies to this host; on every interface
    Closed,
    /// Everything gets in
    Open,
}

impl Boot {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        ensure_permission("enforcing a policy")?;
        ensure_lasting_bpffs(&roots.bpffs)?;
        let (good, never) = match policy::last_good(&roots.lasting) {
            Ok(source) => (Ok(source), false),
            Err(error) => {
                let never = matches!(error.downcast_ref(), Some(crate::last_good::LastGoodError::Never(_)));
                (Err(error), never)
            }
        };
        let refused = match good.and_then(|source| enforce(roots, &source)) {
            Ok(()) => return Ok(Outcome::Done),
            Err(error) => error,
        };
        tell(&refused);
        // On a host on which no policy was ever in place, the file is the first.
        if never || self.fail_mode == FailMode::LastGood {
            match file(&self.policy).and_then(|source| enforce(roots, &source)) {
                Ok(()) => return Ok(if never { Outcome::Done } else { Outcome::Found }),
                Err(error) => tell(&error),
            }
        }
        match self.fail_mode {
            FailMode::Closed => {
                let source = closed()?;
                enforce(roots, &source).context("cannot close the interfaces")?;
                complain!(
                    "portcullis: every interface is closed: correct what is told above and apply a policy"
                );
                Ok(Outcome::Found)
            }
            FailMode::LastGood | FailMode::Open => {
                complain!("portcullis: nothing is enforced, every packet passes");
                Ok(Outcome::Failed)
            }
        }
    }
}

fn tell(error: &anyhow::Error) {
    for complaint in complaints(error) {
        complain!("{complaint}");
    }
}

fn file(path: &Path) -> Result<Source> {
    policy::resolve(&policy::read_text(path, Reading::Trusted)?, path, Reading::Trusted)
}

/// Enforces a policy on the interfaces that are there and that nothing is attached to yet.
fn enforce(roots: &Roots, source: &Source) -> Result<()> {
    let lock = roots.lock()?;
    let present = LinkType::of_all()?;
    let Here { policy: mut here, skipped } = Here::new(&source.policy, &present);
    let stands = |name: &str| {
        roots.attachment(name).is_ok_and(|attachment| matches!(attachment.program(), Ok(Some(_))))
    };
    here.interfaces.retain(|entry| present.contains_key(&entry.name) && !stands(&entry.name));
    // Nothing runs yet that could be listened to.
    let options = ApplyOptions { learn: Duration::ZERO, ..ApplyOptions::default() };
    let prepared = prepare(roots, &lock, &here, &source.text, &source.catalog, options)?;
    let (applied, error) = prepared.commit();
    let mut out = terminal::out();
    for generation in &applied {
        let manifest = &generation.manifest;
        let (name, policy) = (&manifest.interface, shown(&manifest.policy));
        writeln!(out, "{name}: generation {} of {policy}", manifest.generation)?;
    }
    for skipped in skipped {
        writeln!(out, "{}", skipped.sentence())?;
    }
    if let Some(error) = error {
        return Err(anyhow!(error));
    }
    Ok(roots.ensure_whole(&applied)?)
}

/// A policy that lets nothing in, on every interface.
fn closed() -> Result<Source> {
    let text = "version = 1\n[[interface]]\nname = \"*\"\n";
    policy::resolve_with(text, "the fail mode `closed`", BTreeMap::new())
}
