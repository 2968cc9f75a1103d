//! Where manifests are kept, and the lock that serialises whoever writes them.
//!
//! ```text
//! <state>/lock                              held while something changes
//! <state>/interfaces/<interface>/<program id>.json   the manifest of the generation with that program
//! <state>/revisions/                        earlier policies, see [`super::revision`]
//! <state>/hits/, <state>/archive/           what is kept of counters, see [`super::past`]
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};
use serde::Deserialize;

use super::{
    beside::now,
    manifest::{Manifest, SCHEMA},
};
use crate::{
    datapath::{Attachment, DatapathError, Pins, Standing},
    files::{self, FileError},
};

/// Largest manifest that is read: every slot in use takes about a third of it.
const MAX_BYTES: u64 = 64 << 20;

/// The folders that everything durable lives in.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Manifests and the lock; lost at boot, as the kernel's objects are.
    pub state: PathBuf,
    /// The last known good policy; outlasts a boot.
    pub lasting: PathBuf,
    /// Where the BPF file system is mounted.
    pub bpffs: PathBuf,
    /// The manifests that were read: one of ten thousand rules takes longer to read than to enforce, and a
    /// command asks for it several times.
    read: Arc<Mutex<BTreeMap<Stamp, Arc<Manifest>>>>,
}

/// A file apart from all others, also from those that had its name before: manifests are written beside
/// their place, and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        let modified = (data.mtime(), data.mtime_nsec());
        Some(Self { device: data.dev(), inode: data.ino(), modified, bytes: data.len() })
    }
}

/// A file of the state folder that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refuses.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// The operation.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another command is changing something.
    #[error(
        "another portcullis command is changing the policy (it holds {0}): wait for it to end, then try again"
    )]
    Locked(PathBuf),
    /// A manifest of another form, or damaged.
    #[error("cannot read the manifest {path}: {reason}")]
    Manifest {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel's clock cannot be read.
    #[error("cannot read the kernel's clock: {0}")]
    Clock(io::Error),
    /// The kernel's side cannot be read.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// Held while something changes; released when dropped, and by the kernel however the process ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, not read")] Flock<File>);

/// How long a command waits for another one to end: longer than an apply takes.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

impl Roots {
    /// These folders.
    #[must_use]
    pub fn new(state: PathBuf, lasting: PathBuf, bpffs: PathBuf) -> Self {
        Self { state, lasting, bpffs, read: Arc::default() }
    }

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
        let Some(manifest) = read_manifest(path)?.map(Arc::new) else { return Ok(None) };
        // Another file may have taken its place while it was read.
        if let Some(stamp) = stamp.filter(|stamp| Stamp::of(path) == Some(*stamp)) {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.insert(stamp, Arc::clone(&manifest));
        }
        Ok(Some(manifest))
    }

    /// Makes the state folder where it is missing.
    ///
    /// # Errors
    ///
    /// Where that is not possible.
    pub fn create_state(&self) -> Result<(), StoreError> {
        make_private(&self.state)
    }

    /// Takes the lock; waits for two seconds where somebody holds it.
    ///
    /// # Errors
    ///
    /// Where somebody still holds it, or the state folder cannot be written.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        make_private(&self.state)?;
        let path = self.state.join("lock");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|source| StoreError::File { what: "open", path: path.clone(), source })?;
        let owned = files::take_owner_of_folder(&path);
        owned.map_err(|source| StoreError::File { what: "open", path: path.clone(), source })?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        let mut file = file;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Lock(lock)),
                Err((file, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < deadline => file,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(StoreError::Locked(path)),
                Err((_, errno)) => return Err(StoreError::File { what: "lock", path, source: errno.into() }),
            };
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The attachment of an interface.
    #[must_use]
    pub fn attachment(&self, interface: &str) -> Attachment {
        Attachment::new(interface, Pins::new(&self.bpffs, interface))
    }

    /// The interfaces that have pins, whether or not something is attached.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn interfaces(&self) -> Result<Vec<String>, StoreError> {
        Ok(Pins::interfaces(&self.bpffs)?)
    }

    fn folder(&self, interface: &str) -> PathBuf {
        self.state.join("interfaces").join(interface)
    }

    pub(super) fn manifest(&self, interface: &str, program: u32) -> PathBuf {
        self.folder(interface).join(format!("{program}.json"))
    }

    /// Writes the manifest of the generation with `program`, whole or not at all, for its interface and
    /// for its revision.
    pub(super) fn write(&self, program: u32, manifest: &Manifest) -> Result<(), StoreError> {
        make_private(&self.folder(&manifest.interface))?;
        let path = self.manifest(&manifest.interface, program);
        let mut text = serde_json::to_vec(manifest)
            .map_err(|error| StoreError::Manifest { path: path.clone(), reason: error.to_string() })?;
        text.push(b'\n');
        write_whole(&path, &text)?;
        self.add_to_revision(manifest.revision, &manifest.interface, &path)
    }

    /// Removes every manifest of an interface but that of `program`.
    pub(super) fn keep_only(&self, interface: &str, program: u32) -> Result<(), StoreError> {
        let keep = self.manifest(interface, program);
        let folder = self.folder(interface);
        let failed = |source| StoreError::File { what: "clear", path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path != keep {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Removes the manifest of a generation that did not come to be.
    pub(super) fn discard(&self, interface: &str, program: u32) {
        // The error that led here is the one to tell; a manifest whose program is gone is never read.
        let _ = fs::remove_file(self.manifest(interface, program));
        // Stays where another generation's manifest is.
        let _ = fs::remove_dir(self.folder(interface));
    }

    /// Takes what an interface has along to its new name: links, counters and manifests. What another
    /// interface of that name left behind is removed.
    ///
    /// # Errors
    ///
    /// Where the pins or the state folder cannot be moved.
    pub fn rename(&self, _lock: &Lock, from: &str, to: &str) -> Result<(), StoreError> {
        self.forget(to)?;
        self.attachment(from).rename(to)?;
        self.rename_past(from, to)?;
        let (from, to) = (self.folder(from), self.folder(to));
        fs::rename(&from, to).map_err(|source| StoreError::File { what: "rename", path: from, source })
    }

    /// Takes along what interfaces have that were renamed to one that is `covered`: their links follow them,
    /// and would keep new ones away. Where the new name has something of its own, that stays.
    ///
    /// # Errors
    ///
    /// Where something cannot be read or moved.
    pub fn follow_renames(&self, lock: &Lock, covered: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        for from in self.interfaces()? {
            let Some(to) = self.attachment(&from).other_name()?.filter(|to| covered(to)) else { continue };
            if !matches!(self.attachment(&to).standing()?, Standing::Attached(_)) {
                self.rename(lock, &from, &to)?;
            }
        }
        Ok(())
    }

    /// Forgets an interface.
    pub(super) fn forget(&self, interface: &str) -> Result<(), StoreError> {
        self.forget_hits(interface)?;
        let path = self.folder(interface);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File { what: "remove", path, source })
            }
            _ => Ok(()),
        }
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
    /// Something was attached, but its interface is gone, or has another name now.
    Astray,
}

