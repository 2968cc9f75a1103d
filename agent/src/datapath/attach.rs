//! Programs -> links on an interface, pinned, so that enforcement outlives the process.
//!
//! The first attachment puts egress in place before ingress: what this host begins from then on is
//! known when its reply is judged. A later one swaps ingress first, atomically: each packet is judged
//! by the old generation or by the new one.
//!
//! Ingress always hangs on a pinned link. Egress does where the kernel has TCX, and is a filter of
//! clsact where it has not.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::maps::{Map, MapData};
use portcullis_common::abi::map;

use super::{
    DatapathError, Device,
    clsact::Filter,
    counters::{Counters, Totals},
    device::{interfaces, name_of},
    link::{self, Link},
    object::Programs,
    pins::{self, Pins, held, remove_file},
    predecessor::LinkPins,
    second::{self, Differing},
};

/// How XDP is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver, before the kernel allocates a packet buffer.
    Native,
    /// In the network stack: works everywhere, at a fraction of the speed.
    Generic,
}

/// What [`Attachment::attach`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// Nothing was attached before.
    New {
        /// How XDP is attached.
        mode: Mode,
        /// Why native mode was not possible.
        fallback: Option<String>,
    },
    /// Another generation was replaced; the mode stays.
    Replaced,
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

/// An egress program that is attached, and ends with this where it hangs on a link, unless
/// [`Attachment::finish`] pins it.
#[derive(Debug)]
pub struct Begun(Option<OwnedFd>);

