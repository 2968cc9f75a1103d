//! What a change of policy came to: said when everything is done, to people or to programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{duration::humane, table::counted};
use crate::{
    datapath::Mode,
    generation::{Applied, ApplyStage, Beside, Manifest, Skipped},
    guard::Cut,
    policy::Enforcement,
    terminal::shown,
};

/// What a change of policy came to.
#[derive(Default, Serialize)]
pub(super) struct Report {
    /// Whether everything was in place before, and nothing was touched.
    pub(super) unchanged: bool,
    /// The revision that is in place, tried or shadowed.
    pub(super) revision: Option<u64>,
    /// The interfaces that the policy is in place on now.
    pub(super) interfaces: Vec<Enforced>,
    /// Those that a pattern of the policy covers and that cannot be judged.
    pub(super) skipped: Vec<Skipped>,
    /// Those that are not enforced any more.
    pub(super) detached: Vec<String>,
    /// Those on which a trial had ended, and what was before it was put back first.
    pub(super) reverted: Vec<String>,
    /// What the change cuts, or may cut.
    pub(super) cuts: Vec<Cut>,
    /// What may not be as it was meant, beside that.
    pub(super) warnings: Vec<String>,
    /// Whatever else is to be known.
    pub(super) remarks: Vec<String>,
    /// For how long the policy is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trial_seconds: Option<u64>,
    /// What each part took.
    milliseconds: Map<String, Value>,
    /// The same for people.
    #[serde(skip)]
    lines: Vec<String>,
}

/// An interface on which the policy is in place.
#[derive(Serialize)]
pub(super) struct Enforced {
    interface: String,
    /// `enforce`, `observe`, `trial` or `shadow`.
    stage: &'static str,
    generation: u64,
    rules: usize,
    xdp: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    /// Whether another generation was there before.
    replaced: bool,
    /// Conversations of this host that were adopted; null where they cannot be known.
    adopted: Option<usize>,
}

impl Report {
    /// Notes something that is only said to people.
    pub(super) fn line(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Notes something that is also said to programs.
    pub(super) fn remark(&mut self, remark: String) {
        self.lines.push(remark.clone());
        self.remarks.push(remark);
    }

    /// Notes how long everything took, and each part of it.
    pub(super) fn took(&mut self, all: Duration, parts: &[(&'static str, Duration)]) {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let told: Vec<String> =
            parts.iter().map(|(what, time)| format!("{} {what}", milliseconds(*time))).collect();
        self.line(format!("done in {} ms: {}", milliseconds(all), told.join(", ")));
        let named = parts.iter().map(|(what, time)| (what.replace(' ', "-"), milliseconds(*time).into()));
        self.milliseconds = named.collect();
        self.milliseconds.insert("all".to_owned(), milliseconds(all).into());
    }

    /// Notes that the policy is only tried.
    pub(super) fn is_trial(&mut self, time: Duration) {
        self.trial_seconds = Some(time.as_secs());
        let time = humane(time);
        self.line(format!("the policy before comes back in {time}; `portcullis confirm` keeps this one"));
    }

    /// Notes that a generation is in place already.
    pub(super) fn is_in_place(&mut self, manifest: &Manifest) {
        let rules = counted(manifest.rules.len(), "rule");
        let verb = if manifest.settings.mode == Enforcement::Enforce { "enforcing" } else { "observing" };
        let (interface, generation) = (&manifest.interface, manifest.generation);
        self.line(format!("{interface}: unchanged, {verb} {rules}, generation {generation}"));
        self.enforced(manifest, ApplyStage::Enforce, false, Some(0));
    }

    /// Notes a generation that was put in place.
    pub(super) fn is_applied(&mut self, applied: &Applied, stage: ApplyStage) {
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
        let (rules, generation) = (counted(manifest.rules.len(), "rule"), manifest.generation);
        self.line(format!("{interface}: {verb} {rules}, generation {generation}, {how}{swapped}"));
        if let Some(Beside::Shadow { candidate }) = &manifest.beside {
            let rules = counted(candidate.rules.len(), "rule");
            self.line(format!(
                "{interface}: {rules} evaluated beside; `portcullis shadow` tells what would differ"
            ));
        }
        match adopted {
            Ok(0) => {}
            Ok(count) => {
                let conversations = counted(*count, "conversation");
                self.line(format!("{interface}: adopted {conversations} that this host had begun"));
            }
            Err(error) => self.warnings.push(format!(
                "{interface}: {error}: conversations that this host began before are not recognised"
            )),
        }
        if let Some(reason) = manifest.fallback.as_ref().filter(|_| !replaced) {
            self.line(format!(
                "{interface}: native XDP is not possible here ({reason}); generic XDP is slower"
            ));
        }
        self.enforced(manifest, stage, *replaced, adopted.as_ref().ok().copied());
    }

    fn enforced(&mut self, manifest: &Manifest, stage: ApplyStage, replaced: bool, adopted: Option<usize>) {
        let mut revision = manifest.revision;
        let mut rules = manifest.rules.len();
        if let Some(Beside::Shadow { candidate }) = &manifest.beside {
            (revision, rules) = (candidate.revision, candidate.rules.len());
        }
        self.revision = Some(revision);
        self.interfaces.push(Enforced {
            interface: manifest.interface.clone(),
            stage: match (stage, manifest.settings.mode) {
                (ApplyStage::Trial { .. }, _) => "trial",
                (ApplyStage::Shadow, _) => "shadow",
                (ApplyStage::Enforce, Enforcement::Enforce) => "enforce",
                (ApplyStage::Enforce, Enforcement::Observe) => "observe",
            },
            generation: manifest.generation,
            rules,
            xdp: manifest.xdp,
            fallback: manifest.fallback.clone(),
            replaced,
            adopted,
        });
    }

    /// Writes it for people.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        self.lines.iter().try_for_each(|line| writeln!(out, "{}", shown(line)))
    }
}
