//! What was put in place, looked at again and again -> what somebody has taken away, put back.
//!
//! The agent holds every link and pinned map, so that a pin that is removed opens nothing; it only has to be made
//! again. What was taken off an interface is attached again, from the programs that the agent keeps or, where it
//! has none, by loading the policy once more. What a command has ended on purpose is left alone.

use std::{collections::BTreeSet, fs::File};

use anyhow::Result;

use super::{
    agent::Agent,
    event::{Event, emit},
};
use crate::{
    datapath::{Device, Grip, OnInterfaces, Part, chain, name_of},
    generation::StoreError,
};

/// What the agent holds of a device.
pub(super) struct Hold {
    grip: Grip,
    /// What its counters stand for.
    manifest: Option<File>,
}

impl Agent {
    /// Whether something is missing. Holds what is new on the way.
    pub(super) fn is_tampered_with(&mut self) -> bool {
        match self.look() {
            Ok(missing) => !missing.is_empty(),
            Err(error) => {
                log::debug!("{}", chain(&error));
                false
            }
        }
    }

    /// The devices that something is missing of, by the names that they have now.
    fn look(&mut self) -> Result<Vec<(Device, String, Vec<Part>)>, StoreError> {
        let on_interfaces = OnInterfaces::now()?;
        let present = self.links.present().unwrap_or_default();
        let devices = self.roots.devices()?.into_iter().chain(self.held.keys().copied());
        let devices: BTreeSet<Device> = devices.collect();
        let mut tampered = Vec::new();
        for device in devices {
            let name = name_of(device.index).filter(|_| !self.roots.is_detached(device));
            // Gone, or ended on purpose.
            let Some(name) = name else {
                self.held.remove(&device);
                continue;
            };
            // It is tried again already, or it is another interface than the one that was protected; both are seen to.
            let is_other = self.protected.get(&name).is_some_and(|known| present.get(&name) != Some(known));
            if is_other || self.unprotected.contains_key(&name) {
                continue;
            }
            let attachment = self.roots.attachment(&name)?;
            // Another interface has the number of one that is gone, or another version of the ABI has left it.
            if attachment.device() != device || attachment.is_taking_over() {
                self.held.remove(&device);
                continue;
            }
            let missing = self.roots.missing(&name, &on_interfaces)?;
            let known = self.held.contains_key(&device) || self.protected.contains_key(&name);
            if missing.is_empty() {
                self.hold(&name)?;
            } else if known {
                tampered.push((device, name, missing));
            }
        }
        Ok(tampered)
    }

    /// Holds what is on an interface, unless it is held already.
    pub(super) fn hold(&mut self, interface: &str) -> Result<(), StoreError> {
        let attachment = self.roots.attachment(interface)?;
        let (device, hanging) = (attachment.device(), attachment.hanging()?);
        if self.held.get(&device).is_some_and(|held| held.grip.hanging() == hanging) {
            return Ok(());
        }
        let manifest = hanging.program.and_then(|program| self.roots.open_manifest(device, program));
        self.held.insert(device, Hold { grip: attachment.grip()?, manifest });
        Ok(())
    }

    /// Puts back what is missing, and tells it.
    pub(super) fn mend(&mut self) -> Result<()> {
        let lock = match self.roots.lock() {
            Ok(lock) => lock,
            Err(error) => {
                log::debug!("{}", chain(&error));
                return Ok(());
            }
        };
        // Under the lock: what another command is changing is not missing.
        let tampered = match self.look() {
            Ok(tampered) => tampered,
            Err(error) => {
                log::error!("it cannot be looked whether everything is in place: {}", chain(&error));
                return Ok(());
            }
        };
        let mut open = Vec::new();
        for (device, interface, missing) in tampered {
            let all: Vec<String> = missing.iter().map(Part::to_string).collect();
            log::error!("{interface}: somebody has taken away {}", all.join(" and "));
            emit(&Event::Tampered { interface: &interface, missing: &missing })?;
            if let Err(error) = self.pin_again(device, &interface) {
                log::warn!("{interface}: {}", chain(&error));
            }
            let left = OnInterfaces::now()
                .map_err(StoreError::from)
                .and_then(|on_interfaces| self.roots.missing(&interface, &on_interfaces));
            match left {
                Ok(left) if left.is_empty() => self.is_mended(&interface)?,
                _ => open.push(interface),
            }
        }
        drop(lock);
        for interface in open {
            self.attach_again(&interface)?;
        }
        Ok(())
    }

    /// Pins again what is held, and writes the manifest again.
    fn pin_again(&self, device: Device, interface: &str) -> Result<(), StoreError> {
        let Some(Hold { grip, manifest }) = self.held.get(&device) else { return Ok(()) };
        self.roots.attachment(interface)?.pin_again(grip)?;
        if let (Some(program), Some(manifest)) = (grip.hanging().program, manifest) {
            self.roots.write_again(device, program, manifest)?;
        }
        Ok(())
    }

    /// Protects an interface anew that something was taken off.
    fn attach_again(&mut self, interface: &str) -> Result<()> {
        let present = self.links.present()?;
        // Gone meanwhile: that is told elsewhere.
        let Some(identity) = present.get(interface).copied() else { return Ok(()) };
        self.protected.remove(interface);
        if !self.covered(interface) {
            log::error!(
                "{interface}: not whole any more, and the policy does not name it: name it, or end the rest with \
                 `portcullis detach {interface}`"
            );
            return Ok(());
        }
        self.protect(interface, identity, &present)?;
        if self.protected.contains_key(interface) { self.is_mended(interface) } else { Ok(()) }
    }

    fn is_mended(&mut self, interface: &str) -> Result<()> {
        log::info!("{interface}: all of it is in place again");
        if let Err(error) = self.hold(interface) {
            log::debug!("{}", chain(&error));
        }
        emit(&Event::Mended { interface })
    }
}
