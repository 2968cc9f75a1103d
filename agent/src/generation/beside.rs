//! Trials and shadows: what a generation with two sets of rules means at a time, and how it ends.

use std::{fs, io, sync::Arc, time::Duration};

use nix::time::{ClockId, clock_gettime};

use super::{
    commit::Applied,
    known::{Found, found},
    manifest::{Beside, Manifest},
    store::{Lock, Roots, StoreError},
    wanted::{Wanted, WantedInterface},
};
use crate::datapath::Device;

/// A trial or a shadow that runs, or a trial that has ended and was not tidied up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The manifests, one an interface; none where nothing is pending.
    pub manifests: Vec<Manifest>,
}

/// What a trial or a shadow can be followed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// What holds again.
    pub wanted: Wanted,
    /// Interfaces on which nothing was enforced before.
    pub fresh: Vec<String>,
}

/// How far a trial or a shadow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A trial; how long it goes on, and its deadline on the kernel's clock.
    Trial {
        /// Time that is left.
        left: Duration,
        /// Nanoseconds on the kernel's monotonic clock.
        deadline: u64,
    },
    /// A trial that nobody confirmed.
    Ended,
    /// A shadow.
    Shadow,
}

impl Manifest {
    /// What holds at a time: a trial behind its deadline is what was before it, with what the tried
    /// rules have counted among the retired ones.
    #[must_use]
    pub(super) fn at(self, now: u64) -> Self {
        let Some(Beside::Trial { deadline, before }) = &self.beside else { return self };
        if now < *deadline {
            return self;
        }
        let revision = self.revision;
        let mut holds = match before {
            Some(before) => {
                let mut holds = Self {
                    generation: self.generation,
                    xdp: self.xdp,
                    interface: self.interface.clone(),
                    device: self.device,
                    carried: self.carried.clone(),
                    heritage: self.heritage.clone(),
                    ..(**before).clone()
                };
                let is_held = |slot| before.rules.iter().any(|held| held.slot == slot);
                let tried = self.rules.iter().chain(&self.retired);
                holds.retired = tried.filter(|rule| !is_held(rule.slot)).cloned().collect();
                holds
            }
            // Judged and counted as in the trial, and passed.
            None => Self { settings: self.settings.observed(), ..self.clone() },
        };
        holds.beside = Some(Beside::Ended { revision, before: before.clone() });
        holds
    }
}

impl Pending {
    /// What is pending now.
    ///
    /// # Errors
    ///
    /// Where the kernel or the state folder cannot be read.
    pub fn now(roots: &Roots) -> Result<Self, StoreError> {
        let mut manifests = Vec::new();
        for interface in roots.interfaces()? {
            if let Found::Active(manifest) = found(roots, &interface)?
                && manifest.beside.is_some()
            {
                manifests.push(Arc::unwrap_or_clone(manifest).at(now()?));
            }
        }
        Ok(Self { manifests })
    }

    /// How far it has come; `None` where nothing is pending. All interfaces are in the same stage, but
    /// for the moment in which a trial ends.
    ///
    /// # Errors
    ///
    /// Where the clock cannot be read.
    pub fn stage(&self) -> Result<Option<Stage>, StoreError> {
        let now = now()?;
        let stage = |beside: &Beside| match beside {
            Beside::Trial { deadline, .. } => {
                let left = Duration::from_nanos(deadline.saturating_sub(now));
                Stage::Trial { left, deadline: *deadline }
            }
            Beside::Ended { .. } => Stage::Ended,
            Beside::Shadow { .. } => Stage::Shadow,
        };
        let stages: Vec<Stage> =
            self.manifests.iter().filter_map(|manifest| manifest.beside.as_ref().map(stage)).collect();
        Ok(stages.iter().find(|stage| **stage == Stage::Ended).or(stages.first()).copied())
    }

