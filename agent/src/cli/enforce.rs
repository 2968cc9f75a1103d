//! What `apply` and `rollback` have in common: the guard, the swap, and what is said of it.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Outcome,
    policy::{self, Reading},
    table::counted,
};
use crate::{
    datapath::{Mode, ensure_lasting_bpffs},
    generation::{
        Applied, ApplyOptions, ApplyStage, Beside, Prepared, Roots, Spent, Unwanted, Wanted, detach,
        detach_others, prepare_wanted, settle,
    },
    guard::{Cut, Seen, cuts},
    last_good::LastGood,
    policy::Enforcement,
    terminal,
};

/// Something that is about to be enforced.
pub(super) struct Enforcing<'a> {
    pub(super) roots: &'a Roots,
    pub(super) options: ApplyOptions,
    pub(super) guard: Guard,
    /// When the command began.
    pub(super) begun: Instant,
}

/// How long each part of a command took.
struct Phases {
    last: Instant,
    all: Vec<(&'static str, Duration)>,
}

impl Phases {
    /// What went on since the last one.
    fn end(&mut self, what: &'static str) {
        let now = Instant::now();
        self.all.push((what, now - self.last));
        self.last = now;
    }

    /// Takes a part out of the phase that is to be ended next.
    fn part(&mut self, what: &'static str, time: Duration) {
        self.all.push((what, time));
        self.last += time;
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (what, time)) in self.all.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{} {what}", time.as_millis())?;
        }
        Ok(())
    }
}

/// What the guard may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Refuse.
    Refuses,
    /// Tell.
    Warns,
    /// It is not asked: nothing is cut that was not cut before.
    Sleeps,
}

impl Guard {
    /// The guard of a command that may be forced.
    pub(super) fn forced(force: bool) -> Self {
        if force { Self::Warns } else { Self::Refuses }
    }
}

/// What is to be done under the lock.
pub(super) struct Step {
    pub(super) wanted: Wanted,
    /// Moment after which it is too late, on the kernel's clock.
    pub(super) not_after: Option<u64>,
    pub(super) detach: Detach,
    /// What is then known to be good, for the next boot; none where it is only tried.
    pub(super) good: Option<LastGood>,
}

/// Which interfaces are not enforced any more afterwards.
pub(super) enum Detach {
    /// Those that are not wanted.
    Others,
    /// These.
    Only(Vec<String>),
}

/// What an earlier revision leaves for the next boot: its text, and the catalog files that it names as they
/// are now. None where they cannot be read; then what was known to be good stays that.
pub(super) fn good(wanted: &Wanted) -> Option<LastGood> {
    let source = policy::resolve(&wanted.text, Path::new(&wanted.policy), Reading::Trusted).ok()?;
    Some(LastGood::now(&wanted.policy, &wanted.text, &source.files))
}

