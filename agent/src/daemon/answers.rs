//! What the agent tells: answers to commands, a line for its service manager, counters.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{
    agent::{Agent, Refused},
    control::{Answer, Standing, Status, Watched},
    event::{Event, emit},
    manner::Asking,
    trying::Trying,
};
use crate::{cli::counted, counters::Report, datapath::chain, generation::active};

impl Agent {
    /// Answers whoever asked for a reload.
    pub(super) fn answer(&mut self, outcome: &Result<(), Refused>) {
        let Some(Asking { answer: asking, .. }) = self.asking.take() else { return };
        let mut applied = Vec::new();
        for interface in self.protected.keys() {
            if let Ok(Some(manifest)) = active(&self.roots, interface) {
                applied.push((interface.clone(), manifest.generation));
            }
        }
        let refused = outcome.as_ref().err();
        let answer = Answer::Reload {
            applied,
            errors: refused.map(|refused| refused.errors.clone()).unwrap_or_default(),
            invalid: refused.is_some_and(|refused| refused.invalid),
            cuts: self.cuts.clone(),
            trial: self.trying.as_ref().filter(|_| refused.is_none()).map(Trying::told),
        };
        // Whoever asked may have lost patience.
        let _ = asking.send(answer);
    }

    /// What is watched, and how it stands. Since when, and what is done meanwhile, is not known here.
    pub(super) fn status(&self) -> Result<Status> {
        let present = self.links.present()?;
        let mut interfaces = Vec::new();
        let policy = self.enforced.as_ref().map(|enforced| &enforced.policy);
        let full = policy.iter().flat_map(|policy| &policy.interfaces).filter(|entry| !entry.is_pattern());
        let names: BTreeSet<&str> =
            present.keys().map(String::as_str).chain(full.map(|entry| entry.name.as_str())).collect();
        for name in names.into_iter().filter(|name| self.covered(name)) {
            if let Some(skipped) = present.get(name).and_then(|identity| self.skips(name, *identity)) {
                let (interface, error) = (skipped.interface, Some(skipped.reason));
                interfaces.push(Watched { interface, standing: Standing::Skipped, error });
                continue;
            }
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
            uptime: 0,
            busy: None,
            policy: self.settings.policy.display().to_string(),
            refused: self.refused.clone(),
            interfaces,
        })
    }

    /// Whether something is attached to an interface; it may have been detached by hand.
    fn stands(&self, interface: &str) -> bool {
        let program = self.roots.attachment(interface).and_then(|attachment| Ok(attachment.program()?));
        matches!(program, Ok(Some(_)))
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

    /// Reads the counters of every interface, so that it is known when they counted.
    pub(super) fn sample(&self) -> Result<()> {
        for interface in self.roots.interfaces().unwrap_or_default() {
            if let Err(error) = self.report(&interface) {
                log::debug!("{interface}: {}", chain(error.as_ref()));
            }
        }
        Ok(())
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
        let Some(manifest) = active(&self.roots, interface)? else { return Ok(None) };
        let totals = self.roots.totals(&manifest)?;
        Ok(totals.map(|totals| Report::new(&manifest, &totals, &self.roots.note_reading(&manifest, &totals))))
    }
}
