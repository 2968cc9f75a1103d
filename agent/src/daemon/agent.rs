//! The agent's knowledge and its deeds: what is enforced where, and what to do when the policy or the
//! interfaces change.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::sync::oneshot;

use super::{
    Settings,
    changes::changes,
    control::{Answer, Asked, Request, Standing, Status, Watched},
    event::{Event, emit},
    kernel_log::KernelLog,
    links::{Identity, LinkWatch, Present},
};
use crate::{
    cli::{Reading, Source, counted, read_policy_text, resolve_policy},
    counters::Report,
    datapath::{self, DatapathError, Kept, chain},
    generation::{ApplyError, ApplyOptions, Lock, Roots, StoreError, active, detach, prepare},
    last_good::LastGood,
    policy::{Policy, Problems},
};

/// How long an interface that could not be protected waits for the next try: twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// What passes by itself, as another command that holds the lock, is waited for so long, and looked at as
/// often.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);
/// Interfaces that only a pattern covers, as those of dialled connections, come and go under ever new
/// names: as many that are gone keep their counters. Each costs half a megabyte for every processor.
const REMEMBERED: usize = 8;

/// An interface that should be protected and is not.
struct Unprotected {
    identity: Identity,
    error: String,
    tries: u32,
    next: Instant,
}

pub(super) struct Agent<'a> {
    roots: &'a Roots,
    settings: &'a Settings,
    links: &'a LinkWatch,
    /// What was last read from the policy's file, whether it was applied or refused.
    tried: Result<String, String>,
    enforced: Option<Source>,
    /// Why the file, as it is now, is refused.
    refused: Option<String>,
    /// Whoever waits to be told what came of a reload.
    asking: Vec<oneshot::Sender<Answer>>,
    started: Instant,
    /// When a reload that something passing stopped is tried again, and when it is given up.
    again: Option<(Instant, Instant)>,
    /// The interfaces that this agent has protected, as they were then.
    protected: Present,
    unprotected: BTreeMap<String, Unprotected>,
    /// The programs of interfaces, for when they are made anew.
    kept: BTreeMap<String, Kept>,
    /// Interfaces that only a pattern covers and that are gone, the one that went first in front.
    gone: VecDeque<String>,
    pub(super) kernel_log: KernelLog,
}

impl<'a> Agent<'a> {
    pub(super) fn new(roots: &'a Roots, settings: &'a Settings, links: &'a LinkWatch) -> Self {
        Self {
            roots,
            settings,
            links,
            tried: Ok(String::new()),
            enforced: None,
            refused: None,
            asking: Vec::new(),
            started: Instant::now(),
            again: None,
            protected: Present::new(),
            unprotected: BTreeMap::new(),
            kept: BTreeMap::new(),
            gone: VecDeque::new(),
            kernel_log: KernelLog::default(),
        }
    }

    /// Applies the file for the first time.
    pub(super) fn begin(&mut self) -> Result<()> {
        let text = read_policy_text(&self.settings.policy, Reading::Trusted)?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.apply(&text) {
            if !passes(&error) || Instant::now() > deadline {
                return Err(error);
            }
            std::thread::sleep(AGAIN);
        }
        self.tried = Ok(text);
        Ok(())
    }

    /// Applies the file where it changed, or in any case if `asked`.
    pub(super) fn reload(&mut self, asked: bool) -> Result<()> {
        let read = read_policy_text(&self.settings.policy, Reading::Trusted);
        let read = read.map_err(|error| chain(error.as_ref()));
        if !asked && read == self.tried {
            return Ok(());
        }
        let outcome = match &read {
            Ok(text) => match self.apply(text) {
                Err(error) if passes(&error) && self.waits_for_reload() => return Ok(()),
                Err(error) => Err((error.is::<Problems>(), chain(error.as_ref()))),
                Ok(()) => Ok(()),
            },
            Err(error) => Err((true, error.clone())),
        };
        self.again = None;
        self.tried = read;
        self.answer(&outcome)?;
        self.refused = outcome.err().map(|(_, error)| error);
        if let Some(error) = &self.refused {
            log::error!("the policy was refused, the one before it goes on: {error}");
            emit(&Event::Refused { error: error.clone() })?;
        }
        Ok(())
    }