impl Enforcing<'_> {
    /// Does what `step` says under the lock, and tells. It is told whether a trial that had ended was
    /// tidied up first; nothing is left to do where it gives nothing.
    pub(super) fn run(&self, step: impl FnOnce(bool) -> Result<Option<Step>>) -> Result<Outcome> {
        let mut phases = Phases { last: self.begun, all: Vec::new() };
        phases.end("reading");
        // Said when everything is done: a reader who is gone must not stop it halfway.
        let mut said = Vec::new();
        let outcome = self.enforce(step, &mut said, &mut phases);
        if matches!(outcome, Ok(Outcome::Done)) {
            writeln!(said, "done in {} ms: {phases}", self.begun.elapsed().as_millis())?;
        }
        let printed = terminal::out().write_all(&said);
        let outcome = outcome?;
        printed?;
        Ok(outcome)
    }

    fn enforce(
        &self,
        step: impl FnOnce(bool) -> Result<Option<Step>>,
        out: &mut Vec<u8>,
        phases: &mut Phases,
    ) -> Result<Outcome> {
        let Self { roots, mut options, .. } = *self;
        let lock = roots.lock()?;
        let settled = settle(roots, &lock)?.interfaces;
        for interface in &settled {
            writeln!(out, "{interface}: a trial had ended unconfirmed; what was before it is in place")?;
        }
        let Some(Step { wanted, not_after, detach: gone, good }) = step(!settled.is_empty())? else {
            return Ok(Outcome::Done);
        };
        // Without one nothing is enforced: whoever has nothing to do leaves the host as it is.
        if ensure_lasting_bpffs(&roots.bpffs)? {
            writeln!(out, "mounted a BPF file system at {}", roots.bpffs.display())?;
        }
        options.not_after = not_after;
        roots.follow_renames(&lock, |name| wanted.names(name))?;
        let prepared = prepare_wanted(roots, &lock, wanted.clone(), options)?;
        let Spent { compiling, loading } = prepared.spent;
        phases.part("compiling", compiling);
        phases.part("loading", loading);
        phases.end("looking at what was before");
        if !self.may(&prepared)? {
            prepared.abandon();
            return Ok(Outcome::Failed);
        }
        phases.end("asking the guard");
        let (applied, error) = prepared.commit();
        phases.end("swapping");
        for generation in &applied {
            describe(out, generation, options.stage)?;
        }
        if let Some(error) = error {
            return Err(error.into());
        }
        roots.ensure_whole(&applied)?;
        if applied.is_empty() {
            writeln!(
                out,
                "no interface here fits a name of the policy yet; the agent protects one that appears"
            )?;
        }
        if let Some(Err(error)) = good.map(|good| good.keep(&roots.lasting)) {
            let lasting = roots.lasting.display();
            writeln!(out, "the policy is in place, but is not kept for the next boot: {lasting}: {error}")?;
        }
        match gone {
            // What a trial or a shadow does not name is decided when it is confirmed.
            Detach::Others if options.stage != ApplyStage::Enforce => {}
            Detach::Others => {
                for unwanted in detach_others(roots, &lock, |name| wanted.names(name))? {
                    match unwanted {
                        Unwanted::Detached(name) => {
                            writeln!(out, "{name}: detached, as the policy does not name it any more")?;
                        }
                        Unwanted::Renamed { name, before } => writeln!(
                            out,
                            "{name}: stays enforced as it was as `{before}`; the policy does not name it: name \
                             it, or end that with `portcullis detach {name}`"
                        )?,
                    }
                }
            }
            Detach::Only(interfaces) => {
                for interface in interfaces {
                    detach(roots, &lock, &interface)?;
                    writeln!(out, "{interface}: detached, as nothing was enforced there before")?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Asks the guard; tells what would be cut.
    fn may(&self, prepared: &Prepared<'_>) -> Result<bool> {
        // A shadow decides nothing.
        if self.guard == Guard::Sleeps || self.options.stage == ApplyStage::Shadow {
            return Ok(true);
        }
        let is_forced = self.guard == Guard::Warns;
        let found = Seen::now().and_then(|seen| cuts(prepared.candidates(), &seen));
        let found = match found {
            Ok(found) => found,
            Err(error) if is_forced => {
                complain!("portcullis: forced: {error}");
                return Ok(true);
            }
            Err(error) => {
                complain!("portcullis: {error}; nothing has changed (--force applies it all the same)");
                return Ok(false);
            }
        };
        let may = is_forced || !found.iter().any(|cut| cut.vital);
        warn(&found, if is_forced { "forced" } else { "warning" });
        if !may {
            complain!("portcullis: refused; nothing has changed (--force applies it all the same)");
        }
        Ok(may)
    }
}

/// Tells on standard error what would be cut. What is vital is introduced by `vital`.
pub(super) fn warn(cuts: &[Cut], vital: &str) {
    for cut in cuts {
        let word = if cut.vital { vital } else { "warning" };
        complain!("portcullis: {word}: {cut}");
        if let Some(remedy) = cut.remedy.as_ref().filter(|_| cut.vital) {
            complain!("to leave it alone, add below `name = \"{}\"`:\n", cut.interface);
            for line in remedy.lines() {
                complain!("{line}");
            }
            complain!("");
        }
    }
}

fn describe(out: &mut impl Write, applied: &Applied, stage: ApplyStage) -> io::Result<()> {
    let Applied { manifest, replaced, adopted, .. } = applied;
    let interface = &manifest.interface;
    let verb = match (stage, manifest.settings.mode) {
        (ApplyStage::Trial { .. }, _) => "trying",
        (ApplyStage::Shadow, _) => "going on with",
        (ApplyStage::Enforce, Enforcement::Enforce) => "enforcing",
        (ApplyStage::Enforce, Enforcement::Observe) => "observing (nothing is dropped)",
    };
    let how = match manifest.xdp {
        Mode::Native => "native XDP",
        Mode::Generic => "generic XDP",
    };
    let swapped = if *replaced { ", swapped in" } else { "" };
    let rules = counted(manifest.rules.len(), "rule");
    writeln!(out, "{interface}: {verb} {rules}, generation {}, {how}{swapped}", manifest.generation)?;
    if let Some(Beside::Shadow { candidate }) = &manifest.beside {
        let rules = counted(candidate.rules.len(), "rule");
        writeln!(out, "{interface}: {rules} evaluated beside; `portcullis shadow` tells what would differ")?;
    }
    match adopted {
        Ok(0) => {}
        Ok(count) => {
            let conversations = counted(*count, "conversation");
            writeln!(out, "{interface}: adopted {conversations} that this host had begun")?;
        }
        Err(error) => complain!(
            "portcullis: {interface}: {error}: conversations that this host began before are not recognised"
        ),
    }
    if let Some(reason) = manifest.fallback.as_ref().filter(|_| !replaced) {
        writeln!(out, "{interface}: native XDP is not possible here ({reason}); generic XDP is slower")?;
    }
    Ok(())
}
