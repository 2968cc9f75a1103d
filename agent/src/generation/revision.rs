//! Revisions: each policy that was applied, with what it came to on every interface, so that an earlier
//! one can be put back without its catalogs and documents.
//!
//! ```text
//! <state>/revisions/<number>/policy.toml                   the text that was applied
//! <state>/revisions/<number>/revision.json                 which interfaces it names, and what was before
//! <state>/revisions/<number>/interfaces/<interface>.json   its manifest on that interface
//! ```

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    beside::now,
    known::{Found, found},
    manifest::Manifest,
    store::{Roots, StoreError, make_private, named, write_whole},
    wanted::{Wanted, WantedInterface},
};
use crate::files::{self, FileError};

/// How many revisions are kept.
pub const KEPT: usize = 10;
/// Largest file of a revision that is read: a policy has at most 16 MiB.
const MAX_BYTES: u64 = 16 << 20;

/// A policy that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its number, from 1.
    pub revision: u64,
    /// The one that was active before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    /// When it was first applied, seconds since 1970 UTC.
    pub applied: u64,
    /// Policy file.
    pub policy: String,
    /// SHA-256 of its text.
    pub policy_sha256: String,
    /// The interfaces that it names.
    pub interfaces: Vec<String>,
}

impl Roots {
    /// The revisions that are kept, in ascending order. One whose making was interrupted is left out.
    ///
    /// # Errors
    ///
    /// Where the state folder cannot be read.
    pub fn revisions(&self) -> Result<Vec<Revision>, StoreError> {
        let mut revisions = Vec::new();
        for number in self.revision_numbers()? {
            let path = self.revision(number).join("revision.json");
            let text = match self.read_kept(&path) {
                Err(error) if error.is_missing() => continue,
                other => other?,
            };
            if let Ok(revision) = serde_json::from_slice(&text) {
                revisions.push(revision);
            }
        }
        Ok(revisions)
    }

    /// The revision that is active: the newest that some interface enforces.
    ///
    /// # Errors
    ///
    /// Where the kernel or the state folder cannot be read.
    pub fn active_revision(&self) -> Result<Option<u64>, StoreError> {
        let mut newest = None;
        for interface in self.interfaces()? {
            let Found::Active(manifest) = found(self, &interface)? else { continue };
            let revision = match manifest.beside {
                None => manifest.revision,
                Some(_) => Arc::unwrap_or_clone(manifest).at(now()?).revision,
            };
            newest = newest.max(Some(revision));
        }
        Ok(newest)
    }

    /// What a revision enforced.
    ///
    /// # Errors
    ///
    /// Where a part of it is missing or cannot be read.
    pub fn wanted(&self, revision: &Revision) -> Result<Wanted, StoreError> {
        let folder = self.revision(revision.revision);
        let path = folder.join("policy.toml");
        let text = String::from_utf8(self.read_kept(&path)?)
            .map_err(|error| StoreError::Manifest { path, reason: error.to_string() })?;
        let interface = |name: &String| {
            let path = part(&folder, name)?;
            let missing = || StoreError::Manifest { path: path.clone(), reason: "it is missing".to_owned() };
            Ok(WantedInterface::from(&*self.read_manifest(&path)?.ok_or_else(missing)?))
        };
        Ok(Wanted {
            policy: revision.policy.clone(),
            text,
            policy_sha256: revision.policy_sha256.clone(),
            revision: Some(revision.revision),
            interfaces: revision.interfaces.iter().map(interface).collect::<Result<_, StoreError>>()?,
        })
    }