/// An ingress program that only listens. It ends with this, unless [`Attachment::finish`] puts another in its
/// place.
#[derive(Debug)]
pub struct Listener {
    link: Link,
    mode: Mode,
    fallback: Option<String>,
}

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

    /// Makes the directories that pins need; [`Programs::load`] pins its maps there. Unless the
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

    /// Puts the programs on the interface, or swaps them for those that are there.
    ///
    /// # Errors
    ///
    /// Where the interface is missing or taken, or the kernel refuses. Then nothing has changed: what
    /// was attached before still is.
    pub fn attach(&self, programs: &Programs) -> Result<Attached, DatapathError> {
        match self.held()? {
            Some(held) if held.is_whole() => self.replace(programs, &held).map(|()| Attached::Replaced),
            Some(held) => {
                let begun = self.begin(programs)?;
                self.complete(programs, &held, begun).map(|()| Attached::Replaced)
            }
            // Links that have ended can only be made anew.
            None => {
                let begun = self.begin(programs)?;
                self.finish(programs, begun, None)
            }
        }
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

    /// How XDP is attached now, if it is, where nobody knows any more. Changes nothing: the kernel
    /// refuses a second program, and tells by the error in which mode the first one is
    /// (`dev_xdp_attach` in net/core/dev.c).
    ///
    /// # Errors
    ///
    /// Where the interface is missing.
    pub fn mode(&self, programs: &Programs) -> Result<Mode, DatapathError> {
        match link::attach_ingress(programs.ingress()?, self.index()?, Mode::Native) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(Mode::Native),
            // Dropped at once, should it have been attached after all.
            _ => Ok(Mode::Generic),
        }
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

    /// Attaches the egress program where none is attached: it learns what this host begins from now
    /// on. What is left of an interface that is gone, or of an interrupted attachment, is removed.
    ///
    /// # Errors
    ///
    /// Where the interface is missing, or the kernel refuses.
    pub fn begin(&self, programs: &Programs) -> Result<Begun, DatapathError> {
        let index = self.index()?;
        if let Some(ingress) = link_at(&self.pins.ingress())?.filter(|link| !self.stands(link)) {
            self.remove_ended(&ingress, &self.pins.ingress())?;
        }
        if let Some(egress) = link_at(&self.pins.egress())? {
            if self.stands(&egress) {
                // It has learned for an ingress program that never came, or that is gone.
                remove_file(&self.pins.egress())?;
            } else {
                self.remove_ended(&egress, &self.pins.egress())?;
            }
        }
        self.attach_egress(programs, index).map(Begun)
    }

    /// Removes the pin of a link that has ended. One that goes on somewhere else is not this interface's to end.
    fn remove_ended(&self, link: &Link, path: &Path) -> Result<(), DatapathError> {
        if link.interface != 0 {
            return Err(DatapathError::Elsewhere { interface: self.interface.clone(), path: path.into() });
        }
        remove_file(path)
    }

    /// Attaches an ingress program that passes everything, where none is attached: it learns what others begin
    /// from now on.
    ///
    /// # Errors
    ///
    /// Where the interface is missing or taken, or the kernel refuses.
    pub fn listen(&self, programs: &Programs) -> Result<Listener, DatapathError> {
        let (link, mode, fallback) = self.attach_ingress(programs, self.index()?)?;
        let link = Link::of(link).map_err(|error| DatapathError::bpf("read a link", &error))?;
        Ok(Listener { link, mode, fallback })
    }

    /// Attaches the ingress program as well, in the place of the one that listens if there is one, and pins the
    /// links.
    ///
    /// # Errors
    ///
    /// Where the interface is taken, or the kernel refuses; then neither is attached.
    pub fn finish(
        &self,
        programs: &Programs,
        Begun(egress): Begun,
        listener: Option<Listener>,
    ) -> Result<Attached, DatapathError> {
        let index = self.index()?;
        let attached = match listener {
            Some(Listener { link, mode, fallback }) => link
                .swap(programs.ingress()?.as_fd(), None)
                .map(|()| (link.fd, mode, fallback))
                .map_err(|error| DatapathError::bpf("put the ingress program in place", &error)),
            None => self.attach_ingress(programs, index),
        };
        // Not pinned yet, links end with this process: a failure from here on leaves none.
        match attached.and_then(|attached| self.pin_both(egress, attached)) {
            Ok(attached) => Ok(attached),
            Err(error) => {
                self.remove_filter(index)?;
                Err(error)
            }
        }
    }

    /// Pins the link of an egress program that was missing; nothing is left to do on clsact.
    pub(super) fn pin_egress(&self, Begun(egress): Begun) -> Result<(), DatapathError> {
        egress.map_or(Ok(()), |link| pin(&link, &self.pins.egress()))
    }

    /// Attaches a program that learns beside the egress program that is there, and ends with this. Nothing on clsact,
    /// where one stands alone.
    ///
    /// # Errors
    ///
    /// Where the interface is missing, or the kernel refuses.
    pub fn learn(&self, learner: &Programs) -> Result<Begun, DatapathError> {
        let index = self.index()?;
        match link::attach_egress(learner.egress()?, index) {
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
                let what = format!("attach a program that learns to `{}`", self.interface);
                Err(DatapathError::bpf(what, &error))
            }
            link => Ok(Begun(link.ok())),
        }
    }

    /// TCX where the kernel has it, clsact otherwise; gives the link that is to be pinned, if it needs to.
    fn attach_egress(&self, programs: &Programs, index: u32) -> Result<Option<OwnedFd>, DatapathError> {
        programs.link.ensure(&self.interface, index)?;
        let egress = programs.egress()?;
        match link::attach_egress(egress, index) {
            Ok(link) => Ok(Some(link)),
            // The kernel knows no such link (`link_create` in kernel/bpf/syscall.c).
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.put_filter(egress.as_fd(), index)?;
                Ok(None)
            }
            Err(error) => {
                let what = format!("attach the egress program to `{}`", self.interface);
                Err(DatapathError::bpf(what, &error))
            }
        }
    }

    fn pin_both(
        &self,
        egress: Option<OwnedFd>,
        (ingress, mode, fallback): (OwnedFd, Mode, Option<String>),
    ) -> Result<Attached, DatapathError> {
        let links = egress.is_some();
        if let Some(link) = egress {
            pin(&link, &self.pins.egress())?;
        }
        if let Err(error) = pin(&ingress, &self.pins.ingress()) {
            if links {
                remove_file(&self.pins.egress())?;
            }
            return Err(error);
        }
        Ok(Attached::New { mode, fallback })
    }

    /// Native mode where the driver has it, generic mode otherwise.
    fn attach_ingress(
        &self,
        programs: &Programs,
        index: u32,
    ) -> Result<(OwnedFd, Mode, Option<String>), DatapathError> {
        programs.link.ensure(&self.interface, index)?;
        let ingress = programs.ingress()?;
        let mut native = None;
        for mode in [Mode::Native, Mode::Generic] {
            match link::attach_ingress(ingress, index, mode) {
                Ok(link) => return Ok((link, mode, native)),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    return Err(DatapathError::Occupied { interface: self.interface.clone() });
                }
                Err(error) if mode == Mode::Native => native = Some(error.to_string()),
                Err(error) => {
                    let interface = self.interface.clone();
                    let native = native.unwrap_or_default();
                    return Err(DatapathError::Attach { interface, native, generic: error.to_string() });
                }
            }
        }
        unreachable!("the loop returns in its last turn")
    }

    /// The filter of clsact on the interface, if it is there.
    pub(super) fn filter(&self) -> Result<Option<Filter>, DatapathError> {
        Filter::on(self.index()?).map_err(|error| self.no_filter("look for", &error))
    }

    pub(super) fn put_filter(&self, program: BorrowedFd<'_>, index: u32) -> Result<(), DatapathError> {
        Filter::put(index, program).map_err(|error| self.no_filter("put in place", &error))
    }

    /// Removes the filter from the interface with this number, unless that has pins of its own: then the filter is
    /// part of what they stand for.
    fn remove_filter(&self, index: u32) -> Result<(), DatapathError> {
        let is_own = index == self.device().index || !self.pins.of(index).are_there();
        if is_own && name_of(index).is_some() {
            Filter::remove(index).map_err(|error| self.no_filter("remove", &error))?;
        }
        Ok(())
    }

    fn no_filter(&self, what: &str, error: &io::Error) -> DatapathError {
        let what = format!("{what} the egress program as a filter of clsact on `{}`", self.interface);
        DatapathError::bpf(what, error)
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
