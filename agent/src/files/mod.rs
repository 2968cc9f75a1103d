//! Files that decide what is enforced: read only where nobody else could have written or replaced them,
//! written whole or not at all, and never through what somebody else has planted.
//!
//! [`walk`] finds a path on descriptors, [`folder`] is what root's commands do in folders that the agent's
//! user may change.

mod folder;
mod walk;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::statfs::{FsType, fstatfs},
    unistd::Uid,
};

pub use self::folder::{
    Held, hard_link, make_private, names, open_lock, remove_all, remove_file, remove_folder, rename,
    take_owner_of_folder, touch, write_private,
};
pub(crate) use self::walk::reversed;
use self::walk::{Rule, find, kind_of, what};

/// `PIPEFS_MAGIC` of include/uapi/linux/magic.h: where pipes are that have no name.
const PIPEFS_MAGIC: FsType = FsType(0x5049_5045);

/// A file that is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system refuses.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The operation.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else owns it.
    #[error(
        "{path} belongs to the user with number {owner}, who could change what is enforced: \
         make it yours with `chown {user} {path}`"
    )]
    Owner {
        /// The file, or a folder on the way to it.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who should own it.
        user: u32,
    },
    /// Somebody else may write to it.
    #[error(
        "{path} has mode {mode:04o}, so that others than its owner could change what is enforced: \
         `chmod {mend} {path}` mends it"
    )]
    Mode {
        /// The file, or a folder on the way to it.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The change that mends it.
        mend: &'static str,
    },
    /// It lies in a folder in which everybody may make files.
    #[error(
        "{path} has mode {mode:04o}: it is a folder in which others may make files, and what decides what is \
         enforced does not belong there: move it to a folder of yours, as /etc/portcullis"
    )]
    Shared {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else made the link that leads to it.
    #[error(
        "{path} is a symbolic link of the user with number {owner}, who could have it lead elsewhere: \
         name the file that it leads to, or make the link again as yourself"
    )]
    Link {
        /// The link.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Something that is not made by this command has its name.
    #[error(
        "{path} is not what this command or the agent made there, but a link or something else that \
         could lead elsewhere: remove it, and see who made it"
    )]
    Planted {
        /// What it is.
        path: PathBuf,
    },
    /// It is no file that ends.
    #[error(
        "{path} is {kind}, which is not read: name a regular file, or pass the text on by a pipe \
         (`generate | portcullis COMMAND /dev/stdin`)"
    )]
    Kind {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It is larger than anything that is meant to be read.
    #[error("{path} has more than the {limit} bytes that are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

impl FileError {
    /// The file, or the folder or link on the way to it, that is not as it should be.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::Owner { path, .. }
            | Self::Mode { path, .. }
            | Self::Shared { path, .. }
            | Self::Link { path, .. }
            | Self::Planted { path }
            | Self::Kind { path, .. }
            | Self::TooLarge { path, .. } => path,
        }
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The error as what a file system says; its kind is kept where the file system said it.
    fn into_io(self) -> io::Error {
        match self {
            Self::Io { source, .. } => source,
            other => io::Error::other(other),
        }
    }
}

/// Reads a file of at most `limit` bytes, whoever wrote it. What has no end by itself, as a named pipe that
/// nobody writes to, is not opened.
///
/// # Errors
///
/// Where it cannot be read, or is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    take(open(path, path)?, path, limit)
}

/// As [`read`], but refuses a file unless only root, this process's user and, in a command run by sudo, whoever
/// called it could have written it, replaced it, or replaced any folder or link that leads to it. A pipe without
/// a name is read where one of them made it: whoever wrote to it holds its other end.
///
/// # Errors
///
/// As [`read`], and where somebody else could have.
pub fn read_trusted(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_of(path, limit, &trusted_owners())
}

/// As [`read_trusted`], for a file that the agent keeps below the folder `root`: whoever owns that folder is
/// the agent's user, and may have written it.
///
/// # Errors
///
/// As [`read_trusted`].
pub fn read_kept(path: &Path, limit: u64, root: &Path) -> Result<Vec<u8>, FileError> {
    read_of(path, limit, &owners_of_kept(root)?)
}

/// Refuses a folder below which files are kept if what is kept there would not be read again.
///
/// # Errors
///
/// Where somebody else could write to it or replace it, or where it is missing.
pub fn ensure_keeps(root: &Path) -> Result<(), FileError> {
    find(root, Rule::Trusted, &owners_of_kept(root)?).map(drop)
}

fn owners_of_kept(root: &Path) -> Result<BTreeSet<u32>, FileError> {
    let mut owners = trusted_owners();
    owners.insert(find(root, Rule::Careful, &owners)?.stat.st_uid);
    Ok(owners)
}

fn read_of(path: &Path, limit: u64, owners: &BTreeSet<u32>) -> Result<Vec<u8>, FileError> {
    let place = find(path, Rule::Trusted, owners)?;
    place.ensure_readable()?;
    take(open(&place.through(), path)?, path, limit)
}

/// Root, this process's user, and whoever ran this command by sudo.
fn trusted_owners() -> BTreeSet<u32> {
    let effective = Uid::effective();
    let mut owners = BTreeSet::from([0, effective.as_raw()]);
    if effective.is_root() {
        owners.extend(std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse::<u32>().ok()));
    }
    owners
}

/// Opens a file that ends, or a pipe that somebody passes on, and nothing else.
fn open(path: &Path, shown: &Path) -> Result<File, FileError> {
    let failed = |what| move |source| FileError::Io { what, path: shown.into(), source };
    // Opening a named pipe would wait for whoever writes to it.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = match opened {
        // What is said where a socket is opened (open(2)).
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Err(FileError::Kind { path: shown.into(), kind: "a socket" });
        }
        other => other.map_err(failed("open"))?,
    };
    let metadata = file.metadata().map_err(failed("read"))?;
    if metadata.is_file() {
        return Ok(file);
    }
    let is_nameless = fstatfs(&file).is_ok_and(|info| info.filesystem_type() == PIPEFS_MAGIC);
    if metadata.file_type().is_fifo() && is_nameless {
        // From here on whoever reads waits for what is written.
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| failed("read")(errno.into()))?;
        return Ok(file);
    }
    Err(FileError::Kind { path: shown.into(), kind: what(kind_of(&metadata)) })
}

fn take(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| FileError::Io {
        what: "read",
        path: path.into(),
        source,
    })?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.into(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
