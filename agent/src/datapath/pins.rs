//! Where the kernel objects that outlive a process are pinned.
//!
//! ```text
//! <bpffs>/portcullis/v<version>/<namespace>/FLOWS, FLOW_SETTINGS, FLOW_COUNTERS, FLOW_MARKS, FLOW_FORGOTTEN
//! <bpffs>/portcullis/v<version>/<namespace>/<index>/COUNTERS, ingress, egress, and DIFFERENCES with a shadow
//! ```
//!
//! The first are shared by all interfaces of a network namespace, the others are those of one device
//! ([`Device`]). The version is that of the ABI: another build never opens maps that it would misread.

use std::{
    io,
    path::{Path, PathBuf},
};

use aya::maps::MapInfo;
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::statfs::{FsType, Statfs, statfs},
};
use portcullis_common::abi::{self, map};

use super::{DatapathError, Device, ends_with_this_process};
use crate::files::{self, Held};

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11_u32 as _);

/// The ring of the programs' diagnostics, as aya-log names it; pinned only while it changes hands.
pub(super) const RING: &str = "AYA_LOGS";

/// The pins of one device.
#[derive(Clone, Debug)]
pub struct Pins {
    device: Device,
    shared: PathBuf,
    own: PathBuf,
}

impl Pins {
    /// Maps that are pinned; all others belong to a generation.
    pub(super) const SHARED_MAPS: [&'static str; 6] = [
        map::COUNTERS,
        map::FLOWS,
        map::FLOW_SETTINGS,
        map::FLOW_COUNTERS,
        map::FLOW_MARKS,
        map::FLOW_FORGOTTEN,
    ];

    /// The pins of `device` on the BPF file system mounted at `bpffs`.
    #[must_use]
    pub fn new(bpffs: &Path, device: Device) -> Self {
        let shared = directory(bpffs, device.namespace);
        let own = shared.join(device.index.to_string());
        Self { device, shared, own }
    }

    /// Whose they are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// The devices of a network namespace that have pins.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be read: then nobody may conclude that there are none.
    pub fn devices(bpffs: &Path, namespace: u64) -> Result<Vec<Device>, DatapathError> {
        let path = directory(bpffs, namespace);
        let entries = match files::names(&path) {
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
        let mut devices: Vec<Device> = entries
            .into_iter()
            .filter(|(_, is_folder)| *is_folder)
            .filter_map(|(name, _)| name.to_str()?.parse().ok())
            .map(|index| Device { namespace, index })
            .collect();
        devices.sort_unstable();
        Ok(devices)
    }

    /// The pin of a map.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        let name = match name {
            // The BPF file system keeps dots in names for itself.
            map::FLOW_SETTINGS => "FLOW_SETTINGS",
            map::FLOW_MARKS => "FLOW_MARKS",
            map::FLOW_FORGOTTEN => "FLOW_FORGOTTEN",
            name => name,
        };
        if matches!(name, map::COUNTERS | map::DIFFERENCES | RING) {
            self.own.join(name)
        } else {
            self.shared.join(name)
        }
    }

    /// The pin of the ingress link.
    pub(super) fn ingress(&self) -> PathBuf {
        self.own.join(abi::INGRESS_PROGRAM)
    }

    /// The pin of the egress link.
    pub(super) fn egress(&self) -> PathBuf {
        self.own.join(abi::EGRESS_PROGRAM)
    }

    /// Whether there are any.
    #[must_use]
    pub fn are_there(&self) -> bool {
        self.own.is_dir()
    }

    /// Those of another interface of the same network namespace.
    pub(super) fn of(&self, index: u32) -> Self {
        let device = Device { index, ..self.device };
        Self { device, shared: self.shared.clone(), own: self.shared.join(index.to_string()) }
    }

    /// Makes the directories.
    pub(super) fn create(&self) -> Result<(), DatapathError> {
        files::make_private(&self.own).map_err(|source| DatapathError::File {
            what: "make",
            path: self.own.clone(),
            source,
        })
    }

    /// Refuses pinned maps that are shaped otherwise than this build expects: the library would open them,
    /// and what reads and writes them would misread them. `expected` gives key size, value size and
    /// number of entries of a map by its name and its number of entries.
    pub(super) fn ensure_shapes(
        &self,
        expected: impl Fn(&str, u32) -> Option<[u32; 3]>,
    ) -> Result<(), DatapathError> {
        for name in Self::SHARED_MAPS {
            let path = self.map(name);
            let Some(pin) = held(&path)? else { continue };
            let info = MapInfo::from_pin(pin.path())
                .map_err(|error| DatapathError::bpf(format!("open {}", path.display()), &error))?;
            let found = [info.key_size(), info.value_size(), info.max_entries()];
            if let Some(expected) = expected(name, info.max_entries()).filter(|expected| *expected != found) {
                return Err(DatapathError::Shape { path, expected, found });
            }
        }
        Ok(())
    }

    /// Gives what was pinned just now to the owner of its folder.
    pub(super) fn own_maps(&self) -> Result<(), DatapathError> {
        for name in Self::SHARED_MAPS {
            let path = self.map(name);
            missing_is_fine(files::take_owner_of_folder(&path)).map_err(|source| DatapathError::File {
                what: "change the owner of",
                path,
                source,
            })?;
        }
        Ok(())
    }

    /// Moves the device's own pins to those of another, which has none.
    ///
    /// # Errors
    ///
    /// Where the BPF file system refuses.
    pub fn move_to(&self, other: &Self) -> Result<(), DatapathError> {
        files::rename(&self.own, &other.own).map_err(|source| DatapathError::File {
            what: "rename",
            path: self.own.clone(),
            source,
        })
    }

    /// Removes every pin of the device, and the shared ones with the last device of its network namespace.
    pub(super) fn remove(&self) -> Result<(), DatapathError> {
        for path in [self.ingress(), self.egress()] {
            remove_file(&path)?;
        }
        for name in [map::COUNTERS, map::DIFFERENCES, RING] {
            remove_file(&self.map(name))?;
        }
        remove_directory(&self.own)?;
        let others =
            files::names(&self.shared).is_ok_and(|names| names.iter().any(|(_, is_folder)| *is_folder));
        if others {
            return Ok(());
        }
        for name in Self::SHARED_MAPS {
            remove_file(&self.map(name))?;
        }
        remove_directory(&self.shared)?;
        // Stays where another network namespace has pins.
        let _ = self.shared.parent().map(files::remove_folder);
        Ok(())
    }
}

