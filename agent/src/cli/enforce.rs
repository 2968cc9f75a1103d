//! What `apply` and `rollback` have in common: the guard, the swap, and what is said of it.

use std::{
    io::{self, Write, stdout},
    time::Instant,
};

use anyhow::Result;

use super::{Outcome, table::counted};
use crate::{
    datapath::{Mode, ensure_bpffs},
    generation::{Applied, ApplyOptions, Lock, Prepared, Roots, Wanted, detach_others, prepare_wanted},
    guard::{Cut, Seen, cuts},
    last_good::LastGood,
    policy::Enforcement,
};

/// Something that is about to be enforced.
pub(super) struct Enforcing<'a> {
    pub(super) roots: &'a Roots,
    pub(super) options: ApplyOptions,
    /// Whether it is enforced even if it locks the operator out.
    pub(super) force: bool,
    /// What is known to be good once it is in place; none where it is only tried.
    pub(super) good: Option<&'a LastGood>,
}

impl Enforcing<'_> {
    /// Enforces what `wanted` gives under the lock, and tells.
    pub(super) fn run(&self, wanted: impl FnOnce(&Lock) -> Result<Wanted>) -> Result<Outcome> {
        let start = Instant::now();
        // Said when everything is done: a reader who is gone must not stop it halfway.
        let mut said = Vec::new();
        let outcome = self.enforce(wanted, &mut said);
        if matches!(outcome, Ok(Outcome::Done)) {
            writeln!(said, "done in {} ms", start.elapsed().as_millis())?;
        }
        let printed = stdout().lock().write_all(&said);
        let outcome = outcome?;
        printed?;
        Ok(outcome)
    }

    fn enforce(&self, wanted: impl FnOnce(&Lock) -> Result<Wanted>, out: &mut Vec<u8>) -> Result<Outcome> {
        if ensure_bpffs(&self.roots.bpffs)? {
            writeln!(out, "mounted a BPF file system at {}", self.roots.bpffs.display())?;
        }
        let lock = self.roots.lock()?;
        let wanted = wanted(&lock)?;
        self.roots.follow_renames(&lock, |name| wanted.names(name))?;
        let prepared = prepare_wanted(self.roots, &lock, wanted.clone(), self.options)?;
        if !self.may(&prepared)? {
            prepared.abandon();
            return Ok(Outcome::Failed);
        }
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
        if let Some(Err(error)) = self.good.map(|good| good.keep(&self.roots.lasting)) {
            let lasting = self.roots.lasting.display();
            writeln!(out, "the policy is in place, but is not kept for the next boot: {lasting}: {error}")?;
        }
        for interface in detach_others(self.roots, &lock, &wanted)? {
            writeln!(out, "{interface}: detached, as the policy does not name it any more")?;
        }
        Ok(Outcome::Done)
    }

    /// Asks the guard; tells what would be cut.
    fn may(&self, prepared: &Prepared<'_>) -> Result<bool> {
        let found = Seen::now().and_then(|seen| cuts(prepared.candidates(), &seen));
        let found = match found {
            Ok(found) => found,
            Err(error) if self.force => {
                eprintln!("portcullis: forced: {error}");
                return Ok(true);
            }
            Err(error) => {
                eprintln!("portcullis: {error}; nothing has changed (--force applies it all the same)");
                return Ok(false);
            }
        };
        let may = self.force || !found.iter().any(|cut| cut.vital);
        warn(&found, if self.force { "forced" } else { "warning" });
        if !may {
            eprintln!("portcullis: refused; nothing has changed (--force applies it all the same)");
        }
        Ok(may)
    }
}

/// Tells on standard error what would be cut. What is vital is introduced by `vital`.
pub(super) fn warn(cuts: &[Cut], vital: &str) {
    for cut in cuts {
        let word = if cut.vital { vital } else { "warning" };
        eprintln!("portcullis: {word}: {cut}");
        if let Some(remedy) = cut.remedy.as_ref().filter(|_| cut.vital) {
            eprintln!("to leave it alone, add below `name = \"{}\"`:\n\n{remedy}", cut.interface);
        }
    }
}

fn describe(out: &mut impl Write, applied: &Applied) -> io::Result<()> {
    let Applied { manifest, replaced, adopted, .. } = applied;
    let verb = match manifest.mode {
        Enforcement::Enforce => "enforcing",
        Enforcement::Observe => "observing (nothing is dropped)",
    };
    let how = match manifest.xdp {
        Mode::Native => "native XDP",
        Mode::Generic => "generic XDP",
    };
    let swapped = if *replaced { ", swapped in" } else { "" };
    let interface = &manifest.interface;
    writeln!(
        out,
        "{interface}: {verb} {}, generation {}, {how}{swapped}",
        counted(manifest.rules.len(), "rule"),
        manifest.generation
    )?;
    match adopted {
        Ok(0) => {}
        Ok(count) => writeln!(
            out,
            "{interface}: adopted {} that this host had begun",
            counted(*count, "conversation")
        )?,
        Err(error) => eprintln!(
            "portcullis: {interface}: {error}: conversations that this host began before are not recognised"
        ),
    }
    if let Some(reason) = manifest.fallback.as_ref().filter(|_| !replaced) {
        writeln!(out, "{interface}: native XDP is not possible here ({reason}); generic XDP is slower")?;
    }
    Ok(())
}
