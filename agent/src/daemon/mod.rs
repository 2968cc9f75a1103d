//! The agent: keeps a policy file enforced, and tells what is counted.
//!
//! Enforcement itself needs no process; the agent only follows the file and the interfaces, applies what is
//! valid and refuses what is not, and streams events. When it stops, everything stays in place.

mod agent;
mod answers;
mod changes;
mod control;
mod event;
mod follow;
mod kernel_log;
mod links;
mod service;
mod watch;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval},
};

use self::{
    agent::Agent,
    control::Control,
    event::{Event, emit},
    links::LinkWatch,
    watch::FileWatch,
};
use crate::{datapath::ensure_bpffs, generation::Roots};

pub use self::control::{Answer, Request, Standing, Status, Watched, ask};

/// What the agent is asked to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Policy file.
    pub policy: PathBuf,
    /// How often counters are streamed.
    pub stream: Option<Duration>,
    /// Level of the kernel program's diagnostics; 0 is off.
    pub kernel_log_level: u8,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// Where the first policy cannot be applied, or standard output is gone. A later policy that cannot
/// be applied is an event, and the one before it goes on.
pub async fn run(roots: &Roots, settings: &Settings) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    // Before the first reading, so that no change falls between the two.
    let mut changes = FileWatch::new(&settings.policy)?;
    let links = LinkWatch::new()?;
    let mut tick = settings.stream.map(ticker);

    ensure_bpffs(&roots.bpffs)?;
    roots.create_state()?;
    let mut control = Control::new(&roots.state)?;
    let mut agent = Agent::new(roots, settings, &links);
    agent.begin()?;
    let mut told = agent.summary();
    service::ready(&told);
    let mut watchdog = service::watchdog().map(ticker);

    loop {
        tokio::select! {
            () = links.changed() => agent.follow_interfaces()?,
            () = until(agent.retry()) => agent.try_again()?,
            () = changes.changed() => agent.reload(false)?,
            _ = hangup.recv() => {
                service::reloading();
                agent.reload(true)?;
                told = agent.summary();
                service::ready(&told);
            }
            asked = control.asked() => agent.asked(asked)?,
            () = next(&mut watchdog) => service::alive(),
            () = next(&mut tick) => agent.stream()?,
            () = agent.kernel_log.drain() => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        let now = agent.summary();
        if now != told {
            service::status(&now);
            told = now;
        }
    }
    service::stopping();
    log::info!("stopped; enforcement stays in place (`portcullis detach` ends it)");
    emit(&Event::Stopped)
}

fn ticker(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// That moment; never, where none is set.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The next tick; never, where nothing is to be streamed.
async fn next(tick: &mut Option<Interval>) {
    match tick {
        Some(tick) => {
            tick.tick().await;
        }
        None => std::future::pending().await,
    }
}
