//! The programs that are attached -> others in their place, and back.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use portcullis_common::abi;

use super::{
    Attachment, Begun, DatapathError,
    link::{self, Link},
    object::Programs,
};

/// The programs that are attached to an interface, kept loaded as long as this is: what can be put back
/// if what comes after them must go.
#[derive(Debug)]
pub struct Held {
    ingress: HeldProgram,
    /// `None` where somebody has removed it.
    egress: Option<HeldProgram>,
}

#[derive(Debug)]
struct HeldProgram {
    id: u32,
    /// `None` without the capability that the kernel asks for.
    fd: Option<OwnedFd>,
}

/// What a program hangs on.
enum Hook {
    Link(Link),
    /// A filter of clsact, with the identifier of its program: there is one for egress at most.
    Filter(u32),
}

/// One of the two hooks of an interface.
#[derive(Clone, Copy)]
enum Which {
    Ingress,
    Egress,
}

impl Attachment {
    /// The programs that are attached now; `None` where nothing judges what arrives.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn held(&self) -> Result<Option<Held>, DatapathError> {
        let Some(ingress) = self.hook(Which::Ingress)? else { return Ok(None) };
        let egress = self.hook(Which::Egress)?;
        Ok(Some(Held { ingress: HeldProgram::of(&ingress), egress: egress.as_ref().map(HeldProgram::of) }))
    }

    /// Swaps the programs in for those that are held, ingress first. Nothing happens where others are
    /// attached by now.
    ///
    /// # Errors
    ///
    /// Then, or where the kernel refuses; what was attached before still is.
    pub fn replace(&self, programs: &Programs, held: &Held) -> Result<(), DatapathError> {
        programs.link.ensure(&self.interface, self.index()?)?;
        let egress = programs.egress()?.as_fd();
        if self.is_taking_over() {
            // Once ingress is swapped, all is: whoever finds that need not know what egress was.
            self.swap(Which::Egress, egress, held.egress.as_ref())?;
            let swapped = self.swap(Which::Ingress, programs.ingress()?.as_fd(), Some(&held.ingress));
            return swapped.or_else(|error| {
                if let Some(HeldProgram { fd: Some(old), .. }) = &held.egress {
                    self.swap(Which::Egress, old.as_fd(), None)?;
                }
                Err(error)
            });
        }
        self.with_ingress(programs, held, || self.swap(Which::Egress, egress, held.egress.as_ref()))
    }

    /// Swaps the ingress program in for the one that is held, and pins the egress program that takes the place
    /// of one that was missing. What judges meanwhile goes on.
    ///
    /// # Errors
    ///
    /// As [`Self::replace`].
    pub fn complete(&self, programs: &Programs, held: &Held, begun: Begun) -> Result<(), DatapathError> {
        self.with_ingress(programs, held, || self.pin_egress(begun))
    }

    /// Swaps the ingress program in, and does what belongs to it; where that fails, it is put back.
    fn with_ingress(
        &self,
        programs: &Programs,
        held: &Held,
        rest: impl FnOnce() -> Result<(), DatapathError>,
    ) -> Result<(), DatapathError> {
        self.swap(Which::Ingress, programs.ingress()?.as_fd(), Some(&held.ingress))?;
        if let Err(error) = rest() {
            if let Some(fd) = &held.ingress.fd {
                self.swap(Which::Ingress, fd.as_fd(), None)?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// Swaps held programs in again for whatever is attached. Gives whether that was possible: without
    /// CAP_SYS_ADMIN no program can be held. An egress program that was missing stays in place; it learns, and
    /// drops nothing that its ingress program does not know of.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn put_back(&self, held: &Held) -> Result<bool, DatapathError> {
        let Some(ingress) = &held.ingress.fd else { return Ok(false) };
        let egress = held.egress.as_ref().and_then(|egress| egress.fd.as_ref());
        if held.is_whole() && egress.is_none() {
            return Ok(false);
        }
        self.swap(Which::Ingress, ingress.as_fd(), None)?;
        if let Some(egress) = egress {
            self.swap(Which::Egress, egress.as_fd(), None)?;
        }
        Ok(true)
    }

    /// Whether these two programs, by their kernel identifiers, are what is attached to the interface.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn has(&self, ingress: u32, egress: u32) -> Result<bool, DatapathError> {
        let hangs = |which, program| {
            Ok::<_, DatapathError>(self.hook(which)?.is_some_and(|hook| hook.program() == program))
        };
        Ok(hangs(Which::Ingress, ingress)? && hangs(Which::Egress, egress)?)
    }

    /// What a program of this interface hangs on now; `None` where it hangs on nothing, or elsewhere.
    fn hook(&self, which: Which) -> Result<Option<Hook>, DatapathError> {
        let link = match which {
            Which::Ingress => self.links.ingress()?,
            Which::Egress => self.links.egress()?,
        };
        match (link, which) {
            (Some(link), _) => Ok(Some(link).filter(|link| self.stands(link)).map(Hook::Link)),
            (None, Which::Ingress) => Ok(None),
            (None, Which::Egress) => Ok(self.filter()?.map(|filter| Hook::Filter(filter.program))),
        }
    }

    /// One program for another. With `held`, only where that is attached still: a link's program is
    /// compared and swapped in one step, a filter's is compared first.
    fn swap(
        &self,
        which: Which,
        new: BorrowedFd<'_>,
        held: Option<&HeldProgram>,
    ) -> Result<(), DatapathError> {
        let changed = || DatapathError::Changed { interface: self.interface.clone() };
        let hook = self.hook(which)?.ok_or_else(changed)?;
        if held.is_some_and(|held| held.id != hook.program()) {
            return Err(changed());
        }
        let link = match hook {
            Hook::Link(link) => link,
            Hook::Filter(_) => return self.put_filter(new, self.index()?),
        };
        link.swap(new, held.and_then(|held| held.fd.as_ref())).map_err(|error| {
            // What the kernel says where the link has another program (`bpf_xdp_link_update` in
            // net/core/dev.c, `tcx_link_update` in kernel/bpf/tcx.c).
            if held.is_some() && error.raw_os_error() == Some(libc::EPERM) {
                return changed();
            }
            let name = match which {
                Which::Ingress => abi::INGRESS_PROGRAM,
                Which::Egress => abi::EGRESS_PROGRAM,
            };
            DatapathError::bpf(format!("replace the {name} program on `{}`", self.interface), &error)
        })
    }
}

impl Held {
    /// Whether nothing was missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.egress.is_some()
    }
}

impl HeldProgram {
    fn of(hook: &Hook) -> Self {
        Self { id: hook.program(), fd: link::program(hook.program()).ok() }
    }
}

impl Hook {
    /// Kernel identifier of the program.
    fn program(&self) -> u32 {
        match self {
            Self::Link(link) => link.program,
            Self::Filter(program) => *program,
        }
    }
}
