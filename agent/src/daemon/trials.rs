//! A trial that nobody confirmed -> the policy before it alone, with nothing of the trial left.
//!
//! What is enforced is the kernel's affair: it goes back by itself. Here only programs, manifests and what is
//! told of them are brought in line, so that the next command finds no rest.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    agent::Agent,
    event::{Event, emit},
};
use crate::{
    datapath::{Attachment, Pinned, Place, chain},
    generation::{Carried, Settled, StoreError, carried, coarse_now, settle},
};

/// What is to be done about trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// One has ended, and is to be tidied up.
    TidyUp,
    /// What this agent tries is to be kept.
    Keep,
    /// What this agent tried was decided by somebody else.
    Forget,
    /// None is left, and the file waits for that.
    Reload,
}

impl Agent {
    /// What is to be done about trials, whoever began them. Costs a look at each device's link, unless
    /// another program hangs on it than before.
    pub(super) fn due(&mut self) -> Due {
        self.look_for_trials().unwrap_or_else(|error| {
            log::debug!("{}", chain(&error));
            Due::Nothing
        })
    }

    fn look_for_trials(&mut self) -> Result<Due, StoreError> {
        let (mut pending, mut ended, now) = (false, false, coarse_now()?);
        let mut seen = BTreeMap::new();
        for device in self.roots.devices()? {
            let pinned = Attachment::pinned(&self.roots.pins(device))?;
            let Some(Pinned { program, place: Place::Here(_) }) = pinned else { continue };
            let what = match self.trials.get(&device) {
                Some((known, what)) if *known == program => *what,
                _ => carried(&self.roots, device, program)?,
            };
            pending |= what != Carried::Nothing;
            ended |= matches!(what, Carried::Trial(deadline) if deadline <= now);
            seen.insert(device, (program, what));
        }
        self.trials = seen;
        self.roots.forget_read();
        Ok(match (ended, pending) {
            (true, _) => Due::TidyUp,
            (false, true) if self.is_heard() => Due::Keep,
            (false, false) if self.trying.is_some() => Due::Forget,
            (false, false) if self.postponed => Due::Reload,
            (false, _) => Due::Nothing,
        })
    }

    /// Tidies up what is left of a trial that has ended. What stands in the way, as another command that
    /// does the same, is gone at the next look.
    pub(super) fn tidy_up(&mut self) -> Result<()> {
        let settled = match self.roots.lock() {
            Ok(lock) => settle(&self.roots, &lock),
            Err(error) => Err(error.into()),
        };
        match settled {
            Ok(Settled { interfaces, applied }) => {
                for interface in &interfaces {
                    log::info!("{interface}: a trial has ended unconfirmed; what was before it is in place");
                    emit(&Event::Reverted { interface })?;
                }
                let present = self.links.present()?;
                for generation in applied {
                    self.is_applied(generation, &present)?;
                }
                self.forget_trial()?;
            }
            Err(error) => log::warn!("the rest of a trial that has ended stays for now: {}", chain(&error)),
        }
        Ok(())
    }
}
