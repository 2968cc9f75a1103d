//! The agent's knowledge and its deeds: what is enforced where, and what to do when the policy or the
//! interfaces change.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{
    Settings,
    event::{Event, emit},
    follow::Unprotected,
    links::{LinkWatch, Present},
    manner::{Asking, Manner},
    mend::Hold,
    trying::Trying,
};
use crate::{
    cli::{Reading, Source, complaints, read_policy_text, resolve_policy},
    datapath::{DatapathError, Device, Kept, chain},
    generation::{
        Applied, ApplyError, ApplyOptions, ApplyStage, Carried, Here, Lock, Prepared, Roots, StoreError,
        Unwanted, Wanted, detach_others, prepare, prepare_wanted,
    },
    guard::{Cut, Refusal, Seen, cuts},
    last_good::LastGood,
    policy::{Policy, Problems},
    problem::Complaint,
};

/// What passes by itself, as another command that holds the lock, is waited for so long, and looked at as
/// often.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Agent {
    pub(super) roots: Roots,
    pub(super) settings: Settings,
    pub(super) links: Arc<LinkWatch>,
    /// Whether the agent is to stop: then nothing is waited for any more.
    pub(super) stopping: Arc<AtomicBool>,
    /// What was last read from the policy's file, whether it was applied or refused.
    pub(super) tried: Result<String, String>,
    pub(super) enforced: Option<Arc<Source>>,
    /// Why the file, as it is now, is refused.
    pub(super) refused: Option<String>,
    /// Whoever waits to be told what came of a reload.
    pub(super) asking: Option<Asking>,
    /// What the file cuts, or would, that was applied last.
    pub(super) cuts: Vec<Cut>,
    /// What is tried, and not decided yet.
    pub(super) trying: Option<Trying>,
    /// When a reload that something passing stopped is tried again, and when it is given up.
    pub(super) again: Option<(Instant, Instant)>,
    /// The interfaces that this agent has protected, as they were then.
    pub(super) protected: Present,
    pub(super) unprotected: BTreeMap<String, Unprotected>,
    /// Those that are left out, as it was told.
    pub(super) skipped: Present,
    /// The programs of interfaces, for when they are made anew.
    pub(super) kept: BTreeMap<String, Kept>,
    /// Whether this host forwarded what arrives at an interface, when its programs were loaded.
    pub(super) routing: BTreeMap<String, bool>,
    /// Links and maps, so that a pin that somebody removes opens nothing.
    pub(super) held: BTreeMap<Device, Hold>,
    /// Interfaces that only a pattern covers and that are gone, the one that went first in front.
    pub(super) gone: VecDeque<String>,
    /// Generations whose diagnostics are to be followed.
    pub(super) followed: Vec<Applied>,
    /// The programs that were last seen on each device, and what they carry.
    pub(super) trials: BTreeMap<Device, (u32, Carried)>,
    /// Whether the file waits for the end of a trial or a shadow.
    pub(super) postponed: bool,
}

/// Why a file is refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// Whether it cannot be read or is not valid, rather than refused by the kernel or the guard.
    pub(super) invalid: bool,
    /// What is wrong, for whoever asked.
    pub(super) errors: Vec<Complaint>,
    /// The same in one text.
    why: String,
}

impl Refused {
    fn new(error: &anyhow::Error, invalid: bool) -> Self {
        Self { invalid, errors: complaints(error), why: chain(error.as_ref()) }
    }
}

impl Agent {
    pub(super) fn new(
        roots: Roots,
        settings: Settings,
        links: Arc<LinkWatch>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Self {
            roots,
            settings,
            links,
            stopping,
            tried: Ok(String::new()),
            enforced: None,
            refused: None,
            asking: None,
            cuts: Vec::new(),
            trying: None,
            again: None,
            protected: Present::new(),
            unprotected: BTreeMap::new(),
            skipped: Present::new(),
            kept: BTreeMap::new(),
            routing: BTreeMap::new(),
            held: BTreeMap::new(),
            gone: VecDeque::new(),
            followed: Vec::new(),
            trials: BTreeMap::new(),
            postponed: false,
        }
    }

    /// Applies the file for somebody who asked for it.
    pub(super) fn reload_for(&mut self, asking: Asking) -> Result<()> {
        self.asking = Some(asking);
        self.reload(true)
    }

    /// Applies the file where it changed, or in any case if `asked`.
    pub(super) fn reload(&mut self, asked: bool) -> Result<()> {
        let read = read_policy_text(&self.settings.policy, Reading::Trusted);
        let read = read.map_err(|error| Refused::new(&error, true));
        let tried = read.as_ref().map_err(|refused| &refused.why);
        if !asked && tried == self.tried.as_ref() {
            return Ok(());
        }
        let mut postponed = false;
        let manner = self.asking.as_ref().map_or_else(Manner::default, |asking| asking.manner.clone());
        let outcome = match &read {
            Ok(text) => {
                match self.apply(text, &manner).inspect_err(|error| postponed = is_postponed(error)) {
                    Err(error) if passes(&error) && self.waits_for_reload() => return Ok(()),
                    Err(error) => Err(Refused::new(&error, error.is::<Problems>())),
                    Ok(()) => Ok(()),
                }
            }
            Err(refused) => Err(refused.clone()),
        };
        self.again = None;
        self.tried = read.map_err(|refused| refused.why);
        self.answer(&outcome);
        match outcome {
            Ok(()) => {
                (self.refused, self.postponed) = (None, false);
                Ok(())
            }
            Err(refused) => self.is_refused(refused.why, postponed),
        }
    }

