//! `portcullis rollback`.

use std::{io::Write as _, time::Instant};

use anyhow::{Result, bail};
use clap::Args;

use super::{
    Outcome,
    enforce::{Detach, Enforcing, Guard, Step, good},
    output::json,
    saying::SayingArgs,
    table::{date, table},
};
use crate::{
    cli::table::lines,
    datapath::ensure_permission,
    generation::{Back, KEPT, Pending, Revision, Roots, Wanted},
    terminal,
};

/// Arguments of `rollback`.
#[derive(Debug, Args)]
#[command(after_help = "\
A trial or a shadow that runs is ended, and that is all. Otherwise the policy before the active one is put \
back: what was enforced, rule by rule, whatever became of the policy file, its catalogs \
and documents since. The policy file itself is not changed: mend it before you apply it again.

Exit codes: 0 done, 1 there is no earlier policy, or it was refused as by `apply`.")]
pub(super) struct Rollback {
    /// Show the policies that are kept, and change nothing
    #[arg(long, conflicts_with_all = ["force", "quiet"])]
    list: bool,
    #[command(flatten)]
    pub(super) saying: SayingArgs,
    /// Put it back even if it locks you out
    #[arg(long)]
    force: bool,
}

impl Rollback {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let begun = Instant::now();
        if self.list {
            return self.list(roots);
        }
        ensure_permission("putting back a policy")?;
        Enforcing::known(roots, Guard::forced(self.force), self.saying.saying(), begun).run(|settled| {
            // The trial that was to be ended had ended by itself.
            if settled {
                return Ok(None);
            }
            let (wanted, detach) = match Pending::now(roots)?.back() {
                Some(Back { wanted, fresh }) => (wanted, Detach::Only(fresh)),
                None => (earlier(roots)?, Detach::Others),
            };
            let good = good(&wanted);
            Ok(Some(Step { wanted, skipped: Vec::new(), not_after: None, detach, good }))
        })
    }

    fn list(&self, roots: &Roots) -> Result<Outcome> {
        let (revisions, active) = (roots.revisions()?, roots.active_revision()?);
        let mut out = terminal::out();
        if self.saying.json {
            json(&mut out, &serde_json::json!({ "active": active, "revisions": revisions }))?;
            return Ok(Outcome::Done);
        }
        if revisions.is_empty() {
            writeln!(out, "nothing was applied yet; `portcullis apply POLICY` begins")?;
            return Ok(Outcome::Done);
        }
        let mut table =
            table(&["", "REVISION", "AFTER", "APPLIED", "INTERFACES", "POLICY", "SHA-256"], &[1, 2]);
        for revision in &revisions {
            table.add_row([
                if Some(revision.revision) == active { "active" } else { "" }.to_owned(),
                revision.revision.to_string(),
                revision.previous.map(|previous| previous.to_string()).unwrap_or_default(),
                date(revision.applied),
                revision.interfaces.join(","),
                revision.policy.clone(),
                revision.policy_sha256.chars().take(12).collect(),
            ]);
        }
        out.write_all(lines(&table).as_bytes())?;
        Ok(Outcome::Done)
    }
}

/// What was enforced before the active policy.
fn earlier(roots: &Roots) -> Result<Wanted> {
    let revisions = roots.revisions()?;
    let find = |number: u64| revisions.iter().find(|revision| revision.revision == number);
    let Some(active) = roots.active_revision()? else {
        bail!("no interface is enforced, so there is nothing to roll back");
    };
    let Some(previous) = find(active).and_then(|revision: &Revision| revision.previous) else {
        bail!("there is no policy before this one; `portcullis detach --all` ends enforcement");
    };
    let Some(revision) = find(previous) else {
        bail!("the policy before this one is not kept any more: only {KEPT} are");
    };
    Ok(roots.wanted(revision)?)
}
