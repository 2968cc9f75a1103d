//! `portcullis agent`.

use std::{io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum};

use super::{Outcome, apply::trial, policy};
use crate::{
    daemon::{self, Settings},
    datapath::{chain, ensure_permission},
    generation::Roots,
    terminal::shown,
};

/// Arguments of `agent`.
#[derive(Debug, Args)]
#[command(after_help = "\
Events are printed as JSON lines on standard output, its own log on standard error. A policy that is \
not valid is refused, and the one before it goes on. Interfaces that appear, vanish or get another name \
are followed. Enforcement stays in place when the agent stops; `portcullis detach` ends it. `portcullis \
status` tells what the agent watches, `portcullis reload` makes it read the file at once. A service manager \
is told when the agent is ready, and that it lives (sd_notify).

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed, 2 the first policy cannot be read or is not valid.")]
pub(super) struct Agent {
    /// Policy file; it is applied again whenever it changes, and on SIGHUP
    #[arg(long, value_name = "FILE", default_value = policy::DEFAULT)]
    policy: PathBuf,
    /// Print the counters as a JSON line every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    stream: Option<u64>,
    /// Read the counters every so many seconds, to know when each rule last counted
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    sample: u64,
    /// Try changed files for so long, as 60s, where somebody is logged in who could be locked out; `off`
    /// enforces them at once
    // The packaged unit has one already; that of /etc/default/portcullis comes after it.
    #[arg(long, value_name = "DURATION", value_parser = tried, default_value = "off", overrides_with = "trial")]
    trial: Tried,
    /// Log what the kernel program says of each packet; debug costs speed
    #[arg(long, value_enum, default_value_t = KernelLog::Off, value_name = "LEVEL")]
    kernel_log: KernelLog,
}

/// How long changed files are tried; none where they are not.
#[derive(Clone, Copy, Debug)]
struct Tried(Option<Duration>);

fn tried(text: &str) -> Result<Tried, String> {
    if text == "off" {
        return Ok(Tried(None));
    }
    trial(text).map(|time| Tried(Some(time))).map_err(|error| format!("{error}, or off"))
}

/// What the kernel program's lines are logged under: its binary and module (ebpf/src/record.rs).
const KERNEL_PROGRAM: &str = "portcullis::record";

/// Levels of the kernel program's diagnostics, as aya-log numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KernelLog {
    /// Nothing
    Off,
    /// A line for every packet, with its slot
    Debug,
}

impl Agent {
    pub(super) fn run(self, roots: &Roots) -> Result<Outcome> {
        ensure_permission("enforcing a policy")?;
        let mut logger = env_logger::Builder::new();
        logger.filter_level(log::LevelFilter::Info);
        if self.kernel_log == KernelLog::Debug {
            logger.filter_module(KERNEL_PROGRAM, log::LevelFilter::Debug);
        }
        logger.format(|out, record| {
            let (level, target) = (record.level(), record.target());
            let message = record.args().to_string();
            writeln!(out, "[{} {level:<5} {target}] {}", out.timestamp(), shown(&message))
        });
        logger.parse_default_env().init();
        // A first policy that is not valid ends the command, as `apply` does.
        policy::read(&self.policy, policy::Reading::Trusted)?;
        let settings = Settings {
            policy: self.policy,
            stream: self.stream.map(Duration::from_secs),
            trial: self.trial.0,
            sample: Duration::from_secs(self.sample),
            kernel_log_level: match self.kernel_log {
                KernelLog::Off => 0,
                KernelLog::Debug => log::Level::Debug as u8,
            },
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the asynchronous runtime")?;
        // An agent must not end as if all were well because nobody reads its events any more: whatever ends it
        // is a failure.
        let ran = runtime.block_on(daemon::run(roots, &settings));
        // Work that did not end in time is not waited for.
        runtime.shutdown_background();
        ran.map_err(|error| anyhow!(chain(error.as_ref())))?;
        Ok(Outcome::Done)
    }
}
