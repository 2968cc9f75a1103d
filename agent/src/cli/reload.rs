//! `portcullis reload`.

use std::{io::Write as _, time::Duration};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::{
    Outcome,
    apply::trial,
    duration::humane,
    enforce::{FORCE, warn},
    output::json,
    saying::{Saying, SayingArgs},
};
use crate::{
    daemon::{self, Answer, Request, ask},
    generation::Roots,
    guard::Cut,
    host::{conversations, own_sessions, sockets},
    problem::Complaint,
    terminal,
};

/// Arguments of `reload`.
#[derive(Debug, Args)]
#[command(after_help = "\
The agent follows its policy file by itself; this command does not wait for that, and tells the result. As \
`apply` does, the agent refuses a policy that would cut your own session, name servers, gateways or DHCP, and \
says which lines are missing in it.

With --confirm the policy is only tried: the kernel itself goes back to the policy before when the time is over, \
unless `portcullis confirm` keeps it.

Exit codes: 0 in place or tried, 1 no agent runs, the kernel refused, or it would lock you out, 2 the policy is \
not valid. What was enforced before goes on in both last cases.")]
pub(super) struct Reload {
    /// Try it for so long, as 60s or 5m, unless it is confirmed
    #[arg(long, value_name = "DURATION", value_parser = trial)]
    confirm: Option<Duration>,
    /// Apply it even if it locks you out
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) saying: SayingArgs,
}

/// What came of it, for programs: the words of `apply --json`.
#[derive(Serialize)]
struct Done<'a> {
    interfaces: Vec<InPlace<'a>>,
    cuts: &'a [Cut],
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_seconds: Option<f64>,
    /// The conversations of which one must be heard for the policy to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<Vec<String>>,
}

/// An interface, and the generation that is in place there.
#[derive(Serialize)]
struct InPlace<'a> {
    interface: &'a str,
    generation: u64,
}

impl<'a> Done<'a> {
    fn new(applied: &'a [(String, u64)], cuts: &'a [Cut], trial: Option<daemon::Trial>) -> Self {
        let (trial_seconds, waits_for) =
            trial.map(|daemon::Trial { seconds, waits_for }| (seconds, waits_for)).unzip();
        let in_place =
            |(interface, generation): &'a (String, u64)| InPlace { interface, generation: *generation };
        Self { interfaces: applied.iter().map(in_place).collect(), cuts, trial_seconds, waits_for }
    }
}

impl Reload {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let state = roots.state.display();
        // The agent knows its caller's process, and may be unable to look into it.
        let sessions = own_sessions(&conversations(&sockets()?));
        let confirm = self.confirm.map(|time| time.as_secs_f64());
        let request = Request::Reload(daemon::Reload { sessions, force: self.force, confirm });
        match ask(&roots.state, &request)? {
            None => bail!(
                "no agent is running with the state folder {state}: start it, or apply a policy with `portcullis apply`"
            ),
            Some(Answer::Reload { applied, errors, cuts, trial, .. }) if errors.is_empty() => {
                self.done(&applied, &cuts, trial)?;
                Ok(Outcome::Done)
            }
            Some(Answer::Reload { errors, invalid, cuts, .. }) => {
                self.refused(errors, &cuts)?;
                Ok(if invalid { Outcome::BadInput } else { Outcome::Failed })
            }
            Some(Answer::Misunderstood { error }) => {
                bail!("the agent, perhaps of another build, does not understand the request: {error}")
            }
            Some(other) => bail!("the agent, perhaps of another build, answers something else: {other:?}"),
        }
    }

    fn refused(&self, mut errors: Vec<Complaint>, cuts: &[Cut]) -> Result<()> {
        if let Some(last) = errors.last_mut().filter(|_| cuts.iter().any(|cut| cut.vital)) {
            last.help = Some(FORCE.to_owned());
        }
        if self.saying.saying() == Saying::Json {
            return json(&mut terminal::out(), &serde_json::json!({ "errors": errors, "cuts": cuts }));
        }
        warn(cuts, "refused");
        complain!("portcullis: the policy was refused, the one before it goes on");
        errors.iter().for_each(|error| complain!("{error}"));
        Ok(())
    }

    fn done(&self, applied: &[(String, u64)], cuts: &[Cut], trial: Option<daemon::Trial>) -> Result<()> {
        let mut out = terminal::out();
        match self.saying.saying() {
            Saying::Json => return json(&mut out, &Done::new(applied, cuts, trial)),
            saying => {
                warn(cuts, "forced");
                if saying == Saying::Quiet {
                    return Ok(());
                }
            }
        }
        for (interface, generation) in applied {
            writeln!(out, "{interface}: generation {generation}")?;
        }
        if applied.is_empty() {
            writeln!(out, "no interface of the policy is there yet")?;
        }
        if let Some(daemon::Trial { seconds, waits_for }) = trial {
            let time = humane(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            if waits_for.is_empty() {
                writeln!(out, "the policy before comes back in {time}; `portcullis confirm` keeps this one")?;
            } else {
                let talks = waits_for.join(", ");
                writeln!(out, "the policy before comes back in {time} unless something arrives of {talks}")?;
            }
        }
        Ok(())
    }
}
