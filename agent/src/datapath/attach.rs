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
    path::Path,
};

use super::{
    Attachment, DatapathError,
    attachment::{link_at, pin},
    clsact::Filter,
    device::name_of,
    link::{self, Link},
    object::Programs,
    pins::remove_file,
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

impl Attachment {
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
    pub(super) fn remove_filter(&self, index: u32) -> Result<(), DatapathError> {
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
}
