//! Pins and manifests of this network namespace -> its interfaces, by the names that they have now.
//!
//! Pins belong to a device. An interface that is renamed keeps its own, whoever gets its name; one that is made anew
//! takes over what the one that is gone has left under its name.

use std::{collections::BTreeSet, ffi::OsString, io, path::Path, sync::Arc};

use super::{
    commit::retire_device,
    error::ApplyError,
    known::now_of,
    manifest::Manifest,
    store::{Lock, Roots, StoreError, make_private},
};
use crate::{
    datapath::{Attachment, Device, Key, Pins, Place, Predecessor, index_of, is_loaded, name_of, namespace},
    files,
    policy::is_interface_name,
};

/// A device that has pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The device.
    pub device: Device,
    /// What it is called now; where it is not here, what it was called when it was last enforced.
    pub name: String,
    /// Where it is.
    pub place: Place,
    program: Option<u32>,
    /// What another version of the ABI has left there.
    pub(super) left: Option<Predecessor>,
}

impl Roots {
    /// The devices of this network namespace that have pins, whether or not something is attached.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let own = self.devices()?;
        let mut left = self.predecessors()?;
        let mut entries = Vec::new();
        for device in own {
            let at = left.iter().position(|left| left.index == Some(device.index));
            let left = at.map(|at| left.swap_remove(at));
            entries.push(Entry { left, ..self.entry(device)? });
        }
        let namespace = namespace()?;
        entries.extend(left.into_iter().filter_map(|left| {
            let index = left.index?;
            let (device, name) = (Device { namespace, index }, left.name()?);
            Some(Entry { device, name, place: Place::Here(index), program: left.program, left: Some(left) })
        }));
        Ok(entries)
    }

    /// The devices of [`Self::entries`], without a look at each.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn devices(&self) -> Result<Vec<Device>, StoreError> {
        Ok(Pins::devices(&self.bpffs, namespace()?)?)
    }

    /// The names of the interfaces that have pins, in their order.
    ///
    /// # Errors
    ///
    /// As [`Self::entries`].
    pub fn interfaces(&self) -> Result<Vec<String>, StoreError> {
        let names: BTreeSet<String> = self.entries()?.into_iter().map(|entry| entry.name).collect();
        Ok(names.into_iter().collect())
    }

    fn entry(&self, device: Device) -> Result<Entry, StoreError> {
        let pinned = Attachment::pinned(&self.pins(device))?;
        let program = pinned.map(|pinned| pinned.program);
        let here = |index, name| Entry { device, name, place: Place::Here(index), program, left: None };
        let enforced_as = || self.recorded(device, program);
        let unknown = || format!("#{}", device.index);
        match pinned.map(|pinned| pinned.place) {
            Some(Place::Here(index)) => {
                if let Some(name) = name_of(index) {
                    return Ok(here(index, name));
                }
            }
            Some(Place::Elsewhere) => {
                let name = enforced_as().unwrap_or_else(unknown);
                return Ok(Entry { device, name, place: Place::Elsewhere, program, left: None });
            }
            // Another interface may have the number by now.
            Some(Place::Gone) => {}
            None => {
                let (now, before) = (name_of(device.index), enforced_as());
                if let Some(now) = now
                    && before.is_none_or(|before| before == now)
                {
                    return Ok(here(device.index, now));
                }
            }
        }
        let name = enforced_as().unwrap_or_else(unknown);
        Ok(Entry { device, name, place: Place::Gone, program, left: None })
    }

    /// What a device was called when it was last enforced; `None` where nobody knows any more.
    #[must_use]
    pub fn enforced_as(&self, entry: &Entry) -> Option<String> {
        if let Some(Key::Name(name)) = entry.left.as_ref().map(|left| &left.key) {
            return Some(name.clone());
        }
        self.recorded(entry.device, entry.program)
    }

    fn recorded(&self, device: Device, program: Option<u32>) -> Option<String> {
        let read = |path: &Path| {
            let manifest = self.read_manifest(path).ok()??;
            Some(manifest.interface.clone()).filter(|name| is_interface_name(name))
        };
        let active = program.and_then(|program| read(&self.manifest(device, program)));
        active.or_else(|| {
            let folder = self.folder(device);
            files::names(&folder).ok()?.into_iter().find_map(|(name, _)| read(&folder.join(name)))
        })
    }

    /// The manifest that an entry's counters are known by; `None` where it is lost.
    pub(super) fn manifest_of(&self, entry: &Entry) -> Result<Option<Manifest>, StoreError> {
        let Some(program) = entry.program else { return Ok(None) };
        match self.read_manifest(&self.manifest(entry.device, program)) {
            Err(StoreError::Manifest { .. }) => Ok(None),
            other => Ok(other?
                .map(|manifest| now_of(manifest, &entry.name, entry.device))
                .map(Arc::unwrap_or_clone)),
        }
    }

    /// The attachment of an entry.
    pub(super) fn attachment_of(&self, entry: &Entry) -> Attachment {
        let index = match entry.place {
            Place::Here(index) => Some(index),
            Place::Elsewhere | Place::Gone => None,
        };
        let attachment = Attachment::new(&entry.name, index, self.pins(entry.device));
        match &entry.left {
            Some(left) => attachment.taking_over(left.folder()),
            None => attachment,
        }
    }

    /// The pins of a device.
    #[must_use]
    pub fn pins(&self, device: Device) -> Pins {
        Pins::new(&self.bpffs, device)
    }

    /// The attachment of an interface, whether or not there is one yet.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn attachment(&self, interface: &str) -> Result<Attachment, StoreError> {
        let (namespace, index) = (namespace()?, index_of(interface));
        if let Some(index) = index {
            if let Some(left) = self.predecessors()?.into_iter().find(|left| left.index == Some(index)) {
                let own = self.pins(Device { namespace, index });
                return Ok(Attachment::new(interface, Some(index), own).taking_over(left.folder()));
            }
            let own = self.pins(Device { namespace, index });
            if own.are_there() && self.entry(own.device())?.name == interface {
                return Ok(Attachment::new(interface, Some(index), own));
            }
        }
        // What an interface of this name has left that is not here any more.
        let entries = self.entries()?;
        let mut left = entries.iter().filter(|entry| entry.name == interface);
        let left = match index {
            Some(_) => left.find(|entry| entry.place == Place::Gone),
            None => left.next(),
        };
        let device = left.map_or(Device { namespace, index: index.unwrap_or(0) }, |entry| entry.device);
        Ok(Attachment::new(interface, index, self.pins(device)))
    }

    /// Gives an interface that is here what one that is gone has left under its name. What others that are gone have
    /// left under its name or its number is archived and removed.
    ///
    /// # Errors
    ///
    /// Where something cannot be moved.
    pub fn inherit(&self, lock: &Lock, interface: &str) -> Result<(), ApplyError> {
        let Some(index) = index_of(interface) else { return Ok(()) };
        let attachment = self.attachment(interface)?;
        let from = attachment.device();
        let to = Device { index, ..from };
        for entry in self.entries()?.into_iter().filter(|entry| entry.place == Place::Gone) {
            let is_other = if entry.device == to { entry.name != interface } else { entry.device != from };
            if is_other && (entry.name == interface || entry.device == to) {
                retire_device(self, lock, &entry)?;
            }
        }
        if from != to && self.pins(from).are_there() && !self.pins(to).are_there() {
            self.move_device(from, to)?;
        }
        Ok(())
    }

    /// The manifests have both places until the pins have moved, so that they are found whenever this is
    /// interrupted.
    fn move_device(&self, from: Device, to: Device) -> Result<(), StoreError> {
        let (old, new) = (self.folder(from), self.folder(to));
        let failed = |source| StoreError::File { what: "move", path: old.clone(), source };
        if old.exists() {
            make_private(&new)?;
            for (file, _) in files::names(&old).map_err(failed)? {
                match files::hard_link(&old.join(&file), &new.join(&file)) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                    _ => {}
                }
            }
        }
        self.pins(from).move_to(&self.pins(to))?;
        self.move_hits(from, to)?;
        self.forget(from)
    }

    /// Takes the archives of interfaces along that were renamed to one that is `covered`. Everything else
    /// belongs to the device, and goes with it.
    ///
    /// # Errors
    ///
    /// Where something cannot be read or moved.
    pub fn follow_renames(&self, _lock: &Lock, covered: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        for entry in self.entries()? {
            if matches!(entry.place, Place::Here(_))
                && covered(&entry.name)
                && let Some(before) = self.enforced_as(&entry).filter(|before| *before != entry.name)
            {
                self.move_archive(&before, &entry.name)?;
            }
        }
        Ok(())
    }

    /// Refuses to change anything where an interface of another network namespace is enforced with this state
    /// folder: revisions, trials and the agent are those of one. What is left of one that is gone is removed.
    pub(super) fn ensure_own(&self) -> Result<(), StoreError> {
        let own = namespace()?;
        let folder = self.state.join("interfaces");
        for (name, _) in files::names(&folder).into_iter().flatten() {
            let device = name.to_str().and_then(Device::parse);
            let Some(device) = device.filter(|device| device.namespace != own) else { continue };
            let path = folder.join(name);
            let manifests = files::names(&path).into_iter().flatten();
            let program = |(file, _): (OsString, bool)| Path::new(&file).file_stem()?.to_str()?.parse().ok();
            if manifests.filter_map(program).any(is_loaded) {
                let interface = self.recorded(device, None).unwrap_or_default();
                return Err(StoreError::OtherNamespace { state: self.state.clone(), interface });
            }
            files::remove_all(&path).map_err(|source| StoreError::File {
                what: "remove",
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }
}
