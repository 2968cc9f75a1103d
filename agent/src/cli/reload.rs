//! `portcullis reload`.

use std::io::Write as _;

use anyhow::{Result, bail};
use clap::Args;

use super::{
    Outcome,
    output::{Out, complain},
};
use crate::{
    daemon::{Answer, Request, ask},
    generation::Roots,
};

/// Arguments of `reload`.
#[derive(Debug, Args)]
#[command(after_help = "\
The agent follows its policy file by itself; this command does not wait for that, and tells the result.

Exit codes: 0 in place, 1 no agent runs or the kernel refused, 2 the policy is not valid. What was enforced \
before goes on in both last cases.")]
pub(super) struct Reload {}

impl Reload {
    #[allow(clippy::unused_self, reason = "all commands run alike")]
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        let state = roots.state.display();
        match ask(&roots.state, Request::Reload)? {
            None => bail!(
                "no agent is running with the state folder {state}: start it, or apply a policy with `portcullis apply`"
            ),
            Some(Answer::Reload { error: Some(error), invalid, .. }) => {
                complain(format_args!("the policy was refused, the one before it goes on: {error}"));
                Ok(if invalid { Outcome::BadInput } else { Outcome::Failed })
            }
            Some(Answer::Reload { applied, error: None, .. }) => {
                let mut out = Out::new();
                for (interface, generation) in &applied {
                    writeln!(out, "{interface}: generation {generation}")?;
                }
                if applied.is_empty() {
                    writeln!(out, "no interface of the policy is there yet")?;
                }
                Ok(Outcome::Done)
            }
            Some(other) => bail!("the agent, perhaps of another build, answers something else: {other:?}"),
        }
    }
}
