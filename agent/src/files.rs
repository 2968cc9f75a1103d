//! Files that decide what is enforced: read only where nobody else could have written them, written whole
//! or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

/// Whoever may write to a file or folder, besides its owner (`S_IWGRP`, `S_IWOTH` of inode(7)).
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// In a folder with this mode only the owner of a file may replace it (`S_ISVTX` of inode(7)).
const STICKY: u32 = 0o1000;

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
        /// The file, or the folder that it lies in.
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
        /// The file, or the folder that it lies in.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The change that mends it.
        mend: &'static str,
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

/// Reads a file of at most `limit` bytes, whoever wrote it.
///
/// # Errors
///
/// Where it cannot be read, or is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    take(open(path)?, path, limit)
}

/// As [`read`], but refuses a file that anybody could have written but root, this process's user and, in a
/// command run by sudo, whoever called it; and one in a folder where others could have replaced it. A pipe
/// is read as it is: whoever wrote to it holds its other end.
///
/// # Errors
///
/// As [`read`], and where somebody else may write.
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
    let mut owners = trusted_owners();
    owners.extend(fs::metadata(root).map(|root| root.uid()));
    read_of(path, limit, &owners)
}

fn read_of(path: &Path, limit: u64, owners: &[u32]) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    // Of the opened file, not of the path, which may name another one by now.
    let metadata =
        file.metadata().map_err(|source| FileError::Io { what: "read", path: path.into(), source })?;
    if metadata.is_file() {
        ensure_trusted(path, &metadata, owners, 0)?;
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        if let Some(folder) = real.parent()
            && let Ok(metadata) = fs::metadata(folder)
        {
            ensure_trusted(folder, &metadata, owners, STICKY)?;
        }
    }
    take(file, path, limit)
}

/// Whether `metadata` shows that nobody but `owners` may write; a bit of `pardon` in the mode makes up for it.
fn ensure_trusted(
    path: &Path,
    metadata: &fs::Metadata,
    owners: &[u32],
    pardon: u32,
) -> Result<(), FileError> {
    let mode = metadata.mode() & 0o7777;
    if !owners.contains(&metadata.uid()) {
        let user = Uid::effective().as_raw();
        return Err(FileError::Owner { path: path.into(), owner: metadata.uid(), user });
    }
    let mend = match mode & (GROUP_WRITES | OTHERS_WRITE) {
        0 => return Ok(()),
        _ if mode & pardon != 0 => return Ok(()),
        GROUP_WRITES => "g-w",
        OTHERS_WRITE => "o-w",
        _ => "go-w",
    };
    Err(FileError::Mode { path: path.into(), mode, mend })
}

/// Root, this process's user, and whoever ran this command by sudo.
fn trusted_owners() -> Vec<u32> {
    let effective = Uid::effective();
    let mut owners = vec![0, effective.as_raw()];
    if effective.is_root() {
        owners.extend(std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse::<u32>().ok()));
    }
    owners
}

fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(|source| FileError::Io { what: "open", path: path.into(), source })
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

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
///
/// Where the file system refuses.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    take_owner_of_folder(&new)?;
    fs::rename(&new, path)
}

/// Gives a file or folder that root has just made to the owner of the folder that it lies in: what a command
/// of root leaves in the agent's folders is the agent's.
///
/// # Errors
///
/// Where the file system refuses.
pub fn take_owner_of_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|_| Uid::effective().is_root()) else { return Ok(()) };
    let folder = fs::metadata(folder)?;
    let own = fs::symlink_metadata(path)?;
    if (own.uid(), own.gid()) == (folder.uid(), folder.gid()) {
        return Ok(());
    }
    chown(path, Some(folder.uid()), Some(folder.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_modes(file: u32, folder: u32) -> Result<Vec<u8>, String> {
        let root = tempfile::tempdir().expect("temporary folder");
        let place = root.path().join("etc");
        fs::create_dir(&place).expect("folder");
        let path = place.join("policy.toml");
        fs::write(&path, "version = 1\n").expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(file)).expect("mode");
        fs::set_permissions(&place, fs::Permissions::from_mode(folder)).expect("mode");
        read_trusted(&path, 100).map_err(|error| error.to_string())
    }

    #[test]
    fn what_only_its_owner_may_write_is_read() {
        assert_eq!(with_modes(0o644, 0o755), Ok(b"version = 1\n".to_vec()));
        assert_eq!(with_modes(0o600, 0o1777), Ok(b"version = 1\n".to_vec()));
    }

    #[test]
    fn what_others_may_write_is_refused_with_the_command_that_mends_it() {
        for (file, folder, path, mend) in [
            (0o664, 0o755, "policy.toml has mode 0664", "chmod g-w "),
            (0o606, 0o755, "policy.toml has mode 0606", "chmod o-w "),
            (0o666, 0o755, "policy.toml has mode 0666", "chmod go-w "),
            (0o644, 0o777, "etc has mode 0777", "chmod go-w "),
        ] {
            let error = with_modes(file, folder).expect_err("others may write");
            assert!(error.contains(path) && error.contains(mend), "{error}");
        }
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let root = tempfile::tempdir().expect("temporary folder");
        let path = root.path().join("file");
        fs::write(&path, [0; 10]).expect("file");
        assert!(read(&path, 10).is_ok());
        assert!(read(&path, 9).expect_err("too large").to_string().contains("9 bytes"));
    }

    #[test]
    fn what_is_written_is_whole_and_private() {
        let root = tempfile::tempdir().expect("temporary folder");
        let path = root.path().join("file.json");
        for text in ["first and longer", "second"] {
            write_private(&path, text.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
        }
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(root.path()).expect("folder").count(), 1, "nothing is left beside it");
    }
}
