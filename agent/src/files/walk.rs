//! A path -> the file or folder that it names, held by a descriptor.
//!
//! Each name is looked up in the folder that was looked at before, so that nobody can put another thing in
//! place of what was judged. Links are followed here and not by the kernel.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::Metadata,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat},
    sys::{
        stat::{FileStat, Mode, SFlag, fstat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};

use super::FileError;

/// Whoever may write to a file or folder, besides its owner (`S_IWGRP`, `S_IWOTH` of inode(7)).
pub(super) const OTHERS_WRITE: u32 = 0o022;

/// As many links as the kernel follows (MAXSYMLINKS of include/linux/namei.h).
const MAX_LINKS: usize = 40;

/// What is asked of the way to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nobody but the owners could change any part of it: the file decides what is enforced.
    Trusted,
    /// Links are followed only where nobody but the owners could have made them: a folder of the agent's
    /// user must not lead a command of root out of it.
    Careful,
}

/// A file or folder, held so that it stays the one that was looked at, whatever becomes of its name.
#[derive(Debug)]
pub(super) struct Place {
    /// Opened with `O_PATH`: neither read nor written.
    pub(super) fd: OwnedFd,
    pub(super) stat: FileStat,
    /// Its name, free of links.
    pub(super) path: PathBuf,
}

/// How far a path leads.
pub(super) struct Reached {
    pub(super) place: Place,
    /// The names that are missing there, the first one in front.
    pub(super) missing: Vec<OsString>,
}

/// Finds what a path names.
pub(super) fn find(path: &Path, rule: Rule, owners: &BTreeSet<u32>) -> Result<Place, FileError> {
    let Reached { place, missing } = walk(path, rule, owners)?;
    if missing.is_empty() {
        return Ok(place);
    }
    Err(FileError::Io { what: "open", path: path.into(), source: Errno::ENOENT.into() })
}

/// Goes along a path as far as there is something.
pub(super) fn walk(path: &Path, rule: Rule, owners: &BTreeSet<u32>) -> Result<Reached, FileError> {
    let failed = |error: io::Error| FileError::Io { what: "open", path: path.into(), source: error };
    let mut rest = reversed(&std::path::absolute(path).map_err(failed)?);
    let mut way = Way { rule, owners, is_safe: true };
    let mut place = Place::root().map_err(|error| failed(error.into()))?;
    way.look(&place)?;
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let next = match place.step(&name) {
            Ok(next) => next,
            Err(Errno::ENOENT) => {
                rest.push(name);
                rest.reverse();
                return Ok(Reached { place, missing: rest });
            }
            Err(errno) => return Err(failed(errno.into())),
        };
        if kind(&next.stat) != SFlag::S_IFLNK {
            way.look(&next)?;
            place = next;
            continue;
        }
        way.look_at_link(&next)?;
        links += 1;
        if links > MAX_LINKS {
            return Err(failed(Errno::ELOOP.into()));
        }
        if place.is_magic(&name) {
            if !rest.is_empty() {
                return Err(FileError::Kind { path: next.path, kind: "a folder that a process has open" });
            }
            let descriptor = place.descriptor(&name, next.path).map_err(|errno| failed(errno.into()))?;
            way.look(&descriptor)?;
            place = descriptor;
            continue;
        }
        let target = readlinkat(next.fd.as_fd(), "").map_err(|errno| failed(errno.into()))?;
        let target = PathBuf::from(target);
        if target.is_absolute() {
            place = Place::root().map_err(|errno| failed(errno.into()))?;
        }
        rest.extend(reversed(&target));
    }
    Ok(Reached { place, missing: Vec::new() })
}

/// What was seen on the way.
struct Way<'a> {
    rule: Rule,
    owners: &'a BTreeSet<u32>,
    /// Whether nobody but the owners could have changed anything so far.
    is_safe: bool,
}

impl Way<'_> {
    fn look(&mut self, place: &Place) -> Result<(), FileError> {
        if is_above_the_tests(&place.path) {
            return Ok(());
        }
        let problem = place.trouble(self.owners);
        match (self.rule, problem) {
            (_, None) => Ok(()),
            (Rule::Trusted, Some(problem)) => Err(problem),
            (Rule::Careful, Some(_)) => {
                self.is_safe = false;
                Ok(())
            }
        }
    }

    fn look_at_link(&self, link: &Place) -> Result<(), FileError> {
        let is_owned = self.owners.contains(&link.stat.st_uid);
        match self.rule {
            Rule::Careful if !self.is_safe => Err(FileError::Planted { path: link.path.clone() }),
            Rule::Trusted if !is_owned => {
                Err(FileError::Link { path: link.path.clone(), owner: link.stat.st_uid })
            }
            _ => Ok(()),
        }
    }
}

