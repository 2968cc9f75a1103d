//! Links and manifests -> what is known of each interface.
//!
//! The kernel's link names its program, and the program's identifier names the manifest's file.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use portcullis_common::abi;
use serde::Deserialize;

use super::{
    beside::now,
    manifest::{Manifest, SCHEMA},
    store::{Roots, StoreError},
};
use crate::{
    datapath::{Attachment, Device, Place, Standing},
    files::{self, FileError},
};

/// Largest manifest that is read: every slot in use takes about a third of it.
const MAX_BYTES: u64 = 64 << 20;

/// The manifests that were read, by their files.
pub(super) type Read = Arc<Mutex<BTreeMap<Stamp, Arc<Manifest>>>>;

/// A file apart from all others, also from those that had its name before: manifests are written beside
/// their place, and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let data = fs::symlink_metadata(path).ok()?;
        let modified = (data.mtime(), data.mtime_nsec());
        Some(Self { device: data.dev(), inode: data.ino(), modified, bytes: data.len() })
    }
}

/// What is known of an interface that has pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing is attached; something that was interrupted left pins.
    Nothing,
    /// This generation is active.
    Active(Box<Manifest>),
    /// Something is attached, but its manifest is lost or cannot be read, as the text says.
    Lost(String),
    /// Something was attached, but its interface is gone, or somebody has ended its link.
    Astray,
    /// Its interface was moved to another network namespace, and is judged there.
    Elsewhere,
    /// Another version of the ABI enforces it.
    Other,
}

impl Known {
    /// What an operator must know and do; `None` where nothing is wrong.
    #[must_use]
    pub fn trouble(&self, interface: &str) -> Option<String> {
        match self {
            Self::Nothing | Self::Active(_) => None,
            Self::Lost(why) => Some(format!("{interface}: enforced, but {why}: apply the policy again")),
            Self::Astray => Some(format!(
                "{interface}: not enforced any more: the interface was removed, or the program taken off it; \
                 apply the policy again, or detach it"
            )),
            Self::Other => Some(format!(
                "{interface}: enforced by another version of portcullis, whose counters this one does not read; the \
                 next `apply`, or the agent, takes it over"
            )),
            Self::Elsewhere => Some(format!(
                "{interface}: in another network namespace now, and still judged there as it was here; \
                 `portcullis detach {interface}` ends that"
            )),
        }
    }
}

/// What is known of an interface.
///
/// # Errors
///
/// Where the kernel or the state folder cannot be read.
pub fn known(roots: &Roots, interface: &str) -> Result<Known, StoreError> {
    Ok(match found(roots, interface)? {
        Found::Nothing => Known::Nothing,
        Found::Active(manifest) => Known::Active(Box::new(Arc::unwrap_or_clone(manifest).at(now()?))),
        Found::Lost(why) => Known::Lost(why),
        Found::Astray => Known::Astray,
        Found::Elsewhere => Known::Elsewhere,
        Found::Other => Known::Other,
    })
}

/// As [`Known`], with the manifest as it was written: whether its trial has ended is another question.
pub(super) enum Found {
    Nothing,
    Active(Arc<Manifest>),
    Lost(String),
    Astray,
    Elsewhere,
    Other,
}

pub(super) fn found(roots: &Roots, interface: &str) -> Result<Found, StoreError> {
    let attachment = roots.attachment(interface)?;
    let device = attachment.device();
    let mut standing = attachment.standing()?;
    loop {
        let program = match standing {
            Standing::Absent => return Ok(Found::Nothing),
            Standing::Astray(_) => {
                let place = Attachment::pinned(attachment.pins())?.map(|pinned| pinned.place);
                return Ok(if place == Some(Place::Elsewhere) { Found::Elsewhere } else { Found::Astray });
            }
            Standing::Attached(program) => program,
        };
        match roots.read_manifest(&roots.manifest(device, program)) {
            Ok(Some(manifest)) if manifest.abi != abi::VERSION => return Ok(Found::Other),
            Ok(None) | Err(StoreError::Manifest { .. }) if attachment.is_taking_over() => {
                return Ok(Found::Other);
            }
            Ok(Some(manifest)) => return Ok(Found::Active(now_of(manifest, interface, device))),
            Ok(None) => {
                // Another command may have swapped programs and cleared this manifest meanwhile.
                let then = attachment.standing()?;
                if then == standing {
                    let path = roots.manifest(device, program);
                    return Ok(Found::Lost(format!("its state {} is lost", path.display())));
                }
                standing = then;
            }
            Err(StoreError::Manifest { path, reason }) => {
                return Ok(Found::Lost(format!("its state {} cannot be read ({reason})", path.display())));
            }
            Err(error) => return Err(error),
        }
    }
}

