//! What is kept of counters beside the kernel: when rules counted, and what those had counted whose counters
//! are gone.
//!
//! ```text
//! <state>/hits/<device>.json         when rules counted (its time of change is the last reading)
//! <state>/archive/<interface>.json   totals of rules that were removed and whose counters were given away
//! ```

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{
    manifest::Manifest,
    store::{Roots, StoreError, make_private, named, write_whole},
};
use crate::{
    counters::{Report, RuleCount},
    datapath::{Device, Totals},
    files,
    hits::Hits,
    policy::is_interface_name,
};

/// Largest file that is read of either kind.
const MAX_BYTES: u64 = 64 << 20;
/// Rules that an interface's archive holds at most; those that were removed first give way.
const ARCHIVED: usize = 4096;
/// The form of an archive; another form is not read.
const SCHEMA: u32 = 1;

/// What a rule had counted when its counter was given away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Archived {
    /// The rule, and what it had counted.
    #[serde(flatten)]
    pub rule: RuleCount,
    /// When that was, in seconds since 1970 UTC.
    pub archived: u64,
    /// The generation that was made then.
    pub generation: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Archive {
    schema: u32,
    rules: Vec<Archived>,
}

impl Roots {
    /// Notes that the counters of an interface were read now; gives when each counted. What cannot be kept
    /// is known all the same.
    pub fn note_reading(&self, manifest: &Manifest, totals: &Totals) -> Hits {
        let path = self.hits(manifest.device);
        let (mut hits, before) = read_hits(&path, &self.state);
        let names: Vec<_> =
            manifest.meanings().map(|(slot, meaning)| (meaning.name(), totals.of(slot).packets)).collect();
        let now = SystemTime::now();
        let is_new = hits.read(
            before.map(seconds),
            seconds(now),
            names.iter().map(|(name, packets)| (name.as_ref(), *packets)),
        );
        let kept = if is_new || before.is_none() {
            make_private(&self.state.join("hits")).and_then(|()| {
                let text = serde_json::to_vec(&hits).unwrap_or_default();
                write_whole(&path, &text)
            })
        } else {
            // Most readings show nothing new.
            files::touch(&path, now).map_err(|source| StoreError::File { what: "write", path, source })
        };
        if let Err(error) = kept {
            log::debug!("{error}");
        }
        hits
    }

    /// What the removed rules of an interface had counted, those that were removed first in front.
    ///
    /// # Errors
    ///
    /// Where the archive cannot be read.
    pub fn archived(&self, interface: &str) -> Result<Vec<Archived>, StoreError> {
        let path = self.archive(interface)?;
        let damaged = |reason: String| StoreError::Manifest { path: path.clone(), reason };
        let text = match files::read_kept(&path, MAX_BYTES, &self.state) {
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            other => other.map_err(|error| damaged(error.to_string()))?,
        };
        let archive: Archive = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if archive.schema != SCHEMA {
            return Err(damaged(format!("it has form {}, this build reads form {SCHEMA}", archive.schema)));
        }
        Ok(archive.rules)
    }

    /// The interfaces that have an archive, in the order of their names.
    ///
    /// # Errors
    ///
    /// Where the state folder cannot be read.
    pub fn archives(&self) -> Result<Vec<String>, StoreError> {
        let path = self.state.join("archive");
        let entries = match files::names(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StoreError::File { what: "read", path, source }),
        };
        let name = |(name, _): (OsString, bool)| Some(name.to_str()?.strip_suffix(".json")?.to_owned());
        let mut names: Vec<String> =
            entries.into_iter().filter_map(name).filter(|name| is_interface_name(name)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Keeps what rules of an interface have counted whose counters are about to be given away or removed:
    /// those that `chosen` names. Done twice for the same generation, as after a crash, it counts once.
    pub(super) fn archive_rules(
        &self,
        manifest: &Manifest,
        totals: &Totals,
        generation: u64,
        chosen: impl Fn(&RuleCount) -> bool,
    ) -> Result<(), StoreError> {
        let hits = self.note_reading(manifest, totals);
        let archived = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let counted = |rule: &RuleCount| rule.count.packets > 0 && chosen(rule);
        let report = Report::new(manifest, totals, &hits);
        let new: Vec<Archived> = report
            .rules
            .into_iter()
            .filter(counted)
            .map(|rule| Archived { rule: RuleCount { retired: true, ..rule }, archived, generation })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        // One that is damaged says nothing any more; it must not keep a policy from being applied.
        let mut rules = self.archived(&manifest.interface).unwrap_or_else(|error| {
            log::warn!("{error}; it begins anew");
            Vec::new()
        });
        rules.retain(|old| {
            !new.iter().any(|new| (&old.rule.rule, old.generation) == (&new.rule.rule, generation))
        });
        rules.extend(new);
        rules.drain(..rules.len().saturating_sub(ARCHIVED));
        let path = self.archive(&manifest.interface)?;
        let text = serde_json::to_vec(&Archive { schema: SCHEMA, rules })
            .map_err(|error| StoreError::Manifest { path: path.clone(), reason: error.to_string() })?;
        make_private(&self.state.join("archive"))?;
        write_whole(&path, &text)
    }

    /// Forgets when the rules of a device counted: its counters are gone.
    pub(super) fn forget_hits(&self, device: Device) -> Result<(), StoreError> {
        remove(&self.hits(device))
    }

    /// Forgets the archive of an interface.
    pub(super) fn forget_archive(&self, interface: &str) -> Result<(), StoreError> {
        remove(&self.archive(interface)?)
    }

    /// Gives another device what is known of when the rules of one counted.
    pub(super) fn move_hits(&self, from: Device, to: Device) -> Result<(), StoreError> {
        rename(&self.hits(from), &self.hits(to))
    }

    /// Gives a device what is known of when rules counted that version 2 kept under its name.
    pub(super) fn take_hits_along(&self, name: &str, to: Device) -> Result<(), StoreError> {
        let from = named(&self.state.join("hits"), name)?;
        if self.hits(to).exists() { remove(&from) } else { rename(&from, &self.hits(to)) }
    }

    /// Takes the archive along to an interface's new name.
    pub(super) fn move_archive(&self, from: &str, to: &str) -> Result<(), StoreError> {
        rename(&self.archive(from)?, &self.archive(to)?)
    }

    fn hits(&self, device: Device) -> PathBuf {
        self.state.join("hits").join(format!("{device}.json"))
    }

    fn archive(&self, interface: &str) -> Result<PathBuf, StoreError> {
        named(&self.state.join("archive"), interface)
    }
}

/// What is kept of earlier readings, and when the last one was. Where it is lost, it begins anew.
fn read_hits(path: &Path, root: &Path) -> (Hits, Option<SystemTime>) {
    let read = || -> Option<(Hits, SystemTime)> {
        let modified = fs::symlink_metadata(path).ok()?.modified().ok()?;
        let hits: Hits = serde_json::from_slice(&files::read_kept(path, MAX_BYTES, root).ok()?).ok()?;
        hits.is_readable().then_some((hits, modified))
    };
    read().map_or((Hits::default(), None), |(hits, before)| (hits, Some(before)))
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// Moves a file, if it is there.
fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    match files::rename(from, to) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::File { what: "rename", path: from.into(), source })
        }
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match files::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::File { what: "remove", path: path.into(), source })
        }
        _ => Ok(()),
    }
}
