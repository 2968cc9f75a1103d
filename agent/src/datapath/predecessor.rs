//! Pins of another version of the ABI -> what stands there, to be taken over.
//!
//! ```text
//! <bpffs>/portcullis/v2/<interface>/...             version 2: pins belonged to names
//! <bpffs>/portcullis/v<other>/<namespace>/<index>/  all later ones
//! ```
//!
//! What stands there is not understood beyond this: a link is a link in every version, and so is an array of
//! counters. What its slots stand for its manifest tells.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use aya::maps::{Map, MapData};
use portcullis_common::abi::{self, map};

use super::{
    DatapathError, Device, OnInterfaces,
    attachment::link_at,
    counters::{Counters, Totals},
    device::name_of,
    link::Link,
    pins::{Pins, held, remove_directory, remove_file},
};
use crate::files;

/// The last version whose pins belonged to names.
const BY_NAME: u32 = 2;

/// Pins of one interface, of another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// The version of the ABI.
    pub version: u32,
    /// Whose they are.
    pub key: Key,
    /// Kernel identifier of the ingress program; `None` where no link is pinned any more.
    pub program: Option<u32>,
    /// Number of the interface that it judges; `None` where it is gone.
    pub index: Option<u32>,
    folder: PathBuf,
}

/// Whose pins are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An interface's by its name.
    Name(String),
    /// A device's.
    Device(Device),
}

impl Predecessor {
    /// Those of a network namespace. One by name is counted to it where its link stands on an interface here, or
    /// on none any more.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn all(bpffs: &Path, namespace: u64) -> Result<Vec<Self>, DatapathError> {
        let mut all = Vec::new();
        for (name, folder) in folders(&bpffs.join("portcullis")) {
            let Some(version) = name.strip_prefix('v').and_then(|number| number.parse().ok()) else {
                continue;
            };
            if version == abi::VERSION {
                continue;
            }
            let found =
                folders(&folder).into_iter().flat_map(|(name, folder)| pinned(version, &name, folder));
            for (key, folder) in found {
                if matches!(key, Key::Device(device) if device.namespace != namespace) {
                    continue;
                }
                let (program, index) = match judged(&folder.join(abi::INGRESS_PROGRAM))? {
                    Judged::Here { program, index } => (Some(program), Some(index)),
                    Judged::Nothing { program } => (program, None),
                    // Another network namespace's.
                    Judged::Elsewhere => continue,
                };
                all.push(Self { version, key, program, index, folder });
            }
        }
        Ok(all)
    }

    /// What the interface is called now; where it is gone, what it was called if its pins tell.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match (self.index, &self.key) {
            (Some(index), _) => name_of(index),
            (None, Key::Name(name)) => Some(name.clone()),
            (None, Key::Device(_)) => None,
        }
    }

    /// The folder of its pins.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what is left of it, and what its version shared with the last of it.
    ///
    /// # Errors
    ///
    /// Where the BPF file system refuses.
    pub fn remove(&self) -> Result<(), DatapathError> {
        for file in pins_in(&self.folder) {
            remove_file(&file)?;
        }
        remove_directory(&self.folder)?;
        let shared = self.folder.parent().into_iter().flat_map(Path::ancestors);
        for folder in shared.take_while(|folder| !folder.ends_with("portcullis")) {
            if !folders(folder).is_empty() {
                break;
            }
            for file in pins_in(folder) {
                remove_file(&file)?;
            }
            remove_directory(folder)?;
        }
        Ok(())
    }
}

/// What a pinned ingress link judges.
enum Judged {
    /// An interface of this network namespace.
    Here { program: u32, index: u32 },
    /// One of another.
    Elsewhere,
    /// None any more, or there is no link.
    Nothing { program: Option<u32> },
}

/// The interface is asked whether it has the link's program: its number alone means something in its network
/// namespace only. Where they differ, the program may have been swapped in between.
fn judged(pin: &Path) -> Result<Judged, DatapathError> {
    let mut before = None;
    loop {
        let Some(link) = link_at(pin)? else { return Ok(Judged::Nothing { program: None }) };
        let (program, index) = (link.program, link.interface);
        if index == 0 {
            return Ok(Judged::Nothing { program: Some(program) });
        }
        if OnInterfaces::now()?.has(index, program) {
            return Ok(Judged::Here { program, index });
        }
        if before.replace(program) == Some(program) {
            return Ok(Judged::Elsewhere);
        }
    }
}