/// A manifest with the name that its interface has now, and the device that it belongs to now.
pub(super) fn now_of(manifest: Arc<Manifest>, interface: &str, device: Device) -> Arc<Manifest> {
    if manifest.interface == interface && manifest.device == device {
        return manifest;
    }
    Arc::new(Manifest { interface: interface.to_owned(), device, ..Arc::unwrap_or_clone(manifest) })
}

/// The manifest of the generation that is active on an interface; `None` where nothing is attached,
/// or where its manifest is lost.
///
/// # Errors
///
/// As [`known`].
pub fn active(roots: &Roots, interface: &str) -> Result<Option<Manifest>, StoreError> {
    Ok(match known(roots, interface)? {
        Known::Active(manifest) => Some(*manifest),
        Known::Nothing | Known::Lost(_) | Known::Astray | Known::Elsewhere | Known::Other => None,
    })
}

/// The manifest that the next generation goes on from: that of the active one, of the last before the interface was
/// removed, or what becomes of that of another version of the ABI.
///
/// # Errors
///
/// As [`known`].
pub fn last(roots: &Roots, interface: &str) -> Result<Option<Manifest>, StoreError> {
    let attachment = roots.attachment(interface)?;
    match attachment.standing()? {
        Standing::Astray(program) => {
            match roots.read_manifest(&roots.manifest(attachment.device(), program)) {
                // Then nobody knows what its counters stood for.
                Err(StoreError::Manifest { .. }) => Ok(None),
                other => Ok(other?
                    .map(|manifest| now_of(manifest, interface, attachment.device()))
                    .map(Arc::unwrap_or_clone)),
            }
        }
        Standing::Absent | Standing::Attached(_) => match known(roots, interface)? {
            Known::Active(manifest) => Ok(Some(*manifest)),
            Known::Other => roots.heir(&attachment, interface),
            Known::Nothing | Known::Lost(_) | Known::Astray | Known::Elsewhere => Ok(None),
        },
    }
}

fn read_manifest(path: &Path, root: &Path) -> Result<Option<Manifest>, StoreError> {
    /// What every form has; only this is read of one that may be foreign.
    #[derive(Deserialize)]
    struct Form {
        schema: u32,
    }
    let unreadable = |reason: String| StoreError::Manifest { path: path.into(), reason };
    let text = match files::read_kept(path, MAX_BYTES, root) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return Ok(None),
        Err(FileError::Io { what, path, source }) => return Err(StoreError::File { what, path, source }),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let damaged = |error: serde_json::Error| unreadable(error.to_string());
    let read: Result<Manifest, _> = serde_json::from_slice(&text);
    let schema = match &read {
        Ok(manifest) => manifest.schema,
        Err(_) => serde_json::from_slice::<Form>(&text).map_err(damaged)?.schema,
    };
    if schema != SCHEMA {
        return Err(unreadable(format!("it has form {schema}, this build reads form {SCHEMA}")));
    }
    read.map(Some).map_err(damaged)
}

impl Roots {
    /// Gives the memory back that manifests take which were read.
    pub fn forget_read(&self) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The manifest in a file; `None` where there is none.
    pub(super) fn read_manifest(&self, path: &Path) -> Result<Option<Arc<Manifest>>, StoreError> {
        let stamp = Stamp::of(path);
        let known =
            |stamp: Stamp| self.read.lock().unwrap_or_else(PoisonError::into_inner).get(&stamp).cloned();
        if let Some(known) = stamp.and_then(known) {
            return Ok(Some(known));
        }
        let Some(manifest) = read_manifest(path, &self.state)?.map(Arc::new) else { return Ok(None) };
        // Another file may have taken its place while it was read.
        if let Some(stamp) = stamp.filter(|stamp| Stamp::of(path) == Some(*stamp)) {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.insert(stamp, Arc::clone(&manifest));
        }
        Ok(Some(manifest))
    }
}
