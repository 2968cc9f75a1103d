//! The pins of one interface -> what is attached to it now, what it has counted, and the end of both.
//!
//! Nothing is attached here: `attach` puts programs on an interface, `held` others in their place.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use aya::maps::{Map, MapData};
use portcullis_common::abi::map;

use super::{
    DatapathError, Device,
    counters::{Counters, Totals},
    device::{interfaces, name_of},
    link::{self, Link},
    pins::{self, Pins, held, remove_file},
    predecessor::LinkPins,
    second::{self, Differing},
};

/// The links of one interface, as their pins describe them.
pub struct Attachment {
    pub(super) interface: String,
    /// Number of the interface; `None` where it is not there.
    index: Option<u32>,
    pub(super) pins: Pins,
    /// Where its links are pinned.
    pub(super) links: LinkPins,
    /// Where another version of the ABI has pinned what is taken over.
    old: Option<PathBuf>,
}

/// Where the interface of an ingress link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this network namespace, with this number.
    Here(u32),
    /// In another one: it was moved there, and is still judged.
    Elsewhere,
    /// Nowhere any more.
    Gone,
}

/// A pinned ingress link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Kernel identifier of its program.
    pub program: u32,
    /// Where its interface is.
    pub place: Place,
}

/// What is attached to an interface now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing; an attachment that was interrupted counts as nothing.
    Absent,
    /// A generation, whose ingress program has this kernel identifier.
    Attached(u32),
    /// A generation was attached, whose ingress program has this identifier, but its interface is gone
    /// or in another network namespace, or somebody has ended the link.
    Astray(u32),
}

impl Attachment {
    /// The attachment of an interface, whether or not there is one yet. Its pins are its own, or those that an
    /// interface of its name has left which is gone.
    #[must_use]
    pub fn new(interface: &str, index: Option<u32>, pins: Pins) -> Self {
        let links = LinkPins::new(&pins, None);
        Self { interface: interface.to_owned(), index, pins, links, old: None }
    }

    /// The same, whose links may still be pinned in a folder of another version of the ABI.
    #[must_use]
    pub fn taking_over(self, old: &Path) -> Self {
        Self { links: LinkPins::new(&self.pins, Some(old)), old: Some(old.to_owned()), ..self }
    }

    /// Whether its links are still pinned where another version of the ABI has left them.
    #[must_use]
    pub fn is_taking_over(&self) -> bool {
        self.old.is_some()
    }

    /// Moves links to where this version of the ABI pins them.
    ///
    /// # Errors
    ///
    /// Where the BPF file system refuses.
    pub fn move_links(&self) -> Result<(), DatapathError> {
        self.links.move_all()
    }

    /// The ingress link that is pinned for a device; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where the pin cannot be read.
    pub fn pinned(pins: &Pins) -> Result<Option<Pinned>, DatapathError> {
        let Some(link) = link_at(&pins.ingress())? else { return Ok(None) };
        let place = match link.interface {
            0 => Place::Gone,
            index if name_of(index).is_some() => Place::Here(index),
            _ => Place::Elsewhere,
        };
        Ok(Some(Pinned { program: link.program, place }))
    }

