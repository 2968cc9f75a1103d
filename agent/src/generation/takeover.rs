//! What another version of the ABI enforces -> what this one goes on from, and what its counters had counted.
//!
//! A generation that takes over is swapped in on the links that are there, and its manifest names what is still to
//! be carried: the folder of the old counters, and what their slots stand for by name. From the swap on nobody counts
//! there any more. Then links are moved, what the old counters hold becomes a part of the manifest, and the folder
//! goes. Whoever reads in between adds both, and whoever takes the lock next completes what was interrupted.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use portcullis_common::{
    abi,
    counter::Counter,
    slot::{COUNT, FIRST_RULE, Reason, Slot},
};
use serde::{Deserialize, Serialize};

use super::{
    error::ApplyError,
    known::active,
    manifest::{Beside, Manifest, Slotted},
    store::{Roots, StoreError},
    version2,
};
use crate::{
    counters::Count,
    datapath::{
        Attachment, Device, Key, Predecessor, Standing, Totals, name_of, namespace, totals_in,
        wait_for_programs,
    },
    files,
};

/// Counters of another version of the ABI that are still to be carried on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heritage {
    /// The folder that they are pinned in.
    pub folder: PathBuf,
    /// The slot of each rule by its identity, and of each reason by its name behind `reason/`.
    pub slots: BTreeMap<String, Slot>,
}

impl Heritage {
    fn totals(&self) -> Result<Option<Totals>, StoreError> {
        let end = self.slots.values().max().map_or(0, |slot| u32::from(*slot) + 1);
        Ok(totals_in(&self.folder, end)?)
    }
}

/// The slot of each reason in this version of the ABI.
pub(super) fn reasons() -> BTreeMap<String, Slot> {
    Reason::ALL.iter().map(|reason| (reason.name().to_owned(), reason.slot())).collect()
}

impl Manifest {
    /// What this version goes on from in place of a generation of another one, whose counters lie in `folder`.
    fn heir_of(old: &Self, folder: PathBuf, interface: &str, device: Device) -> Self {
        let tried = match &old.beside {
            Some(Beside::Trial { before, .. }) => before.as_deref(),
            _ => None,
        };
        let before = tried.into_iter().flat_map(|before| before.rules.iter().chain(&before.retired));
        let mut slots: BTreeMap<String, Slot> =
            old_reasons(old).into_iter().map(|(name, slot)| (format!("reason/{name}"), slot)).collect();
        let mut fresh = FIRST_RULE..=Slot::try_from(COUNT - 1).unwrap_or(Slot::MAX);
        let mut moved = |slotted: &Slotted| {
            let name = slotted.rule.identity.0.clone();
            if slots.contains_key(&name) {
                return None;
            }
            slots.insert(name, slotted.slot);
            Some(Slotted { slot: fresh.next()?, ..slotted.clone() })
        };
        let rules = old.rules.iter().filter_map(&mut moved).collect();
        let retired = old.retired.iter().chain(before).filter_map(&mut moved).collect();
        let mut heritage = old.heritage.clone();
        heritage.push(Heritage { folder, slots });
        Self {
            abi: abi::VERSION,
            interface: interface.to_owned(),
            device,
            rules,
            retired,
            reasons: reasons(),
            beside: None,
            heritage,
            ..old.clone()
        }
    }

    /// What was carried on of counters that the next generation still has.
    pub(super) fn carried_to(&self, rules: &[Slotted], retired: &[Slotted]) -> BTreeMap<String, Count> {
        let stays = |name: &str| {
            name.starts_with("reason/")
                || rules.iter().chain(retired).any(|rule| rule.rule.identity.0 == *name)
        };
        self.carried
            .iter()
            .filter(|(name, _)| stays(name))
            .map(|(name, count)| (name.clone(), *count))
            .collect()
    }
}

fn old_reasons(old: &Manifest) -> BTreeMap<String, Slot> {
    if old.abi == version2::VERSION && old.reasons.is_empty() {
        return version2::REASONS.iter().map(|(slot, name)| ((*name).to_owned(), *slot)).collect();
    }
    old.reasons.clone()
}

impl Roots {
    /// What other versions of the ABI have left in this network namespace.
    pub(super) fn predecessors(&self) -> Result<Vec<Predecessor>, StoreError> {
        Ok(Predecessor::all(&self.bpffs, namespace()?)?)
    }

    /// The manifest of what another version has left, as that version wrote it; `None` where it is lost.
    pub(super) fn manifest_left(
        &self,
        predecessor: &Predecessor,
    ) -> Result<Option<Arc<Manifest>>, StoreError> {
        let Some(program) = predecessor.program else { return Ok(None) };
        let path = match &predecessor.key {
            Key::Name(_) => self.folder_left(predecessor).join(format!("{program}.json")),
            Key::Device(device) => self.manifest(*device, program),
        };
        match self.read_manifest(&path) {
            Err(StoreError::Manifest { .. }) => Ok(None),
            other => other,
        }
    }

    fn folder_left(&self, predecessor: &Predecessor) -> PathBuf {
        match &predecessor.key {
            Key::Name(name) => self.state.join("interfaces").join(name),
            Key::Device(device) => self.folder(*device),
        }
    }

