//! How a policy file is applied: for whom, and what whoever asked for it wants.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{
    agent::Agent,
    control::{Answer, Reload},
};
use crate::host::Caller;

/// Longest and shortest trial, as `apply --confirm` has them.
const TRIALS: std::ops::RangeInclusive<f64> = 3.0..=86_400.0;

/// How a file is applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Manner {
    /// Who asked; nobody where the file changed.
    pub(super) caller: Caller,
    /// Whether it is applied whomever it locks out.
    pub(super) is_forced: bool,
    /// How long it is tried, unless somebody confirms it.
    pub(super) confirm: Option<Duration>,
    /// Whether it is the first of this agent.
    pub(super) is_first: bool,
}

/// Whoever asked for a reload.
pub(super) struct Asking {
    pub(super) manner: Manner,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Manner {
    /// That of what is put in place as it is: nothing else is known to have been in place before.
    pub(super) fn first() -> Self {
        Self { is_forced: true, is_first: true, ..Self::default() }
    }
}

impl Asking {
    /// What is asked; answers at once where it cannot be done.
    pub(super) fn of(request: Reload, process: Option<i32>, answer: oneshot::Sender<Answer>) -> Option<Self> {
        let Reload { sessions, force, confirm } = request;
        if let Some(seconds) = confirm.filter(|seconds| !TRIALS.contains(seconds)) {
            let error = format!("{seconds} seconds are no time to try a policy in: ask for 3 to 86400");
            // Whoever asked may be gone.
            let _ = answer.send(Answer::Misunderstood { error });
            return None;
        }
        let confirm = confirm.map(Duration::from_secs_f64);
        let caller = Caller { process, sessions };
        Some(Self { manner: Manner { caller, is_forced: force, confirm, is_first: false }, answer })
    }
}

impl Agent {
    /// Whether somebody still waits for a reload that is to be tried again.
    pub(super) fn is_waiting(&self) -> bool {
        self.again.is_some()
    }
}
