//! What a service manager is told (sd_notify(3)): that the agent is ready, reloads, stops, lives, and in one
//! line what it does. Nothing is told where none asks.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::terminal::shown;

/// The first policy is in place.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&shown(status))]);
}

/// The line that `systemctl status` shows.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(&shown(status))]);
}

/// The policy file is read again; [`ready`] follows.
pub(super) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // systemd from 253 on wants to know when.
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// The agent stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The agent is alive.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the service manager is to be told that the agent is alive: twice as often as it asks for.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|period| period / 2)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}
