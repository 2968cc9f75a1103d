//! Folders that root's commands share with the agent's user, who may change them at any moment.
//!
//! Every path is walked on descriptors ([`super::walk`]), and the last name is used in the folder that was
//! found: no link that the agent's user made is followed. What root makes there gets the owner of its folder
//! by the descriptor that made it, before it has its name where that is possible, so that nothing that lies
//! elsewhere can be given away.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, unlinkat},
};

use super::{
    FileError, trusted_owners,
    walk::{OTHERS_WRITE, Place, Reached, Rule, kind, through, walk},
};

/// How a file that nobody may have planted is opened: at once, whatever it is, and not through a link.
const PLAIN: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// A folder, held so that it stays the one that was found.
struct Folder(Place);

/// A name in a folder that is held.
struct Named {
    folder: Folder,
    name: OsString,
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
///
/// Where the file system refuses.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Named { folder, name } = Named::of(path)?;
    let (mut file, new) = folder.create(&name)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| Ok(renameat(&folder.0.fd, &*new, &folder.0.fd, &*name)?));
    placed.inspect_err(|_| folder.forget(&new))
}

/// Opens a file that only serves to be locked; makes it where it is missing.
///
/// # Errors
///
/// Where the file system refuses, or something else has that name.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let Named { folder, name } = Named::of(path)?;
    loop {
        match openat(&folder.0.fd, &*name, OFlag::O_RDONLY | PLAIN, Mode::empty()) {
            Ok(fd) => return regular(fd, path),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(planted(errno, path)),
        }
        // It has its owner before anybody can find it.
        let (_, new) = folder.create(&name)?;
        let linked = linkat(&folder.0.fd, &*new, &folder.0.fd, &*name, AtFlags::empty());
        folder.forget(&new);
        match linked {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sets when a file was last changed.
///
/// # Errors
///
/// Where it is missing, or something else has that name.
pub fn touch(path: &Path, time: SystemTime) -> io::Result<()> {
    let Named { folder, name } = Named::of(path)?;
    let fd = openat(&folder.0.fd, &*name, OFlag::O_WRONLY | PLAIN, Mode::empty());
    let file = regular(fd.map_err(|errno| planted(errno, path))?, path)?;
    // A second name of a file that lies elsewhere.
    if file.metadata()?.nlink() != 1 {
        return Err(io::Error::other(FileError::Planted { path: path.into() }));
    }
    file.set_modified(time)
}

/// Makes a folder that only its owner may enter, and those around it that are missing. Each takes the owner of
/// the one around it.
///
/// # Errors
///
/// Where the file system refuses.
pub fn make_private(path: &Path) -> io::Result<()> {
    let Reached { mut place, missing } = reach(path)?;
    for name in missing {
        if name == ".." {
            return Err(Errno::ENOENT.into());
        }
        let folder = Folder::new(place)?;
        place = folder.make(&name)?;
    }
    Folder::new(place).map(drop)
}

/// Removes a file.
///
/// # Errors
///
/// Where it is missing, or the file system refuses.
pub fn remove_file(path: &Path) -> io::Result<()> {
    let Named { folder, name } = Named::of(path)?;
    Ok(unlinkat(&folder.0.fd, &*name, UnlinkatFlags::NoRemoveDir)?)
}

/// Removes an empty folder.
///
/// # Errors
///
/// As [`remove_file`], and where something is in it.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    let Named { folder, name } = Named::of(path)?;
    Ok(unlinkat(&folder.0.fd, &*name, UnlinkatFlags::RemoveDir)?)
}

/// Removes a folder and everything in it.
///
/// # Errors
///
/// As [`remove_file`].
pub fn remove_all(path: &Path) -> io::Result<()> {
    let named = Named::of(path)?;
    // It follows no links below the folder that it begins in.
    std::fs::remove_dir_all(named.through())
}

/// Gives a file or folder another name.
///
/// # Errors
///
/// Where it is missing, or the file system refuses.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (Named::of(from)?, Named::of(to)?);
    Ok(renameat(&from.folder.0.fd, &*from.name, &to.folder.0.fd, &*to.name)?)
}

/// Gives a file a second name.
///
/// # Errors
///
/// As [`rename`].
pub fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (Named::of(from)?, Named::of(to)?);
    Ok(linkat(&from.folder.0.fd, &*from.name, &to.folder.0.fd, &*to.name, AtFlags::empty())?)
}

/// The names in a folder, and whether each is a folder itself.
///
/// # Errors
///
/// Where it is missing or cannot be read.
pub fn names(path: &Path) -> io::Result<Vec<(OsString, bool)>> {
    let folder = Folder::new(found(path)?)?;
    let entries = std::fs::read_dir(folder.0.through())?;
    entries
        .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?.is_dir()))))
        .collect()
}

/// Gives a file that root has just made to the owner of the folder that it lies in: what a command of root
/// leaves in the agent's folders is the agent's. For what is made by name alone, as pins are.
///
/// # Errors
///
/// Where the file system refuses, or the name stands for something else.
pub fn take_owner_of_folder(path: &Path) -> io::Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let named = Named::of(path)?;
    let (fd, stat) = named.hold()?;
    let owner = named.folder.owner();
    if (stat.st_uid, stat.st_gid) == (owner.0.as_raw(), owner.1.as_raw()) {
        return Ok(());
    }
    // A file that lies elsewhere has a second name there, which the agent's user cannot remove.
    if kind(&stat) != SFlag::S_IFREG || stat.st_nlink != 1 {
        return Err(io::Error::other(FileError::Planted { path: path.into() }));
    }
    Ok(fchownat(&fd, "", Some(owner.0), Some(owner.1), AtFlags::AT_EMPTY_PATH)?)
}