    /// The manifest that a generation goes on from which takes over; `None` where the old one is lost.
    pub(super) fn heir(
        &self,
        attachment: &Attachment,
        interface: &str,
    ) -> Result<Option<Manifest>, StoreError> {
        let device = attachment.device();
        let left = self.predecessors()?.into_iter().find(|left| left.index == Some(device.index));
        let Some(left) = left else { return Ok(None) };
        let old = self.manifest_left(&left)?;
        Ok(old.map(|old| Manifest::heir_of(&old, left.folder().to_owned(), interface, device)))
    }

    /// What the slots of a generation have counted, here and under other versions; `None` where there are no counters.
    ///
    /// # Errors
    ///
    /// Where the counters cannot be read.
    pub fn totals(&self, manifest: &Manifest) -> Result<Option<Totals>, StoreError> {
        let Some(mut totals) = self.attachment(&manifest.interface)?.totals(manifest.slots())? else {
            return Ok(None);
        };
        self.add_carried(manifest, &mut totals)?;
        Ok(Some(totals))
    }

    /// Adds what was counted under other versions.
    pub(super) fn add_carried(&self, manifest: &Manifest, totals: &mut Totals) -> Result<(), StoreError> {
        let mut carried = manifest.carried.clone();
        for heritage in &manifest.heritage {
            match heritage.totals()? {
                Some(old) => add(&mut carried, heritage, &old),
                // Carried meanwhile.
                None => {
                    if let Some(now) =
                        active(self, &manifest.interface)?.filter(|now| now.heritage.is_empty())
                    {
                        carried = now.carried;
                        break;
                    }
                }
            }
        }
        for (slot, meaning) in manifest.meanings() {
            if let Some(count) = carried.get(meaning.name().as_ref()) {
                totals.add(slot, Counter { packets: count.packets, bytes: count.bytes });
            }
        }
        Ok(())
    }

    /// Completes what a command has begun that took over and was interrupted, and archives what is left of interfaces
    /// that are gone.
    pub(super) fn complete_takeovers(&self) -> Result<(), ApplyError> {
        let left = self.predecessors()?;
        if left.is_empty() {
            return Ok(());
        }
        for device in self.devices()? {
            let Some(name) = name_of(device.index) else { continue };
            self.complete_takeover(&name, device)?;
        }
        for predecessor in self.predecessors()?.iter().filter(|left| left.index.is_none()) {
            self.archive_left(predecessor)?;
            self.remove_left(predecessor)?;
        }
        Ok(())
    }

    /// Moves links and carries counters on, once the programs of this version are in place. Each step may be the
    /// last one before a crash, and may be done twice.
    pub(super) fn complete_takeover(&self, interface: &str, device: Device) -> Result<(), ApplyError> {
        let failed = |source| ApplyError::at(interface, source);
        let left = self.predecessors()?;
        for predecessor in &left {
            let attachment = Attachment::new(interface, Some(device.index), self.pins(device))
                .taking_over(predecessor.folder());
            let Standing::Attached(program) = attachment.standing().map_err(failed)? else { continue };
            let read = match self.read_manifest(&self.manifest(device, program)) {
                Err(StoreError::Manifest { .. }) => None,
                other => other?,
            };
            let names = |manifest: &Arc<Manifest>| {
                manifest.abi == abi::VERSION
                    && manifest.heritage.iter().any(|heritage| heritage.folder == predecessor.folder())
            };
            let Some(manifest) = read.filter(names) else { continue };
            attachment.move_links().map_err(failed)?;
            // From now on nobody counts there.
            wait_for_programs();
            let mut manifest = Arc::unwrap_or_clone(manifest);
            for heritage in std::mem::take(&mut manifest.heritage) {
                if let Some(old) = heritage.totals()? {
                    add(&mut manifest.carried, &heritage, &old);
                }
            }
            self.write(program, &manifest)?;
            if let Key::Name(name) = &predecessor.key {
                self.take_hits_along(name, device)?;
            }
            self.remove_left(predecessor)?;
        }
        Ok(())
    }

    /// Keeps what the rules of another version had counted on an interface.
    pub(super) fn archive_left(&self, left: &Predecessor) -> Result<(), StoreError> {
        let Some(old) = self.manifest_left(left)? else { return Ok(()) };
        if let Some(totals) = totals_in(left.folder(), old.slots())? {
            self.archive_rules(&old, &totals, old.generation + 1, |_| true)?;
            self.forget_hits(old.device)?;
        }
        Ok(())
    }

    /// Removes what another version has left of an interface.
    pub(super) fn remove_left(&self, left: &Predecessor) -> Result<(), StoreError> {
        left.remove()?;
        // Later versions keep their manifests where this one does.
        if matches!(left.key, Key::Device(_)) {
            return Ok(());
        }
        let path = self.folder_left(left);
        match files::remove_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File { what: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}

/// Adds what old counters hold, by name.
fn add(carried: &mut BTreeMap<String, Count>, heritage: &Heritage, old: &Totals) {
    for (name, slot) in &heritage.slots {
        let counter = old.of(*slot);
        if counter.packets > 0 {
            let count = carried.entry(name.clone()).or_default();
            count.packets += counter.packets;
            count.bytes += counter.bytes;
        }
    }
}