    /// Notes and tells why the file is refused.
    pub(super) fn is_refused(&mut self, error: String, postponed: bool) -> Result<()> {
        log::error!("the policy was refused, the one before it goes on: {error}");
        emit(&Event::Refused { error: error.clone() })?;
        (self.refused, self.postponed) = (Some(error), postponed);
        Ok(())
    }

    /// Whether a reload that something passing stopped is still to be tried again, which is noted then.
    fn waits_for_reload(&mut self) -> bool {
        let now = Instant::now();
        let (_, deadline) = *self.again.get_or_insert((now, now + PATIENCE));
        self.again = Some((now + AGAIN, deadline));
        now < deadline
    }

    /// Puts a policy of this text in place of the one before it, on every interface, or tries it.
    fn apply(&mut self, text: &str, manner: &Manner) -> Result<()> {
        self.cuts.clear();
        let source = resolve_policy(text, &self.settings.policy, Reading::Trusted)?;
        self.apply_source(&Arc::new(source), manner, None)
    }

    /// As [`Self::apply`]. With `not_after`, it is what is tried already, and is kept if it is not too late for
    /// that.
    pub(super) fn apply_source(
        &mut self,
        source: &Arc<Source>,
        manner: &Manner,
        not_after: Option<u64>,
    ) -> Result<()> {
        let policy = &source.policy;
        let lock = self.roots.lock()?;
        self.roots.follow_renames(&lock, |name| policy.covering(name).is_some())?;
        let present = self.links.present()?;
        let links = present.iter().map(|(name, identity)| (name.clone(), identity.link())).collect();
        let Here { policy: mut here, skipped } = Here::new(policy, &links);
        here.interfaces.retain(|entry| present.contains_key(&entry.name));
        let absent: Vec<&str> = policy
            .interfaces
            .iter()
            .filter(|entry| !entry.is_pattern() && !present.contains_key(&entry.name))
            .map(|entry| entry.name.as_str())
            .collect();
        self.ensure_no_slip(policy, &present, &absent)?;

        let same =
            |enforced: &Arc<Source>| (&enforced.text, &enforced.files) == (&source.text, &source.files);
        let trying = match not_after {
            None if manner.confirm.is_some() || !self.enforced.as_ref().is_some_and(same) => {
                self.to_try(source, manner)?
            }
            _ => None,
        };
        let stage = trying.as_ref().map(|trying| ApplyStage::trial(trying.length)).transpose()?;
        let options = ApplyOptions {
            stage: stage.unwrap_or(ApplyStage::Enforce),
            not_after,
            ..ApplyOptions::default()
        };
        self.put(&lock, &here, source, &present, options, Some(manner))?;
        if let Some(trying) = trying {
            return self.begin_to_try(trying);
        }
        let kept = |name: &str| {
            !skipped.iter().any(|skipped| skipped.interface == name)
                && policy.covering(name).is_some_and(|entry| {
                    !entry.is_pattern()
                        || present.contains_key(name)
                        || self.gone.iter().any(|gone| gone == name)
                })
        };
        for unwanted in detach_others(&self.roots, &lock, kept)? {
            match unwanted {
                Unwanted::Detached(interface) => {
                    log::info!("{interface}: detached, as the policy does not name it any more");
                    emit(&Event::Detached { interface: &interface })?;
                }
                Unwanted::Renamed { name, before } => stays(&name, &before),
            }
        }
        self.protected.retain(|name, _| policy.covering(name).is_some());
        self.routing.retain(|name, _| policy.covering(name).is_some());
        // Those of interfaces that are gone at the moment are of the policy before.
        self.kept.retain(|name, _| here.interfaces.iter().any(|entry| entry.name == *name));
        self.unprotected.clear();
        for interface in absent {
            log::warn!("{interface}: there is no such interface yet; it is protected when it appears");
            emit(&Event::Awaited { interface })?;
        }
        let good = LastGood::now(&policy.file, &source.text, &source.files);
        if let Err(error) = good.keep(&self.roots.lasting) {
            let lasting = self.roots.lasting.display();
            log::warn!("the policy is in place, but is not kept for the next boot: {lasting}: {error}");
        }
        self.enforced = Some(Arc::clone(source));
        self.skipped.clear();
        for skipped in skipped {
            if let Some(identity) = present.get(&skipped.interface) {
                self.tell_skipped(skipped, *identity)?;
            }
        }
        Ok(())
    }

