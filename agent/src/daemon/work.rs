//! What takes time -> done beside the event loop, one thing after the other: putting a policy in place may
//! wait for another command's lock, listen for a second and keep the verifier busy, and meanwhile signals,
//! the control socket and the watchdog are still served.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, spawn_blocking};

use super::agent::Agent;

/// Work that takes longer than anything that is waited for on purpose hangs: then the watchdog is not told
/// that the agent is well.
const LONGEST: Duration = Duration::from_secs(120);

/// Work that is shorter is not worth telling: whoever asks how everything stands waits for its end.
pub(super) const SHORT: Duration = Duration::from_millis(500);

/// Gives the memory back that work has freed: a policy of ten thousand rules takes forty megabytes while it
/// is read and compiled, and five when it is in place.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing but memory that is free (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What the agent is busy with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// What it does.
    pub with: String,
    /// For so many seconds.
    pub seconds: f64,
}

/// The agent: at hand, or at work.
pub(super) enum Worker {
    /// It waits for something to do.
    Idle(Box<Agent>),
    /// It is at work.
    Busy(Work),
    /// It was lost: its work panicked.
    Lost,
}

/// Work that is being done.
pub(super) struct Work {
    what: &'static str,
    begun: Instant,
    thread: JoinHandle<(Box<Agent>, Result<()>)>,
}

impl Worker {
    /// The agent, where it is at hand.
    pub(super) fn idle(&mut self) -> Option<&mut Agent> {
        match self {
            Self::Idle(agent) => Some(agent),
            Self::Busy(_) | Self::Lost => None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle(_))
    }

    /// Has the agent do something, if it is at hand.
    pub(super) fn begin(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&mut Agent) -> Result<()> + Send + 'static,
    ) {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Idle(mut agent) => {
                let thread = spawn_blocking(move || {
                    let done = work(&mut agent);
                    agent.roots.forget_read();
                    give_memory_back();
                    (agent, done)
                });
                Self::Busy(Work { what, begun: Instant::now(), thread })
            }
            other => other,
        };
    }

    /// Returns when the work is done; never, where there is none. May be dropped while it waits.
    pub(super) async fn done(&mut self) -> Result<()> {
        let Self::Busy(work) = self else { return std::future::pending().await };
        let (what, ended) = (work.what, (&mut work.thread).await);
        let Ok((agent, done)) = ended else {
            *self = Self::Lost;
            return Err(anyhow!("{what} panicked"));
        };
        *self = Self::Idle(agent);
        done
    }

    /// What it is busy with; `None` where with nothing that takes long.
    pub(super) fn busy(&self) -> Option<Busy> {
        let Self::Busy(Work { what, begun, .. }) = self else { return None };
        (begun.elapsed() >= SHORT)
            .then(|| Busy { with: (*what).to_owned(), seconds: begun.elapsed().as_secs_f64() })
    }

    /// What it does.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Busy(work) => work.what,
            Self::Idle(_) | Self::Lost => "nothing",
        }
    }

    /// Whether nothing hangs.
    pub(super) fn is_well(&self) -> bool {
        match self {
            Self::Idle(_) => true,
            Self::Busy(Work { begun, .. }) => begun.elapsed() < LONGEST,
            Self::Lost => false,
        }
    }
}