    /// The revision that is tried or shadowed; `None` where there is none.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.manifests.iter().find_map(|manifest| match manifest.beside.as_ref()? {
            Beside::Trial { .. } => Some(manifest.revision),
            Beside::Ended { revision, .. } => Some(*revision),
            Beside::Shadow { candidate } => Some(candidate.revision),
        })
    }

    /// What holds again when it is given up; `None` where nothing is pending.
    #[must_use]
    pub fn back(&self) -> Option<Back> {
        let (mut interfaces, mut fresh, mut last) = (Vec::new(), Vec::new(), None);
        for manifest in &self.manifests {
            let before = match manifest.beside.as_ref()? {
                Beside::Trial { before, .. } | Beside::Ended { before, .. } => before.as_deref(),
                Beside::Shadow { .. } => Some(manifest),
            };
            match before {
                Some(before) => {
                    interfaces.push(WantedInterface::from(before));
                    last = Some(before);
                }
                None => fresh.push(manifest.interface.clone()),
            }
        }
        let named = last.or(self.manifests.first())?;
        let wanted = Wanted {
            policy: named.policy.clone(),
            text: String::new(),
            policy_sha256: named.policy_sha256.clone(),
            revision: Some(named.revision),
            interfaces,
        };
        Some(Back { wanted, fresh })
    }
}

/// What was tidied up.
#[derive(Default)]
pub struct Settled {
    /// The interfaces on which a trial had ended.
    pub interfaces: Vec<String>,
    /// The generations that are in place now, on those that were enforced before the trial.
    pub applied: Vec<Applied>,
}

/// Puts back what was before a trial that nobody confirmed, so that nothing of it is left in the
/// kernel.
///
/// # Errors
///
/// As in any change of policy.
pub fn settle(roots: &Roots, lock: &Lock) -> Result<Settled, super::ApplyError> {
    let pending = Pending::now(roots)?;
    if pending.stage()? != Some(Stage::Ended) {
        return Ok(Settled::default());
    }
    let interfaces = pending.manifests.iter().map(|manifest| manifest.interface.clone()).collect();
    let mut settled = Settled { interfaces, applied: Vec::new() };
    let Some(Back { wanted, fresh }) = pending.back() else { return Ok(settled) };
    if !wanted.interfaces.is_empty() {
        let prepared = super::prepare_wanted(roots, lock, wanted, super::ApplyOptions::default())?;
        let (applied, error) = prepared.commit();
        if let Some(error) = error {
            return Err(error);
        }
        settled.applied = applied;
    }
    for interface in fresh {
        super::detach(roots, lock, &interface)?;
    }
    Ok(settled)
}

/// What a program carries beside its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// Nothing; or its manifest cannot be had.
    Nothing,
    /// What was before a trial: its deadline on the kernel's clock, whether or not it is over.
    Trial(u64),
    /// A shadow.
    Shadow,
}

/// What a program of a device carries.
///
/// # Errors
///
/// Where the state folder cannot be read.
pub fn carried(roots: &Roots, device: Device, program: u32) -> Result<Carried, StoreError> {
    match roots.read_manifest(&roots.manifest(device, program)) {
        Ok(Some(manifest)) => Ok(match manifest.beside {
            None | Some(Beside::Ended { .. }) => Carried::Nothing,
            Some(Beside::Trial { deadline, .. }) => Carried::Trial(deadline),
            Some(Beside::Shadow { .. }) => Carried::Shadow,
        }),
        Ok(None) | Err(StoreError::Manifest { .. }) => Ok(Carried::Nothing),
        Err(error) => Err(error),
    }
}

/// The kernel's clock that programs read: nanoseconds of CLOCK_MONOTONIC_COARSE.
pub fn now() -> Result<u64, StoreError> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
    let time = time.map_err(|errno| StoreError::Clock(errno.into()))?;
    let nanoseconds = Duration::from(time).as_nanos();
    u64::try_from(nanoseconds).map_err(|_| StoreError::Clock(io::Error::other("it is out of range")))
}

/// Whether this process's monotonic clock is the kernel's own: a time namespace shifts it
/// (time_namespaces(7)).
pub(super) fn has_kernels_clock() -> bool {
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    offsets.lines().all(|line| {
        let mut words = line.split_whitespace();
        words.next() != Some("monotonic") || words.all(|number| number == "0")
    })
}