impl Known {
    /// What an operator must know and do; `None` where nothing is wrong.
    #[must_use]
    pub fn trouble(&self, interface: &str) -> Option<String> {
        match self {
            Self::Nothing | Self::Active(_) => None,
            Self::Lost(why) => Some(format!("{interface}: enforced, but {why}: apply the policy again")),
            Self::Astray => Some(format!(
                "{interface}: not enforced any more: the interface was removed or renamed; \
                 apply the policy again, or detach it"
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
    })
}

/// As [`Known`], with the manifest as it was written: whether its trial has ended is another question.
pub(super) enum Found {
    Nothing,
    Active(Arc<Manifest>),
    Lost(String),
    Astray,
}

pub(super) fn found(roots: &Roots, interface: &str) -> Result<Found, StoreError> {
    let attachment = roots.attachment(interface);
    let mut standing = attachment.standing()?;
    loop {
        let program = match standing {
            Standing::Absent => return Ok(Found::Nothing),
            Standing::Astray(_) => return Ok(Found::Astray),
            Standing::Attached(program) => program,
        };
        match roots.read_manifest(&roots.manifest(interface, program)) {
            Ok(Some(manifest)) => return Ok(Found::Active(manifest)),
            Ok(None) => {
                // Another command may have swapped programs and cleared this manifest meanwhile.
                let then = attachment.standing()?;
                if then == standing {
                    let path = roots.manifest(interface, program);
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

/// The manifest of the generation that is active on an interface; `None` where nothing is attached,
/// or where its manifest is lost.
///
/// # Errors
///
/// As [`known`].
pub fn active(roots: &Roots, interface: &str) -> Result<Option<Manifest>, StoreError> {
    Ok(match known(roots, interface)? {
        Known::Active(manifest) => Some(*manifest),
        Known::Nothing | Known::Lost(_) | Known::Astray => None,
    })
}

/// The manifest that the next generation goes on from: that of the active one, or of the last before the
/// interface was removed or renamed.
///
/// # Errors
///
/// As [`known`].
pub(super) fn last(roots: &Roots, interface: &str) -> Result<Option<Manifest>, StoreError> {
    match roots.attachment(interface).standing()? {
        Standing::Astray(program) => match roots.read_manifest(&roots.manifest(interface, program)) {
            // Then nobody knows what its counters stood for.
            Err(StoreError::Manifest { .. }) => Ok(None),
            other => Ok(other?.map(Arc::unwrap_or_clone)),
        },
        Standing::Absent | Standing::Attached(_) => active(roots, interface),
    }
}

fn read_manifest(path: &Path) -> Result<Option<Manifest>, StoreError> {
    /// What every form has; only this is read of one that may be foreign.
    #[derive(Deserialize)]
    struct Form {
        schema: u32,
    }
    let unreadable = |reason: String| StoreError::Manifest { path: path.into(), reason };
    // Two or more folders below the state folder, whose owner is the agent's user.
    let root = path.ancestors().find(|folder| folder.join("lock").exists()).unwrap_or(path);
    let text = match files::read_kept(path, MAX_BYTES, root) {
        Ok(text) => text,
        Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
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

/// Writes a file whole or not at all: beside its place first, then in it.
pub(super) fn write_whole(path: &Path, text: &[u8]) -> Result<(), StoreError> {
    files::write_private(path, text).map_err(|source| StoreError::File {
        what: "write",
        path: path.into(),
        source,
    })
}

pub(super) fn make_private(folder: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    // From the outside to the inside: each takes the owner of the one around it.
    let owned = made.and_then(|()| missing.into_iter().rev().try_for_each(files::take_owner_of_folder));
    owned.map_err(|source| StoreError::File { what: "make", path: folder.into(), source })
}
