//! A file that is tried -> kept, because somebody who could be locked out is still heard, or left to the
//! kernel, which goes back by itself.
//!
//! Heard is a conversation that others had begun before the trial if a segment of it has reached its socket since
//! the swap, as the kernel counts them (`tcpi_segs_in` of tcp(7)): what the new policy drops never does. One that
//! both sides have ended meanwhile is heard, too, since that takes segments of both. Where the caller's session
//! is known, it alone counts; else one of the conversations with the SSH server does, whichever it is, so that
//! nobody who holds one can keep a policy from being enforced while another one goes on.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Result;

use super::{
    agent::Agent,
    control::Trial,
    event::{Event, emit},
    manner::Manner,
};
use crate::{
    cli::Source,
    datapath::chain,
    generation::{Pending, Stage, active},
    host::{Conversation, Ends, HostError, Transport, conversations, logins, segments, sockets},
};

/// Longer than a packet takes to its socket that was judged before the swap.
const ON_THE_WAY: Duration = Duration::from_millis(20);

/// A file that is tried.
pub(super) struct Trying {
    source: Arc<Source>,
    pub(super) length: Duration,
    /// What it is known by in the kernel's generations.
    revision: Option<u64>,
    /// Conversations of which one must be heard; none where somebody must confirm it.
    waits_for: Vec<Awaited>,
}

/// A conversation, and what had reached its socket when the trial began.
struct Awaited {
    ends: Ends,
    shown: String,
    before: Option<u32>,
}

impl Trying {
    /// What is told of it.
    pub(super) fn told(&self) -> Trial {
        Trial {
            seconds: self.length.as_secs_f64(),
            waits_for: self.waits_for.iter().map(|awaited| awaited.shown.clone()).collect(),
        }
    }
}

impl Agent {
    /// How a file is to be tried: for how long, and who must be heard. `None` where it is put in
    /// place at once.
    pub(super) fn to_try(&self, source: &Arc<Source>, manner: &Manner) -> Result<Option<Trying>, HostError> {
        let trying = |length, waits_for| {
            Some(Trying { source: Arc::clone(source), length, revision: None, waits_for })
        };
        if let Some(length) = manner.confirm {
            return Ok(trying(length, Vec::new()));
        }
        let Some(length) = self.settings.trial.filter(|_| !manner.is_forced && !manner.is_first) else {
            return Ok(None);
        };
        let waits_for = awaited(manner)?;
        Ok(if waits_for.is_empty() { None } else { trying(length, waits_for) })
    }

    /// Begins to listen, after the file was put in place.
    pub(super) fn begin_to_try(&mut self, mut trying: Trying) -> Result<()> {
        if !trying.waits_for.is_empty() {
            thread::sleep(ON_THE_WAY);
            let now = segments()?;
            for awaited in &mut trying.waits_for {
                awaited.before = now.get(&awaited.ends).copied();
            }
        }
        trying.revision = Pending::now(&self.roots)?.revision();
        let Trial { seconds, waits_for } = trying.told();
        log::info!("the policy is tried for {seconds} s");
        emit(&Event::Trying { seconds, waits_for: &waits_for })?;
        self.trying = Some(trying);
        Ok(())
    }

    /// Whether somebody is heard who had to be.
    pub(super) fn is_heard(&self) -> bool {
        let Some(Trying { waits_for, .. }) = &self.trying else { return false };
        if waits_for.is_empty() {
            return false;
        }
        let now = match segments() {
            Ok(now) => now,
            Err(error) => {
                log::debug!("{}", chain(&error));
                return false;
            }
        };
        waits_for.iter().any(|Awaited { ends, before, .. }| now.get(ends).copied() != *before)
    }

    /// Keeps what is tried.
    pub(super) fn keep_trial(&mut self) -> Result<()> {
        let Some(trying) = self.trying.take() else { return Ok(()) };
        let stage = Pending::now(&self.roots).and_then(|pending| pending.stage());
        let Ok(Some(Stage::Trial { deadline, .. })) = stage else {
            // It has just ended, which the next look finds.
            self.trying = Some(trying);
            return Ok(());
        };
        let manner = Manner { is_forced: true, ..Manner::default() };
        match self.apply_source(&trying.source, &manner, Some(deadline)) {
            Ok(()) => {
                log::info!("the policy that was tried is kept");
                emit(&Event::Kept)?;
            }
            Err(error) => {
                log::warn!("the policy that is tried cannot be kept yet: {}", chain(error.as_ref()));
                self.trying = Some(trying);
            }
        }
        Ok(())
    }

    /// Notes what became of a trial that this agent did not bring to its end.
    pub(super) fn forget_trial(&mut self) -> Result<()> {
        let Some(trying) = self.trying.take() else { return Ok(()) };
        let is_enforced = |name: &String| {
            let active = active(&self.roots, name).ok().flatten();
            active.is_some_and(|manifest| {
                manifest.beside.is_none() && Some(manifest.revision) == trying.revision
            })
        };
        if self.roots.interfaces().unwrap_or_default().iter().any(is_enforced) {
            log::info!("the policy that was tried was confirmed");
            self.enforced = Some(trying.source);
            return emit(&Event::Kept);
        }
        let Trial { seconds, waits_for } = trying.told();
        let why = if waits_for.is_empty() {
            "was not confirmed".to_owned()
        } else {
            format!("nothing was heard of {}", waits_for.join(", "))
        };
        let why = format!(
            "it was tried for {seconds} s, and {why}: the policy before it holds; mend the file, or apply it \
             all the same with `portcullis reload --force`"
        );
        self.is_refused(why, false)
    }
}

/// The conversations of which one must be heard.
fn awaited(manner: &Manner) -> Result<Vec<Awaited>, HostError> {
    let talks = conversations(&sockets()?);
    let callers = manner.caller.sockets(&talks);
    let counting = if callers.is_empty() { logins(&talks) } else { callers };
    let is_tcp = |talk: &&Conversation| talk.transport == Transport::Tcp && talk.is_established;
    let awaited = |talk: &Conversation| Awaited {
        ends: (talk.local, talk.remote),
        shown: talk.to_string(),
        before: None,
    };
    Ok(counting.into_iter().map(|index| &talks[index]).filter(is_tcp).map(awaited).collect())
}