    /// Answers whoever asked for a reload.
    fn answer(&mut self, outcome: &Result<(), (bool, String)>) -> Result<()> {
        if self.asking.is_empty() {
            return Ok(());
        }
        let mut applied = Vec::new();
        for interface in self.protected.keys() {
            if let Some(manifest) = active(self.roots, interface)? {
                applied.push((interface.clone(), manifest.generation));
            }
        }
        let refused = outcome.as_ref().err();
        let answer = Answer::Reload {
            applied,
            error: refused.map(|(_, error)| error.clone()),
            invalid: refused.is_some_and(|(invalid, _)| *invalid),
        };
        for asking in self.asking.drain(..) {
            // Whoever asked may have lost patience.
            let _ = asking.send(answer.clone());
        }
        Ok(())
    }

    /// Does what a command asks.
    pub(super) fn asked(&mut self, (request, answer): Asked) -> Result<()> {
        match request {
            Request::Reload => {
                self.asking.push(answer);
                self.reload(true)
            }
            Request::Status => {
                // Whoever asked may have lost patience.
                let _ = answer.send(Answer::Status(self.status()?));
                Ok(())
            }
        }
    }

    /// What is watched, and how it stands.
    fn status(&self) -> Result<Status> {
        let present = self.links.present()?;
        let mut interfaces = Vec::new();
        let policy = self.enforced.as_ref().map(|enforced| &enforced.policy);
        let full = policy.iter().flat_map(|policy| &policy.interfaces).filter(|entry| !entry.is_pattern());
        let names: BTreeSet<&str> =
            present.keys().map(String::as_str).chain(full.map(|entry| entry.name.as_str())).collect();
        for name in names.into_iter().filter(|name| self.covered(name)) {
            let trouble = self.unprotected.get(name);
            let standing = match (present.get(name), self.protected.get(name)) {
                (None, _) => Standing::Awaited,
                (there, known) if there == known && self.stands(name) => Standing::Protected,
                _ => Standing::Unprotected,
            };
            let error = trouble.map(|trouble| trouble.error.clone());
            interfaces.push(Watched { interface: name.to_owned(), standing, error });
        }
        Ok(Status {
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            policy: self.settings.policy.display().to_string(),
            refused: self.refused.clone(),
            interfaces,
        })
    }

    /// Whether something is attached to an interface; it may have been detached by hand.
    fn stands(&self, interface: &str) -> bool {
        matches!(self.roots.attachment(interface).program(), Ok(Some(_)))
    }