    /// A name that is misspelt must not leave an interface without protection: a change that would
    /// detach one is refused while it names another that is not there and was not named before.
    fn ensure_no_slip(&self, policy: &Policy, present: &Present, absent: &[&str]) -> Result<()> {
        let Some(before) = &self.enforced else { return Ok(()) };
        let new =
            absent.iter().find(|name| !before.policy.interfaces.iter().any(|entry| entry.name == **name));
        let left = self.protected.keys().find(|name| policy.covering(name).is_none());
        if let (Some(new), Some(left)) = (new, left) {
            let known: Vec<&str> = present.keys().map(String::as_str).filter(|name| *name != "lo").collect();
            bail!(
                "there is no interface `{new}` here; there are: {}; and `{left}` would not be protected any \
                 more: correct the name, or make the two changes one after the other",
                known.join(", ")
            );
        }
        Ok(())
    }

    /// Puts a policy of interfaces that are there in place.
    pub(super) fn put(
        &mut self,
        lock: &Lock,
        here: &Policy,
        source: &Source,
        present: &Present,
        options: ApplyOptions,
        manner: Option<&Manner>,
    ) -> Result<()> {
        let options = ApplyOptions { log_level: self.settings.kernel_log_level, ..options };
        // Prepared generations know where they belong; what becomes of them is noted here.
        let roots = self.roots.clone();
        let prepared = match options.not_after {
            None => prepare(&roots, lock, here, &source.text, &source.catalog, options)?,
            // What is in the way is the trial of this policy itself.
            Some(_) => {
                prepare_wanted(&roots, lock, Wanted::of(here, &source.text, &source.catalog), options)?
            }
        };
        if let Some(manner) = manner.filter(|manner| !manner.is_first && options.not_after.is_none())
            && let Err(error) = self.ask_the_guard(&prepared, manner)
        {
            prepared.abandon();
            return Err(error);
        }
        let (applied, error) = prepared.commit();
        for generation in applied {
            self.is_applied(generation, present)?;
        }
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Asks the guard; notes what is cut, and refuses where it is vital and whoever asked does not insist.
    fn ask_the_guard(&mut self, prepared: &Prepared<'_>, manner: &Manner) -> Result<()> {
        let found = match Seen::of(&manner.caller).and_then(|seen| cuts(prepared.candidates(), &seen)) {
            Ok(found) => found,
            Err(error) if manner.is_forced => {
                log::warn!("forced: {}", chain(&error));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.cuts.clone_from(&found);
        if !manner.is_forced && found.iter().any(|cut| cut.vital) {
            return Err(Refusal(found).into());
        }
        for cut in found.iter().filter(|cut| cut.vital) {
            log::warn!("forced: {cut}");
        }
        Ok(())
    }

    /// Notes and tells that a generation is in place.
    pub(super) fn is_applied(&mut self, generation: Applied, present: &Present) -> Result<()> {
        match generation.programs.keep(generation.manifest.xdp) {
            Ok(kept) => drop(self.kept.insert(generation.manifest.interface.clone(), kept)),
            // Then they are loaded once more.
            Err(error) => log::debug!("{error}"),
        }
        let manifest = &generation.manifest;
        let name = &manifest.interface;
        self.routing.insert(name.clone(), manifest.routes);
        log::info!("{name}: generation {} with {} rules", manifest.generation, manifest.rules.len());
        emit(&Event::applied(manifest))?;
        self.is_protected(&generation.manifest.interface, present);
        if self.settings.kernel_log_level > 0 {
            self.followed.push(generation);
        }
        Ok(())
    }

    pub(super) fn is_protected(&mut self, interface: &str, present: &Present) {
        if let Some(identity) = present.get(interface) {
            self.protected.insert(interface.to_owned(), *identity);
        }
        if let Err(error) = self.hold(interface) {
            log::debug!("{}", chain(&error));
        }
        self.unprotected.remove(interface);
        self.gone.retain(|gone| gone != interface);
    }
}

/// Tells that an interface that was renamed is enforced as before, under a name that the policy does not know.
pub(super) fn stays(name: &str, before: &str) {
    log::warn!("{name}: the policy does not name it; what was enforced as {before} stays in place");
}

/// Whether a trial or a shadow stands in the way.
pub(super) fn is_postponed(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ApplyError::Pending(_)))
}

/// Whether what failed may go well a moment later: another command held the lock, or an interface went
/// while it was looked at.
pub(super) fn passes(error: &anyhow::Error) -> bool {
    let store = |error: &StoreError| matches!(error, StoreError::Locked(_));
    match error.downcast_ref::<ApplyError>() {
        Some(ApplyError::Store(error)) => store(error),
        Some(ApplyError::Datapath { source, .. }) => matches!(source, DatapathError::NoInterface { .. }),
        Some(_) => false,
        None => error.downcast_ref::<StoreError>().is_some_and(store),
    }
}
