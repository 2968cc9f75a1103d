//! Events: one JSON line each on standard output.

use std::{
    io::{Write as _, stdout},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    counters::Report,
    datapath::{Mode, Part},
    generation::Manifest,
    policy::Enforcement,
    schema::Formed,
};

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event<'a> {
    /// A generation is in place.
    Applied {
        interface: &'a str,
        generation: u64,
        rules: usize,
        mode: Enforcement,
        xdp: Mode,
        #[serde(skip_serializing_if = "Option::is_none")]
        fallback: Option<&'a str>,
    },
    /// An interface is not enforced any more.
    Detached { interface: &'a str },
    /// The policy names an interface that is not there; it is protected when it appears.
    Awaited { interface: &'a str },
    /// A pattern covers an interface that cannot be judged.
    Skipped { interface: &'a str, reason: &'a str },
    /// An interface that was protected is gone.
    Vanished { interface: &'a str },
    /// An interface that was protected has another name now.
    Renamed { interface: &'a str, to: &'a str },
    /// An interface is there and could not be protected; it is tried again.
    Unprotected { interface: &'a str, error: &'a str },
    /// Somebody has taken away parts of what enforces an interface.
    Tampered { interface: &'a str, missing: &'a [Part] },
    /// They are in place again.
    Mended { interface: &'a str },
    /// A policy was refused; the one before it goes on.
    Refused { error: String },
    /// A policy is tried; one of these conversations must be heard, or somebody must confirm it.
    Trying { seconds: f64, waits_for: &'a [String] },
    /// A policy that was tried is enforced.
    Kept,
    /// A trial has ended unconfirmed, and what was before it is in place.
    Reverted { interface: &'a str },
    /// What is counted.
    Counters { counters: &'a Report },
    /// The agent stops; enforcement stays.
    Stopped,
}

impl<'a> Event<'a> {
    /// A generation that is in place.
    pub(super) fn applied(manifest: &'a Manifest) -> Self {
        Self::Applied {
            interface: &manifest.interface,
            generation: manifest.generation,
            rules: manifest.rules.len(),
            mode: manifest.settings.mode,
            xdp: manifest.xdp,
            fallback: manifest.fallback.as_deref(),
        }
    }
}

/// Prints an event with the time, in seconds since 1970 UTC.
pub(super) fn emit(event: &Event<'_>) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        time: f64,
        #[serde(flatten)]
        event: &'a Event<'a>,
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    let mut line = serde_json::to_vec(&Formed::new(&Line { time, event }))?;
    line.push(b'\n');
    #[expect(clippy::disallowed_methods, reason = "JSON for programs")]
    let mut out = stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).context("cannot print an event")
}