    /// One line for the service manager.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{} protected", counted(self.protected.len(), "interface"));
        if !self.unprotected.is_empty() {
            let names: Vec<&str> = self.unprotected.keys().map(String::as_str).collect();
            text = format!("{text}, not protected: {}", names.join(", "));
        }
        if let Some(error) = &self.refused {
            let first = error.lines().next().unwrap_or_default();
            text = format!("{text}; the policy file is refused: {first}");
        }
        text
    }

    /// Whether a reload that something passing stopped is still to be tried again, which is noted then.
    fn waits_for_reload(&mut self) -> bool {
        let now = Instant::now();
        let (_, deadline) = *self.again.get_or_insert((now, now + PATIENCE));
        self.again = Some((now + AGAIN, deadline));
        now < deadline
    }

    /// Puts a policy in place of the one before it, on every interface.
    fn apply(&mut self, text: &str) -> Result<()> {
        let source = resolve_policy(text, &self.settings.policy, Reading::Trusted)?;
        let policy = &source.policy;
        let lock = self.roots.lock()?;
        let present = self.links.present()?;
        let names: Vec<String> = present.keys().cloned().collect();
        let mut here = policy.on(&names);
        here.interfaces.retain(|entry| present.contains_key(&entry.name));
        let absent: Vec<&str> = policy
            .interfaces
            .iter()
            .filter(|entry| !entry.is_pattern() && !present.contains_key(&entry.name))
            .map(|entry| entry.name.as_str())
            .collect();
        self.ensure_no_slip(policy, &present, &absent)?;

        self.put(&lock, &here, &source, &present)?;
        for interface in self.roots.interfaces()? {
            let kept = policy.covering(&interface).is_some_and(|entry| {
                !entry.is_pattern() || present.contains_key(&interface) || self.gone.contains(&interface)
            });
            if !kept && detach(self.roots, &lock, &interface)? {
                log::info!("{interface}: detached, as the policy does not name it any more");
                emit(&Event::Detached { interface: &interface })?;
            }
        }
        self.protected.retain(|name, _| policy.covering(name).is_some());
        // Those of interfaces that are gone at the moment are of the policy before.
        self.kept.retain(|name, _| here.interfaces.iter().any(|entry| entry.name == *name));
        self.unprotected.clear();
        for interface in absent {
            log::warn!("{interface}: there is no such interface yet; it is protected when it appears");
            emit(&Event::Awaited { interface })?;
        }
        let good = LastGood::now(&policy.file, text, &source.files);
        if let Err(error) = good.keep(&self.roots.lasting) {
            let lasting = self.roots.lasting.display();
            log::warn!("the policy is in place, but is not kept for the next boot: {lasting}: {error}");
        }
        self.enforced = Some(source);
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
    fn put(&mut self, lock: &Lock, here: &Policy, source: &Source, present: &Present) -> Result<()> {
        let options = ApplyOptions { observe: false, log_level: self.settings.kernel_log_level };
        let prepared = prepare(self.roots, lock, here, &source.text, &source.catalog, options)?;
        let (applied, error) = prepared.commit();
        for mut generation in applied {
            match generation.programs.keep(generation.manifest.xdp) {
                Ok(kept) => drop(self.kept.insert(generation.manifest.interface.clone(), kept)),
                // Then they are loaded once more.
                Err(error) => log::debug!("{error}"),
            }
            let manifest = &generation.manifest;
            let name = &manifest.interface;
            log::info!("{name}: generation {} with {} rules", manifest.generation, manifest.rules.len());
            emit(&Event::applied(manifest))?;
            self.is_protected(&generation.manifest.interface, present);
            if self.settings.kernel_log_level > 0 {
                self.kernel_log.follow(generation);
            }
        }
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    fn is_protected(&mut self, interface: &str, present: &Present) {
        if let Some(identity) = present.get(interface) {
            self.protected.insert(interface.to_owned(), *identity);
        }
        self.unprotected.remove(interface);
        self.gone.retain(|gone| gone != interface);
    }

    /// Protects what appeared, and notes what is gone or has another name. Only the interfaces
    /// concerned are touched.
    pub(super) fn follow_interfaces(&mut self) -> Result<()> {
        let present = self.links.present()?;
        let changes = changes(&self.protected, &present);
        for (from, to) in changes.renamed {
            self.protected.remove(&from);
            log::info!("{from}: is called {to} now");
            emit(&Event::Renamed { interface: &from, to: &to })?;
            let covered = self.covered(&to);
            if !covered {
                log::warn!("{to}: the policy does not name it; what was enforced as {from} stays in place");
            } else if let Err(error) = self.take_along(&from, &to) {
                // Its old links keep new ones away, so that the reason is told with the next failure.
                log::error!("{to}: what was enforced as {from} cannot be taken along: {error}");
            }
        }
        for interface in changes.vanished {
            self.vanished(&interface, &present)?;
        }
        self.unprotected.retain(|name, trouble| present.get(name) == Some(&trouble.identity));
        for (interface, identity) in &present {
            let known = self.protected.contains_key(interface);
            let waits = |trouble: &Unprotected| trouble.next > Instant::now();
            let later = self.unprotected.get(interface).is_some_and(waits);
            if !known && !later && self.covered(interface) {
                self.protect(interface, *identity, &present)?;
            }
        }
        Ok(())
    }

    fn covered(&self, interface: &str) -> bool {
        self.enforced.as_ref().is_some_and(|enforced| enforced.policy.covering(interface).is_some())
    }

    fn take_along(&self, from: &str, to: &str) -> Result<(), StoreError> {
        self.roots.rename(&self.roots.lock()?, from, to)
    }

    /// Notes that an interface is gone, unless it only looked so.
    fn vanished(&mut self, interface: &str, present: &Present) -> Result<()> {
        if let (Some(identity), Ok(standing)) =
            (present.get(interface), self.roots.attachment(interface).standing())
            && !matches!(standing, datapath::Standing::Astray(_))
            && self.protected.get(interface).is_some_and(|known| known.has_index_of(*identity))
        {
            // Events were lost, and it is still the same; or it was detached by hand meanwhile.
            self.protected.insert(interface.to_owned(), *identity);
            return Ok(());
        }
        self.protected.remove(interface);
        log::info!("{interface}: is gone");
        emit(&Event::Vanished { interface })?;
        let full = |enforced: &Source| enforced.policy.interfaces.iter().any(|entry| entry.name == interface);
        if self.enforced.as_ref().is_some_and(full) {
            return Ok(());
        }
        self.gone.push_back(interface.to_owned());
        while self.gone.len() > REMEMBERED
            && let Some(oldest) = self.gone.pop_front()
        {
            let forgotten = self.roots.lock().map_err(ApplyError::from);
            self.kept.remove(&oldest);
            if let Err(error) = forgotten.and_then(|lock| detach(self.roots, &lock, &oldest)) {
                log::warn!("{oldest}: its counters cannot be forgotten: {}", chain(&error));
            }
        }
        Ok(())
    }

    /// Protects one interface by the policy that is enforced.
    fn protect(&mut self, interface: &str, identity: Identity, present: &Present) -> Result<()> {
        if self.resume(interface, present)? {
            return Ok(());
        }
        let Some(enforced) = self.enforced.take() else { return Ok(()) };
        let mut here = enforced.policy.on(&[interface.to_owned()]);
        here.interfaces.retain(|entry| entry.name == interface);
        let outcome =
            self.roots.lock().map_err(Into::into).and_then(|lock| self.put(&lock, &here, &enforced, present));
        self.enforced = Some(enforced);
        let Err(error) = outcome else { return Ok(()) };
        if nix::net::if_::if_nametoindex(interface).is_err() {
            // Gone again; the next event says so.
            return Ok(());
        }
        self.failed(interface, identity, &error)
    }

    /// Attaches the programs that an interface had before it was made anew: nothing has to be loaded
    /// then. Gives whether that was possible.
    fn resume(&mut self, interface: &str, present: &Present) -> Result<bool> {
        let Some(kept) = self.kept.get(interface) else { return Ok(false) };
        // Whatever fails here fails once more where it is told.
        let Ok(_lock) = self.roots.lock() else { return Ok(false) };
        match self.roots.attachment(interface).resume(kept) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                log::debug!("{error}");
                return Ok(false);
            }
        }
        if let Some(manifest) = active(self.roots, interface)? {
            log::info!("{interface}: generation {} again", manifest.generation);
            emit(&Event::applied(&manifest))?;
        }
        self.is_protected(interface, present);
        Ok(true)
    }

    /// Notes that an interface could not be protected, and tells it where the reason is new.
    fn failed(&mut self, interface: &str, identity: Identity, error: &anyhow::Error) -> Result<()> {
        let error = chain(error.as_ref());
        let before = self.unprotected.remove(interface);
        let tries = before.as_ref().map_or(0, |before| before.tries) + 1;
        let wait = FIRST_RETRY.saturating_mul(1 << tries.min(16)).min(LONGEST_RETRY);
        if before.is_none_or(|before| before.error != error) {
            log::error!("{interface}: not protected: {error}");
            emit(&Event::Unprotected { interface, error: &error })?;
        }
        let next = Instant::now() + wait;
        self.unprotected.insert(interface.to_owned(), Unprotected { identity, error, tries, next });
        Ok(())
    }

    /// When something that failed is to be tried again.
    pub(super) fn retry(&self) -> Option<Instant> {
        let reload = self.again.map(|(next, _)| next);
        self.unprotected.values().map(|trouble| trouble.next).chain(reload).min()
    }

    /// Tries again what is due.
    pub(super) fn try_again(&mut self) -> Result<()> {
        if self.again.is_some_and(|(next, _)| next <= Instant::now()) {
            self.reload(true)?;
        }
        self.follow_interfaces()
    }

    /// Prints the counters of every interface. What cannot be read now, as while another command
    /// detaches, may be read at the next tick.
    pub(super) fn stream(&self) -> Result<()> {
        let interfaces = self.roots.interfaces().unwrap_or_else(|error| {
            log::warn!("{error}");
            Vec::new()
        });
        for interface in interfaces {
            match self.report(&interface) {
                Ok(Some(report)) => emit(&Event::Counters { counters: &report })?,
                Ok(None) => {}
                Err(error) => log::warn!("{interface}: {}", chain(error.as_ref())),
            }
        }
        Ok(())
    }

    fn report(&self, interface: &str) -> Result<Option<Report>> {
        let Some(manifest) = active(self.roots, interface)? else { return Ok(None) };
        let totals = self.roots.attachment(interface).totals(manifest.slots())?;
        Ok(totals.map(|totals| Report::new(&manifest, &totals)))
    }
}

/// Whether what failed may go well a moment later: another command held the lock, or an interface went
/// while it was looked at.
fn passes(error: &anyhow::Error) -> bool {
    let store = |error: &StoreError| matches!(error, StoreError::Locked(_));
    match error.downcast_ref::<ApplyError>() {
        Some(ApplyError::Store(error)) => store(error),
        Some(ApplyError::Datapath { source, .. }) => matches!(source, DatapathError::NoInterface { .. }),
        Some(_) => false,
        None => error.downcast_ref::<StoreError>().is_some_and(store),
    }
}