fn directory(bpffs: &Path, namespace: u64) -> PathBuf {
    bpffs.join("portcullis").join(format!("v{}", abi::VERSION)).join(namespace.to_string())
}

/// What is pinned under a name, held so that it stays that; `None` where nothing is. Whoever opens it goes
/// through [`Held::path`]: no link that the agent's user made leads a command of root to another map.
pub(super) fn held(path: &Path) -> Result<Option<Held>, DatapathError> {
    Held::existing(path).map_err(|source| DatapathError::File { what: "open", path: path.into(), source })
}

/// Gives an object a name, by what `pin` does with the path that it is given, and gives the pin to the owner of
/// its folder.
pub(super) fn pin<E: std::error::Error + 'static>(
    path: &Path,
    pin: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), DatapathError> {
    let failed = |source| DatapathError::File { what: "pin", path: path.into(), source };
    let name = Held::new_name(path).map_err(failed)?;
    pin(name.path()).map_err(|error| DatapathError::bpf(format!("pin {}", path.display()), &error))?;
    own(path)
}

/// Gives a new pin to the owner of its folder.
fn own(path: &Path) -> Result<(), DatapathError> {
    files::take_owner_of_folder(path).map_err(|source| DatapathError::File {
        what: "change the owner of",
        path: path.into(),
        source,
    })
}

pub(super) fn remove_file(path: &Path) -> Result<(), DatapathError> {
    missing_is_fine(files::remove_file(path)).map_err(|source| DatapathError::File {
        what: "remove",
        path: path.into(),
        source,
    })
}

pub(super) fn remove_directory(path: &Path) -> Result<(), DatapathError> {
    missing_is_fine(files::remove_folder(path)).map_err(|source| DatapathError::File {
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

/// Whether a file system is one of BPF's.
pub(crate) fn is_bpffs(info: &Statfs) -> bool {
    info.filesystem_type() == BPF_FS_MAGIC
}

/// [`ensure_bpffs`] for a process that does not go on: what it pins must not end with it.
///
/// # Errors
///
/// As there, and where the file system would end with this process.
pub fn ensure_lasting_bpffs(path: &Path) -> Result<bool, DatapathError> {
    let is_new = ensure_bpffs(path)?;
    if ends_with_this_process(path, is_new) {
        return Err(DatapathError::Fleeting { path: path.into() });
    }
    Ok(is_new)
}

/// Where the kernel has a folder for the BPF file system (kernel/bpf/inode.c makes it in sysfs).
const KERNELS_OWN: &str = "/sys/fs/bpf";

/// Makes sure that a BPF file system is mounted at `path`. It is mounted where the kernel has a folder for
/// it, as bpftool does and systemd did at boot; never over a folder that may be meant for something else.
/// Gives whether it had to be mounted.
///
/// # Errors
///
/// Where it is missing and cannot be mounted.
pub fn ensure_bpffs(path: &Path) -> Result<bool, DatapathError> {
    match statfs(path).as_ref().map(is_bpffs) {
        Ok(true) => return Ok(false),
        // Whether it is there cannot be seen: mounting would not help either.
        Err(Errno::EACCES) => return Err(DatapathError::Permission { what: "reading what is enforced" }),
        Ok(false) | Err(_) => {}
    }
    let failed = |source: io::Error| DatapathError::NoBpffs { path: path.into(), source };
    if path != Path::new(KERNELS_OWN) {
        return Err(failed(io::Error::other(
            "nothing is mounted over a folder that may be meant for something else",
        )));
    }
    mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .map_err(|errno| failed(errno.into()))?;
    Ok(true)
}
