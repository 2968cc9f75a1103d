//! The agent: keeps a policy file enforced, and tells what is counted.
//!
//! Enforcement itself needs no process; the agent only follows the file, applies what is valid and
//! refuses what is not, and streams events. When it stops, everything stays in place.

mod event;
mod kernel_log;
mod watch;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval},
};

use self::{
    event::{Event, emit},
    kernel_log::KernelLog,
    watch::FileWatch,
};
use crate::{
    cli::{read_policy_text, resolve_policy},
    counters::Report,
    datapath::{chain, ensure_bpffs},
    generation::{ApplyOptions, Roots, active, detach_unnamed, prepare},
};

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
    let mut tick = settings.stream.map(ticker);

    ensure_bpffs(&roots.bpffs)?;
    let text = read_policy_text(&settings.policy)?;
    let mut agent = Agent { roots, settings, tried: Ok(String::new()), kernel_log: KernelLog::default() };
    agent.apply(&text)?;
    agent.tried = Ok(text);

    loop {
        tokio::select! {
            () = changes.changed() => agent.reload(false)?,
            _ = hangup.recv() => agent.reload(true)?,
            () = next(&mut tick) => agent.stream()?,
            () = agent.kernel_log.drain() => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    log::info!("stopped; enforcement stays in place (`portcullis detach` ends it)");
    emit(&Event::Stopped)
}

struct Agent<'a> {
    roots: &'a Roots,
    settings: &'a Settings,
    /// What was last read from the policy's file, whether it was applied or refused.
    tried: Result<String, String>,
    kernel_log: KernelLog,
}

impl Agent<'_> {
    /// Applies the file where it changed, or in any case if `asked`.
    fn reload(&mut self, asked: bool) -> Result<()> {
        let read = read_policy_text(&self.settings.policy).map_err(|error| chain(error.as_ref()));
        if !asked && read == self.tried {
            return Ok(());
        }
        let outcome = match &read {
            Ok(text) => self.apply(text).map_err(|error| chain(error.as_ref())),
            Err(error) => Err(error.clone()),
        };
        self.tried = read;
        if let Err(error) = outcome {
            log::error!("the policy was refused, the one before it goes on: {error}");
            emit(&Event::Refused { error })?;
        }
        Ok(())
    }

    fn apply(&mut self, text: &str) -> Result<()> {
        let (policy, catalog) = resolve_policy(text, &self.settings.policy)?;
        let lock = self.roots.lock()?;
        let options = ApplyOptions { log_level: self.settings.kernel_log_level, ..ApplyOptions::default() };
        let prepared = prepare(self.roots, &lock, &policy, text, &catalog, options)?;
        let (applied, error) = prepared.commit();
        for generation in applied {
            let manifest = &generation.manifest;
            log::info!(
                "{}: generation {} with {} rules",
                manifest.interface,
                manifest.generation,
                manifest.rules.len()
            );
            emit(&Event::Applied {
                interface: &manifest.interface,
                generation: manifest.generation,
                rules: manifest.rules.len(),
                mode: manifest.mode,
                xdp: manifest.xdp,
                fallback: manifest.fallback.as_deref(),
            })?;
            if self.settings.kernel_log_level > 0 {
                self.kernel_log.follow(generation);
            }
        }
        if let Some(error) = error {
            return Err(error.into());
        }
        for interface in detach_unnamed(self.roots, &lock, &policy)? {
            log::info!("{interface}: detached, as the policy does not name it any more");
            emit(&Event::Detached { interface: &interface })?;
        }
        Ok(())
    }

    /// Prints the counters of every interface. What cannot be read now, as while another command
    /// detaches, may be read at the next tick.
    fn stream(&self) -> Result<()> {
        let interfaces = self.roots.interfaces().unwrap_or_else(|error| {
            log::warn!("{error}");
            Vec::new()
        });
        for interface in interfaces {
            match self.report(&interface) {
                Ok(Some(report)) => emit(&Event::Counters { counters: &report })?,
                Ok(None) => {}
                Err(error) => log::warn!("{interface}: {}", chain(error.as_ref())),
            }
        }
        Ok(())
    }

    fn report(&self, interface: &str) -> Result<Option<Report>> {
        let Some(manifest) = active(self.roots, interface)? else { return Ok(None) };
        let totals = self.roots.attachment(interface).totals(manifest.slots())?;
        Ok(totals.map(|totals| Report::new(&manifest, &totals)))
    }
}

fn ticker(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
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
