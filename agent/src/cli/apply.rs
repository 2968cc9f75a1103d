//! `portcullis apply`.

use std::{
    io::{Write, stdout},
    path::PathBuf,
    time::Instant,
};

use anyhow::Result;
use clap::Args;

use super::{Outcome, policy, table::counted};
use crate::{
    datapath::{Mode, ensure_bpffs, ensure_permission, interfaces},
    generation::{Applied, ApplyOptions, Roots, detach_unnamed, prepare},
    last_good::LastGood,
    policy::Enforcement,
};

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing changes unless everything was compiled, loaded and verified first; then each interface is \
swapped by one atomic step. An interface that an earlier policy protected and this one does not name \
is detached.

Exit codes: 0 enforced, 1 the kernel refused (what was enforced before still is), 2 the policy cannot be read or is not valid.")]
pub(super) struct Apply {
    /// Policy file
    policy: PathBuf,
    /// Count what would be dropped and drop nothing, whatever the policy says
    #[arg(long)]
    observe: bool,
}

impl Apply {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let start = Instant::now();
        ensure_permission("applying a policy")?;
        let Some(source) = policy::read(&self.policy, policy::Reading::Trusted) else {
            return Ok(Outcome::BadInput);
        };
        // Said when everything is done: a reader who is gone must not stop it halfway.
        let mut said = Vec::new();
        let outcome = self.enforce(roots, &source, &mut said);
        if outcome.is_ok() {
            writeln!(said, "done in {} ms", start.elapsed().as_millis())?;
        }
        let printed = stdout().lock().write_all(&said);
        outcome?;
        printed?;
        Ok(Outcome::Done)
    }

    fn enforce(&self, roots: &Roots, source: &policy::Source, out: &mut Vec<u8>) -> Result<()> {
        if ensure_bpffs(&roots.bpffs)? {
            writeln!(out, "mounted a BPF file system at {}", roots.bpffs.display())?;
        }
        let lock = roots.lock()?;
        let policy = source.policy.on(&interfaces());
        roots.follow_renames(&lock, |name| policy.interfaces.iter().any(|entry| entry.name == name))?;
        let options = ApplyOptions { observe: self.observe, ..ApplyOptions::default() };
        let prepared = prepare(roots, &lock, &policy, &source.text, &source.catalog, options)?;
        let (applied, error) = prepared.commit();
        for generation in &applied {
            describe(out, generation)?;
        }
        if let Some(error) = error {
            return Err(error.into());
        }
        if applied.is_empty() {
            writeln!(
                out,
                "no interface here fits a name of the policy yet; the agent protects one that appears"
            )?;
        }
        if !self.observe {
            let good = LastGood::now(&source.policy.file, &source.text, &source.files);
            if let Err(error) = good.keep(&roots.lasting) {
                let lasting = roots.lasting.display();
                writeln!(
                    out,
                    "the policy is in place, but is not kept for the next boot: {lasting}: {error}"
                )?;
            }
        }
        for interface in detach_unnamed(roots, &lock, &policy)? {
            writeln!(out, "{interface}: detached, as the policy does not name it any more")?;
        }
        Ok(())
    }
}

fn describe(out: &mut impl Write, applied: &Applied) -> std::io::Result<()> {
    let Applied { manifest, replaced, .. } = applied;
    let verb = match manifest.mode {
        Enforcement::Enforce => "enforcing",
        Enforcement::Observe => "observing (nothing is dropped)",
    };
    let how = match manifest.xdp {
        Mode::Native => "native XDP",
        Mode::Generic => "generic XDP",
    };
    let swapped = if *replaced { ", swapped in" } else { "" };
    writeln!(
        out,
        "{}: {verb} {}, generation {}, {how}{swapped}",
        manifest.interface,
        counted(manifest.rules.len(), "rule"),
        manifest.generation
    )?;
    if let Some(reason) = manifest.fallback.as_ref().filter(|_| !replaced) {
        writeln!(
            out,
            "{}: native XDP is not possible here ({reason}); generic XDP is slower",
            manifest.interface
        )?;
    }
    Ok(())
}
