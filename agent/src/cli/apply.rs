//! `portcullis apply`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;

use super::{
    Outcome,
    duration::duration,
    enforce::{Detach, Enforcing, Guard, Step},
    policy,
    saying::SayingArgs,
};
use crate::{
    datapath::{LinkType, ensure_permission},
    generation::{ApplyError, ApplyOptions, ApplyStage, Here, Pending, Roots, Stage, Wanted},
    last_good::LastGood,
};

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing changes unless everything was compiled, loaded and verified first; then each interface is \
swapped by one atomic step, all of them or none. An interface that an earlier policy protected and \
this one does not name is detached.

A policy that is in place already, by this very program, is left alone: `unchanged`. Whatever is missing or is \
otherwise than it should be is put in place anew.

Before that, the new programs are asked about what this host is doing. A policy that would cut your \
own session, name servers, gateways or DHCP is refused, with the lines that are missing in it. What \
this host began before an interface was first enforced goes on.

With --confirm the policy is only tried. The kernel itself goes back to the policy before when the time is \
over, whatever became of this command, of the agent and of your session; `portcullis confirm` keeps the \
policy, `portcullis rollback` ends the trial at once. With --shadow nothing changes but that the policy is \
evaluated beside the active one, and counted where it would decide otherwise (`portcullis shadow`).

Exit codes: 0 enforced, or unchanged, 1 refused by the kernel or because it would lock you out (what was enforced \
before still is), 2 the policy cannot be read or is not valid.")]
pub(super) struct Apply {
    /// Policy file; `-` is standard input
    #[arg(default_value = policy::DEFAULT)]
    policy: PathBuf,
    /// Count what would be dropped and drop nothing, whatever the policy says
    #[arg(long)]
    observe: bool,
    /// Try it for so long, as 60s or 5m, unless it is confirmed
    #[arg(long, value_name = "DURATION", value_parser = trial, conflicts_with = "shadow")]
    confirm: Option<Duration>,
    /// Only evaluate it, beside the policy that is enforced
    #[arg(long, conflicts_with = "observe")]
    shadow: bool,
    /// Apply it even if it locks you out
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) saying: SayingArgs,
    /// How long to listen on an interface that was not enforced before, where a socket may be waiting
    /// for datagrams from somebody whom the kernel does not know; at most a minute
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = learning)]
    learn: Duration,
}

/// Longest time to listen.
const LONGEST: Duration = Duration::from_secs(60);

fn learning(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time <= LONGEST { Ok(time) } else { Err(format!("`{text}` is more than a minute")) }
}

/// Shortest and longest trial.
const TRIALS: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(24 * 3600)];

pub(super) fn trial(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let [shortest, longest] = TRIALS;
    if (shortest..=longest).contains(&time) {
        Ok(time)
    } else {
        Err(format!("`{text}` is no time to try a policy in: write 3s to 24h"))
    }
}

impl Apply {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let begun = Instant::now();
        ensure_permission("applying a policy")?;
        let source = policy::read(&self.policy, policy::Reading::Trusted)?;
        let stage = match self.confirm {
            Some(time) => ApplyStage::trial(time)?,
            None if self.shadow => ApplyStage::Shadow,
            None => ApplyStage::Enforce,
        };
        let options =
            ApplyOptions { observe: self.observe, learn: self.learn, stage, ..ApplyOptions::default() };
        let Here { policy, skipped } = Here::new(&source.policy, &LinkType::of_all()?);
        let wanted = Wanted::of(&policy, &source.text, &source.catalog);
        let good = (stage == ApplyStage::Enforce && !self.observe)
            .then(|| LastGood::now(&source.policy.file, &source.text, &source.files));
        let saying = self.saying.saying();
        let (guard, may_stay) = (Guard::forced(self.force), stage == ApplyStage::Enforce);
        Enforcing { roots, options, guard, may_stay, trial: self.confirm, saying, begun }.run(|_| {
            match Pending::now(roots)?.stage()? {
                Some(Stage::Shadow) => return Err(ApplyError::Pending("a shadow").into()),
                Some(_) => return Err(ApplyError::Pending("a trial").into()),
                None => {}
            }
            Ok(Some(Step { wanted, skipped, not_after: None, detach: Detach::Others, good }))
        })
    }
}