/// What the slots below `end` have counted that are pinned in a folder of another version; `None` where nothing is.
///
/// # Errors
///
/// Where the counters cannot be read.
pub fn totals_in(folder: &Path, end: u32) -> Result<Option<Totals>, DatapathError> {
    let Some(pin) = held(&folder.join(map::COUNTERS))? else { return Ok(None) };
    let failed = |error: aya::maps::MapError| DatapathError::bpf("open the counters", &error);
    let map = Map::PerCpuArray(MapData::from_pin(pin.path()).map_err(failed)?);
    Counters::open(map)?.totals(end).map(Some)
}

/// The pins below a folder of a version.
fn pinned(version: u32, name: &str, folder: PathBuf) -> Vec<(Key, PathBuf)> {
    let devices: Vec<(Key, PathBuf)> = folders(&folder)
        .into_iter()
        .filter_map(|(index, folder)| {
            let device = Device { namespace: name.parse().ok()?, index: index.parse().ok()? };
            Some((Key::Device(device), folder))
        })
        .collect();
    if devices.is_empty() && version <= BY_NAME {
        // The BPF file system refuses dots in names, interfaces refuse colons.
        return vec![(Key::Name(name.replace(':', ".")), folder)];
    }
    devices
}

/// Where the links of an attachment are pinned: as the pins of this version say, or still where another has
/// pinned them.
#[derive(Clone, Debug)]
pub(super) struct LinkPins {
    ingress: Place,
    egress: Place,
}

#[derive(Clone, Debug)]
struct Place {
    own: PathBuf,
    other: Option<PathBuf>,
}

impl LinkPins {
    /// Those of this version; for a link that it has not, those in the folder of another.
    pub(super) fn new(pins: &Pins, other: Option<&Path>) -> Self {
        let place = |own: PathBuf, name: &str| Place { own, other: other.map(|other| other.join(name)) };
        Self {
            ingress: place(pins.ingress(), abi::INGRESS_PROGRAM),
            egress: place(pins.egress(), abi::EGRESS_PROGRAM),
        }
    }

    /// Moves links to where this version pins them.
    pub(super) fn move_all(&self) -> Result<(), DatapathError> {
        for Place { own, other } in [&self.ingress, &self.egress] {
            let Some(other) = other else { continue };
            if held(other)?.is_none() {
                continue;
            }
            remove_file(own)?;
            files::rename(other, own).map_err(|source| DatapathError::File {
                what: "move",
                path: other.clone(),
                source,
            })?;
        }
        Ok(())
    }

    pub(super) fn ingress(&self) -> Result<Option<Link>, DatapathError> {
        self.ingress.link()
    }

    pub(super) fn egress(&self) -> Result<Option<Link>, DatapathError> {
        self.egress.link()
    }
}

impl Place {
    /// The link, wherever it is at the moment: it may be moved while it is looked for.
    fn link(&self) -> Result<Option<Link>, DatapathError> {
        let Some(other) = &self.other else { return link_at(&self.own) };
        for path in [&self.own, other, &self.own] {
            if let Some(link) = link_at(path)? {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }
}

/// Waits until no processor runs a program any more that was swapped out: what it counts is final then.
pub fn wait_for_programs() {
    /// `MEMBARRIER_CMD_GLOBAL` of include/uapi/linux/membarrier.h: a grace period of the kernel, which a packet that
    /// is being judged holds up.
    const GLOBAL: libc::c_long = 1;
    // SAFETY: it takes three numbers and touches no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
}

fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    let named = |(name, is_folder): (OsString, bool)| {
        let path = folder.join(&name);
        name.into_string().ok().filter(|_| is_folder).map(|name| (name, path))
    };
    files::names(folder).unwrap_or_default().into_iter().filter_map(named).collect()
}

fn pins_in(folder: &Path) -> Vec<PathBuf> {
    let names = files::names(folder).unwrap_or_default().into_iter();
    names.filter(|(_, is_folder)| !is_folder).map(|(name, _)| folder.join(name)).collect()
}
