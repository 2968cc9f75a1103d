//! Interfaces that appear, vanish, are made anew or get another name: only those concerned are touched.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    agent::{Agent, stays},
    changes::changes,
    event::{Event, emit},
    links::{Identity, Present},
};
use crate::{
    cli::Source,
    datapath::{Standing, chain, index_of},
    generation::{ApplyError, ApplyOptions, Skipped, StoreError, active, detach},
    host::forwards,
};

/// How long an interface that could not be protected waits for the next try: twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// Interfaces that only a pattern covers, as those of dialled connections, come and go under ever new
/// names: as many that are gone keep their counters. Each costs half a megabyte for every processor.
const REMEMBERED: usize = 8;

/// An interface that should be protected and is not.
pub(super) struct Unprotected {
    pub(super) identity: Identity,
    pub(super) error: String,
    tries: u32,
    next: Instant,
}

impl Agent {
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
                stays(&to, &from);
            } else if let Err(error) = self.take_along(&to) {
                log::error!("{to}: what is archived of {from} cannot be taken along: {error}");
            }
        }
        for interface in changes.vanished {
            self.vanished(&interface, &present)?;
        }
        self.unprotected.retain(|name, trouble| present.get(name) == Some(&trouble.identity));
        self.skipped.retain(|name, identity| present.get(name) == Some(identity));
        for (interface, identity) in &present {
            let known = self.protected.contains_key(interface);
            let waits = |trouble: &Unprotected| trouble.next > Instant::now();
            let later = self.unprotected.get(interface).is_some_and(waits);
            if known || later || !self.covered(interface) {
                continue;
            }
            if let Some(skipped) = self.skips(interface, *identity) {
                self.tell_skipped(skipped, *identity)?;
            } else {
                self.protect(interface, *identity, &present)?;
            }
        }
        Ok(())
    }

    pub(super) fn covered(&self, interface: &str) -> bool {
        self.enforced.as_ref().is_some_and(|enforced| enforced.policy.covering(interface).is_some())
    }

    /// An interface that only a pattern covers and that cannot be judged.
    pub(super) fn skips(&self, interface: &str, identity: Identity) -> Option<Skipped> {
        let entry = self.enforced.as_ref()?.policy.covering(interface)?;
        identity.link().err().filter(|_| entry.is_pattern()).map(|link| Skipped::new(interface, link))
    }

    /// Tells that an interface is left out, once for each policy.
    pub(super) fn tell_skipped(&mut self, skipped: Skipped, identity: Identity) -> Result<()> {
        let Skipped { interface, reason } = &skipped;
        if self.skipped.get(interface) != Some(&identity) {
            log::warn!("{}", skipped.sentence());
            emit(&Event::Skipped { interface, reason })?;
            self.skipped.insert(skipped.interface, identity);
        }
        Ok(())
    }

    fn take_along(&self, to: &str) -> Result<(), StoreError> {
        self.roots.follow_renames(&self.roots.lock()?, |name| name == to)
    }

    /// Notes that an interface is gone, unless it only looked so.
    fn vanished(&mut self, interface: &str, present: &Present) -> Result<()> {
        let standing = self.roots.attachment(interface).and_then(|attachment| Ok(attachment.standing()?));
        if let (Some(identity), Ok(standing)) = (present.get(interface), standing)
            && !matches!(standing, Standing::Astray(_))
            && self.protected.get(interface).is_some_and(|known| known.has_index_of(*identity))
        {
            if self.protected.get(interface).is_some_and(|known| known.link() != identity.link()) {
                log::info!("{interface}: its packets begin otherwise by now");
                self.protected.remove(interface);
                return Ok(());
            }
            // Events were lost, and it is still the same; or it was detached by hand meanwhile.
            self.protected.insert(interface.to_owned(), *identity);
            return Ok(());
        }
        self.protected.remove(interface);
        log::info!("{interface}: is gone");
        emit(&Event::Vanished { interface })?;
        let full =
            |enforced: &Arc<Source>| enforced.policy.interfaces.iter().any(|entry| entry.name == interface);
        if self.enforced.as_ref().is_some_and(full) {
            return Ok(());
        }
        self.gone.push_back(interface.to_owned());
        while self.gone.len() > REMEMBERED
            && let Some(oldest) = self.gone.pop_front()
        {
            let forgotten = self.roots.lock().map_err(ApplyError::from);
            self.kept.remove(&oldest);
            if let Err(error) = forgotten.and_then(|lock| detach(&self.roots, &lock, &oldest)) {
                log::warn!("{oldest}: its counters cannot be forgotten: {}", chain(&error));
            }
        }
        Ok(())
    }

    /// Protects one interface by the policy that is enforced.
    pub(super) fn protect(&mut self, interface: &str, identity: Identity, present: &Present) -> Result<()> {
        if self.resume(interface, present)? {
            return Ok(());
        }
        let Some(enforced) = self.enforced.take() else { return Ok(()) };
        // Nothing that ran before ran over this interface: there is nobody to listen to, and no time for it.
        let mut here = enforced.policy.on(&[interface.to_owned()]);
        here.interfaces.retain(|entry| entry.name == interface);
        let options = ApplyOptions { learn: Duration::ZERO, ..ApplyOptions::default() };
        let outcome = self
            .roots
            .lock()
            .map_err(Into::into)
            .and_then(|lock| self.put(&lock, &here, &enforced, present, options, None));
        self.enforced = Some(enforced);
        let Err(error) = outcome else { return Ok(()) };
        if index_of(interface).is_none() {
            // Gone again; the next event says so.
            return Ok(());
        }
        self.failed(interface, identity, &error)
    }

    /// Attaches the programs that an interface had before it was made anew: nothing has to be loaded
    /// then. Gives whether that was possible.
    fn resume(&mut self, interface: &str, present: &Present) -> Result<bool> {
        if self.routing.get(interface).is_none_or(|known| forwards(interface).ok() != Some(*known)) {
            // They would not judge as this host forwards now.
            return Ok(false);
        }
        let Some(kept) = self.kept.get(interface) else { return Ok(false) };
        // Whatever fails here fails once more where it is told.
        let Ok(lock) = self.roots.lock() else { return Ok(false) };
        let attachment = self
            .roots
            .inherit(&lock, interface)
            .and_then(|()| self.roots.attachment(interface).map_err(ApplyError::from));
        let Ok(attachment) = attachment else { return Ok(false) };
        match attachment.resume(kept) {
            Ok(true) => self.roots.note_attached(attachment.device())?,
            Ok(false) => return Ok(false),
            Err(error) => {
                log::debug!("{error}");
                return Ok(false);
            }
        }
        if let Ok(Some(manifest)) = active(&self.roots, interface) {
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
}
