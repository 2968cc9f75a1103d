//! Where manifests are kept, and the lock that serialises whoever writes them.
//!
//! ```text
//! <state>/lock                              held while something changes
//! <state>/interfaces/<device>/<program id>.json   the manifest of the generation with that program
//! <state>/revisions/                        earlier policies, see [`super::revision`]
//! <state>/hits/, <state>/archive/           what is kept of counters, see [`super::past`]
//! ```

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

use super::{known::Read, manifest::Manifest};
use crate::{
    datapath::{DatapathError, Device, chain},
    files::{self, FileError},
    policy::is_interface_name,
};

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
    pub(super) read: Read,
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
    /// Another network namespace uses the state folder.
    #[error(
        "{state} is the state folder of another network namespace, in which `{interface}` is enforced: name folders \
         of this one's own with --state, --lasting and --bpffs"
    )]
    OtherNamespace {
        /// The folder.
        state: PathBuf,
        /// An interface there; empty where its name is not known.
        interface: String,
    },
    /// What is no name of an interface must not become part of a path.
    #[error("`{}` is no name of an interface", .0.escape_debug())]
    Name(String),
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
    /// Others than the agent could have written it.
    #[error(transparent)]
    Untrusted(FileError),
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { what, path, source } => Self::File { what, path, source },
            other => Self::Untrusted(other),
        }
    }
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
        // What is written where others may write would not be read again.
        files::ensure_keeps(&self.state)?;
        let path = self.state.join("lock");
        let file = files::open_lock(&path);
        let mut file =
            file.map_err(|source| StoreError::File { what: "open", path: path.clone(), source })?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    self.ensure_own()?;
                    if let Err(error) = self.complete_takeovers() {
                        log::warn!("{}", chain(&error));
                    }
                    return Ok(Lock(lock));
                }
                Err((file, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < deadline => file,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(StoreError::Locked(path)),
                Err((_, errno)) => return Err(StoreError::File { what: "lock", path, source: errno.into() }),
            };
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn folder(&self, device: Device) -> PathBuf {
        self.state.join("interfaces").join(device.to_string())
    }

    pub(super) fn manifest(&self, device: Device, program: u32) -> PathBuf {
        self.folder(device).join(format!("{program}.json"))
    }

    /// Writes the manifest of the generation with `program`, whole or not at all, for its device and
    /// for its revision.
    pub(super) fn write(&self, program: u32, manifest: &Manifest) -> Result<(), StoreError> {
        make_private(&self.folder(manifest.device))?;
        let path = self.manifest(manifest.device, program);
        let mut text = serde_json::to_vec(manifest)
            .map_err(|error| StoreError::Manifest { path: path.clone(), reason: error.to_string() })?;
        text.push(b'\n');
        write_whole(&path, &text)?;
        self.add_to_revision(manifest.revision, &manifest.interface, &path)
    }

    /// Removes every manifest of a device but that of `program`.
    pub(super) fn keep_only(&self, device: Device, program: u32) -> Result<(), StoreError> {
        let keep = self.manifest(device, program);
        let folder = self.folder(device);
        let failed = |source| StoreError::File { what: "clear", path: folder.clone(), source };
        for (name, _) in files::names(&folder).map_err(failed)? {
            let path = folder.join(name);
            if path != keep {
                files::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Removes the manifest of a generation that did not come to be.
    pub(super) fn discard(&self, device: Device, program: u32) {
        // The error that led here is the one to tell; a manifest whose program is gone is never read.
        let _ = files::remove_file(&self.manifest(device, program));
        // Stays where another generation's manifest is.
        let _ = files::remove_folder(&self.folder(device));
    }

    /// Forgets a device.
    pub(super) fn forget(&self, device: Device) -> Result<(), StoreError> {
        self.forget_hits(device)?;
        let path = self.folder(device);
        match files::remove_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File { what: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}

/// The file of an interface in a folder.
pub(super) fn named(folder: &Path, interface: &str) -> Result<PathBuf, StoreError> {
    if !is_interface_name(interface) {
        return Err(StoreError::Name(interface.to_owned()));
    }
    Ok(folder.join(format!("{interface}.json")))
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
    files::make_private(folder).map_err(|source| StoreError::File {
        what: "make",
        path: folder.into(),
        source,
    })
}
