//! Where the kernel objects that outlive a process are pinned.
//!
//! ```text
//! <bpffs>/portcullis/v1/FLOWS4, FLOWS6, FLOW_PORTS            shared by all interfaces
//! <bpffs>/portcullis/v1/<interface>/COUNTERS, ingress, egress  one interface's counters and links
//! ```
//!
//! The directory carries the ABI version: another build never opens maps that it would misread.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{FsType, statfs},
};
use portcullis_common::abi::{self, map};

use super::DatapathError;

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11_u32 as _);

/// The pins of one interface.
#[derive(Clone, Debug)]
pub struct Pins {
    shared: PathBuf,
    own: PathBuf,
}

impl Pins {
    /// Maps that are pinned; all others belong to a generation.
    pub(super) const SHARED_MAPS: [&'static str; 4] =
        [map::COUNTERS, map::FLOWS4, map::FLOWS6, map::FLOW_PORTS];

    /// The pins of `interface` on the BPF file system mounted at `bpffs`.
    #[must_use]
    pub fn new(bpffs: &Path, interface: &str) -> Self {
        let shared = directory(bpffs);
        let own = shared.join(file_name(interface));
        Self { shared, own }
    }

    /// The interfaces that have pins.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be read: then nobody may conclude that there are none.
    pub fn interfaces(bpffs: &Path) -> Result<Vec<String>, DatapathError> {
        let path = directory(bpffs);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound => Ok(Vec::new()),
                    io::ErrorKind::PermissionDenied => {
                        Err(DatapathError::Permission { what: "reading what is enforced" })
                    }
                    _ => Err(DatapathError::File { what: "read", path, source: error }),
                };
            }
        };
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .map(|name| name.replace(':', "."))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The pin of a map.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        if name == map::COUNTERS { self.own.join(name) } else { self.shared.join(name) }
    }

    /// The pin of the ingress link.
    pub(super) fn ingress(&self) -> PathBuf {
        self.own.join(abi::INGRESS_PROGRAM)
    }

    /// The pin of the egress link.
    pub(super) fn egress(&self) -> PathBuf {
        self.own.join(abi::EGRESS_PROGRAM)
    }

    /// Makes the directories.
    pub(super) fn create(&self) -> Result<(), DatapathError> {
        fs::create_dir_all(&self.own).map_err(|source| DatapathError::File {
            what: "make",
            path: self.own.clone(),
            source,
        })
    }

    /// Moves the interface's own pins to another name.
    pub(super) fn rename(&self, to: &str) -> Result<(), DatapathError> {
        fs::rename(&self.own, self.shared.join(file_name(to))).map_err(|source| DatapathError::File {
            what: "rename",
            path: self.own.clone(),
            source,
        })
    }

    /// Removes every pin of the interface, and the shared ones with the last interface.
    pub(super) fn remove(&self) -> Result<(), DatapathError> {
        for path in [self.ingress(), self.egress(), self.map(map::COUNTERS)] {
            remove_file(&path)?;
        }
        remove_directory(&self.own)?;
        let others = fs::read_dir(&self.shared).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        });
        if others {
            return Ok(());
        }
        for name in Self::SHARED_MAPS {
            remove_file(&self.map(name))?;
        }
        remove_directory(&self.shared)
    }
}

/// bpffs refuses dots in names, interfaces refuse colons (dev_valid_name in net/core/dev.c).
fn file_name(interface: &str) -> String {
    interface.replace('.', ":")
}

fn directory(bpffs: &Path) -> PathBuf {
    bpffs.join("portcullis").join(format!("v{}", abi::VERSION))
}

fn remove_file(path: &Path) -> Result<(), DatapathError> {
    missing_is_fine(fs::remove_file(path)).map_err(|source| DatapathError::File {
        what: "remove",
        path: path.into(),
        source,
    })
}

fn remove_directory(path: &Path) -> Result<(), DatapathError> {
    missing_is_fine(fs::remove_dir(path)).map_err(|source| DatapathError::File {
        what: "remove",
        path: path.into(),
        source,
    })
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes sure that a BPF file system is mounted at `path`, as bpftool does; systemd mounts it at boot
/// on most hosts. Gives whether it had to be mounted.
///
/// # Errors
///
/// Where it is missing and cannot be mounted.
pub fn ensure_bpffs(path: &Path) -> Result<bool, DatapathError> {
    if statfs(path).is_ok_and(|info| info.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(false);
    }
    let failed = |source: io::Error| DatapathError::NoBpffs { path: path.into(), source };
    fs::create_dir_all(path).map_err(failed)?;
    mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .map_err(|errno| failed(errno.into()))?;
    Ok(true)
}