impl Place {
    fn root() -> nix::Result<Self> {
        let fd = openat(AT_FDCWD, "/", FOLDER, Mode::empty())?;
        Ok(Self { stat: fstat(&fd)?, fd, path: "/".into() })
    }

    /// The next thing on the way; a link is not followed.
    fn step(&self, name: &OsStr) -> nix::Result<Self> {
        let fd = openat(self.fd.as_fd(), name, ANYTHING, Mode::empty())?;
        let path = if name == ".." {
            self.path.parent().unwrap_or(&self.path).to_owned()
        } else {
            self.path.join(name)
        };
        Ok(Self { stat: fstat(&fd)?, fd, path })
    }

    /// Whether a link is one of those by which the kernel shows a process's descriptors: what it leads to
    /// has no name, or had another one.
    fn is_magic(&self, name: &OsStr) -> bool {
        if !fstatfs(&self.fd).is_ok_and(|info| info.filesystem_type() == PROC_SUPER_MAGIC) {
            return false;
        }
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
        let found = openat2(self.fd.as_fd(), name, how.resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS));
        matches!(found, Err(Errno::ELOOP))
    }

    fn descriptor(&self, name: &OsStr, path: PathBuf) -> nix::Result<Self> {
        let fd = openat(self.fd.as_fd(), name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { stat: fstat(&fd)?, fd, path })
    }

    /// Why others than `owners` could change it; `None` where they could not.
    fn trouble(&self, owners: &BTreeSet<u32>) -> Option<FileError> {
        // Anything else is not read, whoever owns it.
        if !matches!(kind(&self.stat), SFlag::S_IFDIR | SFlag::S_IFREG | SFlag::S_IFIFO) {
            return None;
        }
        let FileStat { st_uid: owner, st_mode, .. } = self.stat;
        let (path, mode) = (self.path.clone(), st_mode & 0o7777);
        if !owners.contains(&owner) {
            return Some(FileError::Owner { path, owner, user: nix::unistd::Uid::effective().as_raw() });
        }
        const GROUP_WRITES: u32 = 0o020;
        const ALL_WRITE: u32 = 0o002;
        /// Only the owner of a file may replace it there (`S_ISVTX` of inode(7)).
        const STICKY: u32 = 0o1000;
        let mend = match mode & OTHERS_WRITE {
            0 => return None,
            _ if mode & STICKY != 0 && self.is_folder() => return Some(FileError::Shared { path, mode }),
            GROUP_WRITES => "g-w",
            ALL_WRITE => "o-w",
            _ => "go-w",
        };
        Some(FileError::Mode { path, mode, mend })
    }

    /// Refuses what no text comes from, before it is opened: opening a device may set something off.
    pub(super) fn ensure_readable(&self) -> Result<(), FileError> {
        match kind(&self.stat) {
            SFlag::S_IFREG | SFlag::S_IFIFO => Ok(()),
            other => Err(FileError::Kind { path: self.path.clone(), kind: what(other) }),
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        kind(&self.stat) == SFlag::S_IFDIR
    }

    /// A path that leads to this place and to nothing else, as long as this lives.
    pub(super) fn through(&self) -> PathBuf {
        through(&self.fd)
    }
}

/// A path that leads to what a descriptor holds, and to nothing else, as long as it is open.
pub(super) fn through(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// How a folder on the way is opened, and how anything is.
const FOLDER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const ANYTHING: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// What a file is.
pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// What a file is.
pub(super) fn kind_of(metadata: &Metadata) -> SFlag {
    SFlag::from_bits_truncate(metadata.mode() & SFlag::S_IFMT.bits())
}

/// What a kind of file is called that is not read.
pub(super) fn what(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFDIR => "a folder",
        SFlag::S_IFIFO => "a named pipe",
        SFlag::S_IFSOCK => "a socket",
        SFlag::S_IFCHR | SFlag::S_IFBLK => "a device",
        _ => "no file",
    }
}

/// The names of a path, the last one first.
pub(crate) fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

/// Unit tests have their folders below one that everybody may write to; what they say of a way begins there.
#[cfg(test)]
fn is_above_the_tests(path: &Path) -> bool {
    std::fs::canonicalize(std::env::temp_dir()).is_ok_and(|tests| tests.starts_with(path))
}

#[cfg(not(test))]
fn is_above_the_tests(_path: &Path) -> bool {
    false
}
