//! The policy file and what was last in place -> what is enforced when the agent starts.
//!
//! A file that is as it was when it was put in place is put in place again, as at a boot. One that was changed while
//! no agent ran is a change as any other: what was last in place is restored first, and then the guard is asked and
//! the file is tried, as while the agent runs.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Instant,
};

use anyhow::Result;

use super::{
    agent::{AGAIN, Agent, PATIENCE, is_postponed, passes},
    manner::Manner,
};
use crate::{
    cli::{Reading, Source, last_good, read_policy_text, resolve_policy},
    datapath::chain,
    generation::Roots,
    guard::Refusal,
    last_good::LastGoodError,
};

impl Agent {
    /// Puts in place what is to be enforced from the start.
    pub(super) fn begin(&mut self) -> Result<()> {
        let text = read_policy_text(&self.settings.policy, Reading::Trusted)?;
        let source = Arc::new(resolve_policy(&text, &self.settings.policy, Reading::Trusted)?);
        // The file has its turn, whatever becomes of it.
        self.tried = Ok(text);
        let manner = match self.before(&source) {
            None => Manner::first(),
            Some(before) => {
                log::info!("the policy file was changed since it was last in place");
                if is_to_be_restored(&self.roots, &before)
                    && let Err(error) = self.first(&Arc::new(before), &Manner::first())
                {
                    if is_postponed(&error) {
                        return self.is_refused(chain(error.as_ref()), true);
                    }
                    log::warn!("what was last in place cannot be restored: {}", chain(error.as_ref()));
                }
                Manner::default()
            }
        };
        let Err(error) = self.first(&source, &manner) else { return Ok(()) };
        // Somebody tries a policy: that goes on, and the file has its turn afterwards.
        let postponed = is_postponed(&error);
        if postponed || self.enforced.is_some() || error.is::<Refusal>() {
            return self.is_refused(chain(error.as_ref()), postponed);
        }
        Err(error)
    }

    /// What was last in place, where the file says something else by now.
    fn before(&self, source: &Source) -> Option<Source> {
        match last_good(&self.roots.lasting) {
            Ok(before) => {
                let is_same = (&before.text, &before.files) == (&source.text, &source.files);
                Some(before).filter(|_| !is_same)
            }
            Err(error) => {
                if !matches!(error.downcast_ref(), Some(LastGoodError::Never(_))) {
                    log::warn!("what was last in place is not known: {}", chain(error.as_ref()));
                }
                None
            }
        }
    }

    /// Applies a policy, and waits for what passes.
    fn first(&mut self, source: &Arc<Source>, manner: &Manner) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.cuts.clear();
            match self.apply_source(source, manner, None) {
                Err(error)
                    if passes(&error)
                        && Instant::now() <= deadline
                        && !self.stopping.load(Ordering::Relaxed) =>
                {
                    thread::sleep(AGAIN);
                }
                outcome => return outcome,
            }
        }
    }
}

/// Whether the kernel enforces nothing else meanwhile, as what is only observed, which is not known to be good.
fn is_to_be_restored(roots: &Roots, before: &Source) -> bool {
    let Ok(Some(active)) = roots.active_revision() else { return true };
    let revision = roots.revisions().ok().and_then(|all| all.into_iter().find(|one| one.revision == active));
    revision
        .and_then(|revision| roots.wanted(&revision).ok())
        .is_some_and(|wanted| wanted.text == before.text)
}