    /// Whose pins these are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.pins.device()
    }

    /// Fails where there is no such interface.
    ///
    /// # Errors
    ///
    /// Then; the error names those that there are.
    pub fn ensure_interface(&self) -> Result<(), DatapathError> {
        self.index().map(drop)
    }

    /// Makes the directories that pins need; [`super::Programs::load`] pins its maps there. Unless the
    /// counters are to go on, those that are there are left to the generation that counts in them:
    /// nobody knows any more what their slots stand for.
    ///
    /// # Errors
    ///
    /// Where the interface is missing, or the BPF file system refuses.
    pub fn prepare(&self, counters_go_on: bool) -> Result<(), DatapathError> {
        self.index()?;
        self.pins.create()?;
        let counters = self.pins.map(map::COUNTERS);
        if counters_go_on { Ok(()) } else { remove_file(&counters) }
    }

    /// Where the interface's objects are pinned.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// What is attached now.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn standing(&self) -> Result<Standing, DatapathError> {
        Ok(match self.links.ingress()? {
            None => Standing::Absent,
            Some(link) if self.stands(&link) => Standing::Attached(link.program),
            Some(link) => Standing::Astray(link.program),
        })
    }

    /// Kernel identifier of the ingress program that is attached; `None` where none is.
    ///
    /// # Errors
    ///
    /// As [`Self::standing`].
    pub fn program(&self) -> Result<Option<u32>, DatapathError> {
        Ok(match self.standing()? {
            Standing::Attached(program) => Some(program),
            Standing::Absent | Standing::Astray(_) => None,
        })
    }

    /// Whether a link stands on this interface. One that has ended stands on none, also where another
    /// interface has the number of the one that is gone.
    pub(super) fn stands(&self, link: &Link) -> bool {
        self.index == Some(link.interface)
    }

    /// What the slots below `end` have counted; `None` where there are no counters.
    ///
    /// # Errors
    ///
    /// Where the counters cannot be read.
    pub fn totals(&self, end: u32) -> Result<Option<Totals>, DatapathError> {
        let Some(pin) = held(&self.pins.map(map::COUNTERS))? else { return Ok(None) };
        let failed = |error: aya::maps::MapError| DatapathError::bpf("open the counters", &error);
        let map = MapData::from_pin(pin.path()).map_err(failed)?;
        Counters::open(Map::PerCpuArray(map))?.totals(end).map(Some)
    }

    /// What a shadow would decide otherwise, by slot, for those below `end` that saw a difference; `None`
    /// where there is no shadow.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    pub fn differences(&self, end: u32) -> Result<Option<Vec<Differing>>, DatapathError> {
        let Some(pin) = held(&self.pins.map(map::DIFFERENCES))? else { return Ok(None) };
        second::differences(pin.path(), end).map(Some)
    }

    /// Removes what is only there for a shadow. Called when no program that counts there is attached.
    ///
    /// # Errors
    ///
    /// Where the BPF file system refuses.
    pub fn forget_shadow(&self) -> Result<(), DatapathError> {
        remove_file(&self.pins.map(map::DIFFERENCES))
    }

    /// Removes the programs, their counters and, with the last interface, the flows. Gives whether
    /// something was attached.
    ///
    /// # Errors
    ///
    /// Where a link cannot be ended or a pin cannot be removed.
    pub fn detach(&self) -> Result<bool, DatapathError> {
        let (ingress, egress) = (self.links.ingress()?, self.links.egress()?);
        // Whoever holds a link keeps it, whatever becomes of its pin: it is ended for all.
        for link in ingress.iter().chain(&egress) {
            link.end()
                .map_err(|error| DatapathError::bpf(format!("detach from `{}`", self.interface), &error))?;
        }
        // The second is what an interrupted attachment may have left.
        for index in ingress.iter().map(|link| link.interface).chain(self.index) {
            self.remove_filter(index)?;
        }
        self.pins.remove()?;
        Ok(ingress.is_some())
    }

    pub(super) fn index(&self) -> Result<u32, DatapathError> {
        self.index
            .filter(|index| name_of(*index).is_some())
            .ok_or_else(|| DatapathError::NoInterface { name: self.interface.clone(), known: interfaces() })
    }
}

/// The link that is pinned at a path; `None` where there is none.
pub(super) fn link_at(pin: &Path) -> Result<Option<Link>, DatapathError> {
    let Some(held) = held(pin).map_err(hidden)? else { return Ok(None) };
    Link::pinned(held.path()).map_err(|source| {
        if source.kind() == io::ErrorKind::PermissionDenied {
            return DatapathError::Permission { what: "reading what is enforced" };
        }
        DatapathError::File { what: "open", path: pin.into(), source }
    })
}

/// Kernel identifier of the program of the link that is pinned at a path; `None` where none can be read.
#[must_use]
pub fn pinned_program(pin: &Path) -> Option<u32> {
    link_at(pin).ok().flatten().map(|link| link.program)
}

pub(super) fn pin(link: &OwnedFd, path: &Path) -> Result<(), DatapathError> {
    pins::pin(path, |name| link::pin(link, name))
}

/// What is pinned may be seen by root and the agent's user alone.
fn hidden(error: DatapathError) -> DatapathError {
    match error {
        DatapathError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            DatapathError::Permission { what: "reading what is enforced" }
        }
        other => other,
    }
}