    /// Begins a revision for what is wanted, or joins the active one where nothing else is wanted than
    /// it says: an interface that appeared meanwhile becomes a part of it. Gives its number, which counts
    /// once interfaces' manifests carry it, and whether it is new.
    pub(super) fn begin_revision(&self, wanted: &Wanted, applied: u64) -> Result<(u64, bool), StoreError> {
        let previous = self.active_revision()?.filter(|number| *number > 0);
        let active = self.revisions()?.into_iter().find(|revision| Some(revision.revision) == previous);
        let interfaces = || wanted.interfaces.iter().map(|interface| interface.name.clone());
        if let Some(mut active) = active
            && self.says(&active, wanted)
        {
            active.interfaces.extend(interfaces());
            active.interfaces.sort_unstable();
            active.interfaces.dedup();
            self.write_revision(&active)?;
            return Ok((active.revision, false));
        }
        let number = 1 + self.revision_numbers()?.last().copied().max(previous).unwrap_or(0);
        make_private(&self.revision(number).join("interfaces"))?;
        write_whole(&self.revision(number).join("policy.toml"), wanted.text.as_bytes())?;
        self.write_revision(&Revision {
            revision: number,
            previous,
            applied,
            policy: wanted.policy.clone(),
            policy_sha256: wanted.policy_sha256.clone(),
            interfaces: interfaces().collect(),
        })?;
        Ok((number, true))
    }

    fn write_revision(&self, revision: &Revision) -> Result<(), StoreError> {
        let path = self.revision(revision.revision).join("revision.json");
        let text = serde_json::to_vec_pretty(revision)
            .map_err(|error| StoreError::Manifest { path: path.clone(), reason: error.to_string() })?;
        write_whole(&path, &text)
    }

    /// Whether a revision is of the same policy and wants the same on every interface that both name.
    fn says(&self, revision: &Revision, wanted: &Wanted) -> bool {
        if revision.policy_sha256 != wanted.policy_sha256 {
            return false;
        }
        let Ok(said) = self.wanted(revision) else { return false };
        let same = |interface: &WantedInterface| {
            said.interfaces.iter().all(|other| other.name != interface.name || other == interface)
        };
        wanted.interfaces.iter().all(same)
    }

    /// Adds an interface's manifest, which lies at `manifest`, to its revision. Both names stand for one
    /// file.
    pub(super) fn add_to_revision(
        &self,
        number: u64,
        interface: &str,
        manifest: &Path,
    ) -> Result<(), StoreError> {
        make_private(&self.revision(number).join("interfaces"))?;
        let path = part(&self.revision(number), interface)?;
        let failed = |source| StoreError::File { what: "write", path: path.clone(), source };
        match files::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        files::hard_link(manifest, &path).map_err(failed)
    }

    /// Adds the manifest of a generation that is only evaluated to its revision.
    pub(super) fn add_candidate(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path = part(&self.revision(manifest.revision), &manifest.interface)?;
        let text = serde_json::to_vec(manifest)
            .map_err(|error| StoreError::Manifest { path: path.clone(), reason: error.to_string() })?;
        write_whole(&path, &text)
    }

    /// Removes a revision that did not come to be.
    pub(super) fn discard_revision(&self, number: u64) {
        // The error that led here is the one to tell; without manifests of its number it never counts.
        let _ = files::remove_all(&self.revision(number));
    }

    /// Removes the oldest revisions, never the active one.
    pub(super) fn prune_revisions(&self, active: u64) -> Result<(), StoreError> {
        let numbers = self.revision_numbers()?;
        let surplus = numbers.len().saturating_sub(KEPT);
        for number in numbers.into_iter().take(surplus).filter(|number| *number != active) {
            let path = self.revision(number);
            files::remove_all(&path).map_err(|source| StoreError::File { what: "remove", path, source })?;
        }
        Ok(())
    }

    /// Forgets every revision.
    pub(super) fn forget_revisions(&self) -> Result<(), StoreError> {
        let path = self.state.join("revisions");
        match files::remove_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File { what: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    fn read_kept(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        files::read_kept(path, MAX_BYTES, &self.state)
    }

    fn revision(&self, number: u64) -> PathBuf {
        self.state.join("revisions").join(number.to_string())
    }

    /// The numbers of all revisions, in ascending order.
    fn revision_numbers(&self) -> Result<Vec<u64>, StoreError> {
        let path = self.state.join("revisions");
        let entries = match files::names(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StoreError::File { what: "read", path, source }),
        };
        let mut numbers: Vec<u64> = entries
            .into_iter()
            .filter_map(|(name, _): (OsString, bool)| name.to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Where a revision keeps an interface's manifest.
fn part(revision: &Path, interface: &str) -> Result<PathBuf, StoreError> {
    named(&revision.join("interfaces"), interface)
}