/// A path for calls that take no descriptor: it leads where this was found, whatever becomes of the names.
#[derive(Debug)]
pub struct Held {
    // Whatever the path leads through is held as long as it is used.
    _fd: OwnedFd,
    path: PathBuf,
}

impl Held {
    /// What has this name now; `None` where nothing has.
    ///
    /// # Errors
    ///
    /// Where that cannot be told, or the name stands for a link.
    pub fn existing(path: &Path) -> io::Result<Option<Self>> {
        match Named::of(path).and_then(|named| named.hold()) {
            Ok((_, stat)) if kind(&stat) == SFlag::S_IFLNK => {
                Err(io::Error::other(FileError::Planted { path: path.into() }))
            }
            Ok((fd, _)) => Ok(Some(Self { path: through(&fd), _fd: fd })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A name that is to be given in its folder.
    ///
    /// # Errors
    ///
    /// Where there is no such folder.
    pub fn new_name(path: &Path) -> io::Result<Self> {
        let named = Named::of(path)?;
        Ok(Self { path: named.through(), _fd: named.folder.0.fd })
    }

    /// The path; it is good as long as this lives.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Named {
    fn of(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(Errno::EISDIR)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { folder: Folder::new(found(parent)?)?, name })
    }

    fn through(&self) -> PathBuf {
        self.folder.0.through().join(&self.name)
    }

    /// What has the name now, a link itself where it is one.
    fn hold(&self) -> io::Result<(OwnedFd, FileStat)> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.folder.0.fd, &*self.name, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        Ok((fd, stat))
    }
}

impl Folder {
    fn new(place: Place) -> io::Result<Self> {
        if place.is_folder() { Ok(Self(place)) } else { Err(Errno::ENOTDIR.into()) }
    }

    fn owner(&self) -> (Uid, Gid) {
        (Uid::from_raw(self.0.stat.st_uid), Gid::from_raw(self.0.stat.st_gid))
    }

    /// Makes a file that belongs to the folder's owner, under a name that nobody uses; gives both.
    fn create(&self, name: &OsStr) -> io::Result<(File, OsString)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        /// More names than anybody has planted by accident.
        const TRIES: usize = 64;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | PLAIN;
        for _ in 0..TRIES {
            let mut new = name.to_owned();
            new.push(format!(".{}-{}.new", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
            let fd = match openat(&self.0.fd, &*new, flags, Mode::from_bits_truncate(0o600)) {
                Ok(fd) => fd,
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(errno.into()),
            };
            return match self.give(&fd) {
                Ok(()) => Ok((fd.into(), new)),
                Err(error) => {
                    self.forget(&new);
                    Err(error)
                }
            };
        }
        Err(Errno::EEXIST.into())
    }

    /// Makes a folder, unless it is there by now.
    fn make(&self, name: &OsStr) -> io::Result<Place> {
        let is_new = match mkdirat(&self.0.fd, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        let path = self.0.path.join(name);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | PLAIN;
        let fd = openat(&self.0.fd, name, flags, Mode::empty()).map_err(|errno| planted(errno, &path))?;
        let mut stat = fstat(&fd)?;
        if is_new && Uid::effective().is_root() {
            // Whoever owns the folder may have put another one there meanwhile, but none of root's that lay
            // elsewhere: only who may write to a folder can move it into another one (rename(2)).
            if stat.st_uid != 0 || stat.st_mode & OTHERS_WRITE != 0 {
                return Err(io::Error::other(FileError::Planted { path }));
            }
            self.give(&fd)?;
            stat = fstat(&fd)?;
        }
        Ok(Place { fd, stat, path })
    }

    /// Gives what root has just made here to the folder's owner.
    fn give(&self, made: &OwnedFd) -> io::Result<()> {
        let (user, group) = self.owner();
        if !Uid::effective().is_root() || user.is_root() && group.as_raw() == fstat(made)?.st_gid {
            return Ok(());
        }
        Ok(fchown(made, Some(user), Some(group))?)
    }

    /// Removes what did not come to be; the error that led here is the one to tell.
    fn forget(&self, name: &OsStr) {
        let _ = unlinkat(&self.0.fd, name, UnlinkatFlags::NoRemoveDir);
    }
}

fn reach(path: &Path) -> io::Result<Reached> {
    walk(path, Rule::Careful, &trusted_owners()).map_err(FileError::into_io)
}

fn found(path: &Path) -> io::Result<Place> {
    super::walk::find(path, Rule::Careful, &trusted_owners()).map_err(FileError::into_io)
}

/// What was opened, if it is a regular file.
fn regular(fd: OwnedFd, path: &Path) -> io::Result<File> {
    if kind(&fstat(&fd)?) == SFlag::S_IFREG {
        return Ok(fd.into());
    }
    Err(io::Error::other(FileError::Planted { path: path.into() }))
}

/// What an error means that a name is refused with where it stands for a link.
fn planted(errno: Errno, path: &Path) -> io::Error {
    match errno {
        Errno::ELOOP | Errno::ENOTDIR | Errno::ENXIO => {
            io::Error::other(FileError::Planted { path: path.into() })
        }
        errno => errno.into(),
    }
}
