//! `portcullis confirm`.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use super::{
    Outcome,
    enforce::{Detach, Enforcing, Guard, Step, good},
    saying::SayingArgs,
};
use crate::{
    datapath::ensure_permission,
    generation::{Pending, Roots, Stage},
};

/// Arguments of `confirm`.
#[derive(Debug, Args)]
#[command(after_help = "\
The policy that is tried, or evaluated as a shadow, becomes the one that is enforced.

Exit codes: 0 done, 1 there is nothing to confirm, or the trial has ended or ends within a second: then \
the policy before is in place.")]
pub(super) struct Confirm {
    /// Confirm a shadow even if it locks you out
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) saying: SayingArgs,
}

impl Confirm {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let begun = Instant::now();
        ensure_permission("confirming a policy")?;
        let stage = Pending::now(roots)?.stage()?;
        // Whoever confirms a trial has seen what it cuts; a shadow has not cut anything yet.
        let guard = if stage == Some(Stage::Shadow) { Guard::forced(self.force) } else { Guard::Sleeps };
        Enforcing::known(roots, guard, self.saying.saying(), begun).run(|settled| {
            let pending = Pending::now(roots)?;
            let not_after = match pending.stage()? {
                Some(Stage::Trial { deadline, .. }) => Some(deadline),
                Some(Stage::Shadow) => None,
                Some(Stage::Ended) => bail!("the trial has ended; the policy before it is in place"),
                None if settled => bail!("the trial had ended; the policy before it is in place again"),
                None => bail!("there is nothing to confirm: no trial and no shadow is running"),
            };
            let revisions = roots.revisions()?;
            let tried = revisions.iter().find(|revision| Some(revision.revision) == pending.revision());
            let Some(tried) = tried else {
                bail!("what is tried is not kept any more: apply the policy again");
            };
            let wanted = roots.wanted(tried)?;
            let good = good(&wanted);
            Ok(Some(Step { wanted, skipped: Vec::new(), not_after, detach: Detach::Others, good }))
        })
    }
}
