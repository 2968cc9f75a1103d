//! `portcullis apply`.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;

use super::{Outcome, duration::duration, enforce::Enforcing, policy};
use crate::{
    datapath::{ensure_permission, interfaces},
    generation::{ApplyOptions, Roots, Wanted},
    last_good::LastGood,
};

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing changes unless everything was compiled, loaded and verified first; then each interface is \
swapped by one atomic step, all of them or none. An interface that an earlier policy protected and \
this one does not name is detached.

Before that, the new programs are asked about what this host is doing. A policy that would cut your \
own session, name servers, gateways or DHCP is refused, with the lines that are missing in it. What \
this host began before an interface was first enforced goes on.

Exit codes: 0 enforced, 1 refused by the kernel or because it would lock you out (what was enforced \
before still is), 2 the policy cannot be read or is not valid.")]
pub(super) struct Apply {
    /// Policy file
    policy: PathBuf,
    /// Count what would be dropped and drop nothing, whatever the policy says
    #[arg(long)]
    observe: bool,
    /// Apply it even if it locks you out
    #[arg(long)]
    force: bool,
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

impl Apply {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        ensure_permission("applying a policy")?;
        let Some(source) = policy::read(&self.policy, policy::Reading::Trusted) else {
            return Ok(Outcome::BadInput);
        };
        let here = source.policy.on(&interfaces());
        let options = ApplyOptions { observe: self.observe, learn: self.learn, ..ApplyOptions::default() };
        let wanted = Wanted::of(&here, &source.text, &source.catalog);
        let good = LastGood::now(&source.policy.file, &source.text, &source.files);
        let good = (!self.observe).then_some(&good);
        Enforcing { roots, options, force: self.force, good }.run(|_| Ok(wanted))
    }
}
