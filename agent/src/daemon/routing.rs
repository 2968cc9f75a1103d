//! Whether this host forwards, looked at again and again -> programs that judge accordingly.
//!
//! Where a host forwards, a rule lets in only what is addressed to it, and the programs ask the kernel's routes for
//! that. Where it does not, they are loaded without the question, which costs something for each packet. So the
//! programs are loaded anew when somebody switches forwarding on or off (as container engines do).

use anyhow::Result;

use super::agent::{Agent, is_postponed};
use crate::{datapath::chain, generation::ApplyOptions, host::forwards};

impl Agent {
    /// Whether an interface forwards otherwise than when its programs were loaded.
    pub(super) fn forwards_otherwise(&mut self) -> bool {
        self.routing.iter().any(|(interface, known)| is_other(interface, *known))
    }

    /// Loads the programs anew where that is so.
    pub(super) fn follow_forwarding(&mut self) -> Result<()> {
        let present = self.links.present()?;
        let other: Vec<(String, bool)> = self
            .routing
            .iter()
            .filter(|(interface, known)| present.contains_key(*interface) && is_other(interface, **known))
            .map(|(interface, known)| (interface.clone(), !known))
            .collect();
        for (interface, routes) in other {
            let Some(enforced) = self.enforced.clone() else { return Ok(()) };
            if !self.covered(&interface) {
                continue;
            }
            self.kept.remove(&interface);
            let mut here = enforced.policy.on(std::slice::from_ref(&interface));
            here.interfaces.retain(|entry| entry.name == interface);
            let outcome =
                self.roots.lock().map_err(Into::into).and_then(|lock| {
                    self.put(&lock, &here, &enforced, &present, ApplyOptions::default(), None)
                });
            match outcome {
                Ok(()) => {
                    let now = if routes { "forwards" } else { "does not forward" };
                    log::info!("{interface}: this host {now} what arrives there now; judged accordingly");
                }
                // It is looked at again.
                Err(error) if is_postponed(&error) => log::debug!("{interface}: {}", chain(error.as_ref())),
                Err(error) => log::error!(
                    "{interface}: this host's forwarding was switched, and the programs could not be loaded anew: {}",
                    chain(error.as_ref())
                ),
            }
        }
        Ok(())
    }
}

fn is_other(interface: &str, known: bool) -> bool {
    match forwards(interface) {
        Ok(now) => now != known,
        Err(error) => {
            log::debug!("{interface}: {}", chain(&error));
            false
        }
    }
}
