//! What `apply` and `rollback` have in common: the guard, the swap, and what is said of it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Outcome,
    output::json,
    policy::{self, Reading},
    report::Report,
    saying::Saying,
};
use crate::{
    datapath::ensure_lasting_bpffs,
    generation::{
        ApplyOptions, ApplyStage, Lock, Prepared, Roots, Skipped, Spent, Unwanted, Wanted, detach,
        detach_others, in_place, prepare_wanted, settle,
    },
    guard::{Cut, Seen, cuts},
    last_good::LastGood,
    problem::Complaint,
    terminal,
};

/// Something that is about to be enforced.
pub(super) struct Enforcing<'a> {
    pub(super) roots: &'a Roots,
    pub(super) options: ApplyOptions,
    pub(super) guard: Guard,
    /// Whether nothing is touched where all of it is in place already.
    pub(super) may_stay: bool,
    /// For how long it is tried.
    pub(super) trial: Option<Duration>,
    /// What is said, and how.
    pub(super) saying: Saying,
    /// When the command began.
    pub(super) begun: Instant,
}

impl<'a> Enforcing<'a> {
    /// One that puts back or confirms what is known, and says so.
    pub(super) fn known(roots: &'a Roots, guard: Guard, saying: Saying, begun: Instant) -> Self {
        let options = ApplyOptions::default();
        Self { roots, options, guard, may_stay: false, trial: None, saying, begun }
    }
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
    /// Interfaces that its patterns pass over.
    pub(super) skipped: Vec<Skipped>,
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
        let mut report = Report::default();
        let outcome = self.enforce(step, &mut report, &mut phases);
        if matches!(outcome, Ok(Outcome::Done)) {
            if !report.unchanged {
                report.took(self.begun.elapsed(), &phases.all);
            }
            if let Some(time) = self.trial {
                report.is_trial(time);
            }
        }
        let mut out = terminal::out();
        if self.saying != Saying::Json {
            report.warnings.iter().for_each(|warning| complain!("portcullis: {warning}"));
        }
        match self.saying {
            Saying::Json if outcome.is_ok() => json(&mut out, &report)?,
            Saying::Json => {}
            Saying::Quiet => report.remarks.iter().for_each(|remark| complain!("portcullis: {remark}")),
            Saying::All => report.print(&mut out)?,
        }
        outcome
    }

    fn enforce(
        &self,
        step: impl FnOnce(bool) -> Result<Option<Step>>,
        report: &mut Report,
        phases: &mut Phases,
    ) -> Result<Outcome> {
        let Self { roots, mut options, .. } = *self;
        let lock = roots.lock()?;
        report.reverted = settle(roots, &lock)?.interfaces;
        for interface in report.reverted.clone() {
            report
                .line(format!("{interface}: a trial had ended unconfirmed; what was before it is in place"));
        }
        let Some(Step { wanted, skipped, not_after, detach: gone, good }) =
            step(!report.reverted.is_empty())?
        else {
            return Ok(Outcome::Done);
        };
        skipped.iter().for_each(|skipped| report.line(skipped.sentence()));
        report.skipped = skipped;
        // Without one nothing is enforced: whoever has nothing to do leaves the host as it is.
        if ensure_lasting_bpffs(&roots.bpffs)? {
            report.remark(format!("mounted a BPF file system at {}", roots.bpffs.display()));
        }
        options.not_after = not_after;
        roots.follow_renames(&lock, |name| wanted.names(name))?;
        let standing = if self.may_stay { in_place(roots, &lock, &wanted, options)? } else { None };
        if let Some(manifests) = standing {
            manifests.iter().for_each(|manifest| report.is_in_place(manifest));
            report.unchanged = true;
        } else if !self.swap(&lock, wanted.clone(), options, report, phases)? {
            return Ok(Outcome::Failed);
        }
        if let Some(Err(error)) = good.map(|good| good.keep(&roots.lasting)) {
            let lasting = roots.lasting.display();
            report.remark(format!(
                "the policy is in place, but is not kept for the next boot: {lasting}: {error}"
            ));
        }
        match gone {
            // What a trial or a shadow does not name is decided when it is confirmed.
            Detach::Others if options.stage != ApplyStage::Enforce => {}
            Detach::Others => {
                for unwanted in detach_others(roots, &lock, |name| wanted.names(name))? {
                    match unwanted {
                        Unwanted::Detached(name) => {
                            report.line(format!("{name}: detached, as the policy does not name it any more"));
                            report.detached.push(name);
                        }
                        Unwanted::Renamed { name, before } => report.remark(format!(
                            "{name}: stays enforced as it was as `{before}`; the policy does not name it: name \
                             it, or end that with `portcullis detach {name}`"
                        )),
                    }
                }
            }
            Detach::Only(interfaces) => {
                for interface in interfaces {
                    detach(roots, &lock, &interface)?;
                    report.line(format!("{interface}: detached, as nothing was enforced there before"));
                    report.detached.push(interface);
                }
            }
        }
        report.unchanged &= report.detached.is_empty() && report.reverted.is_empty();
        Ok(Outcome::Done)
    }

    /// Loads what is wanted, asks the guard, and swaps it in. Gives false where the guard refuses.
    fn swap(
        &self,
        lock: &Lock,
        wanted: Wanted,
        options: ApplyOptions,
        report: &mut Report,
        phases: &mut Phases,
    ) -> Result<bool> {
        let prepared = prepare_wanted(self.roots, lock, wanted, options)?;
        let Spent { compiling, loading } = prepared.spent;
        phases.part("compiling", compiling);
        phases.part("loading", loading);
        phases.end("looking at what was before");
        if !self.may(&prepared, report)? {
            prepared.abandon();
            return Ok(false);
        }
        phases.end("asking the guard");
        let (applied, error) = prepared.commit();
        phases.end("swapping");
        for generation in &applied {
            report.is_applied(generation, options.stage);
        }
        if let Some(error) = error {
            return Err(error.into());
        }
        self.roots.ensure_whole(&applied)?;
        if applied.is_empty() {
            report.remark(
                "no interface here fits a name of the policy yet; the agent protects one that appears"
                    .to_owned(),
            );
        }
        Ok(true)
    }

    /// Asks the guard; tells what would be cut.
    fn may(&self, prepared: &Prepared<'_>, report: &mut Report) -> Result<bool> {
        // A shadow decides nothing.
        if self.guard == Guard::Sleeps || self.options.stage == ApplyStage::Shadow {
            return Ok(true);
        }
        let is_forced = self.guard == Guard::Warns;
        let to_program = self.saying == Saying::Json;
        let refused = |message: String, report: &Report| {
            let complaint = Complaint::new(message, Some(FORCE.to_owned()));
            if to_program {
                json(&mut terminal::out(), &serde_json::json!({ "errors": [complaint], "cuts": report.cuts }))
            } else {
                complain!("{complaint}");
                Ok(())
            }
        };
        let found = Seen::now().and_then(|seen| cuts(prepared.candidates(), &seen));
        report.cuts = match found {
            Ok(found) => found,
            Err(error) if is_forced => {
                report.warnings.push(format!("forced: {error}"));
                return Ok(true);
            }
            Err(error) => {
                refused(format!("{error}; nothing has changed"), report)?;
                return Ok(false);
            }
        };
        let may = is_forced || !report.cuts.iter().any(|cut| cut.vital);
        if !to_program {
            warn(&report.cuts, if is_forced { "forced" } else { "warning" });
        }
        if !may {
            refused("refused; nothing has changed".to_owned(), report)?;
        }
        Ok(may)
    }
}

/// What an operator can do where the guard refuses.
pub(super) const FORCE: &str = "`--force --confirm 60s` tries the policy all the same, and the kernel goes back by \
                                itself; `--force` alone enforces it";

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
