//! Programs that stay loaded -> the same generation on an interface that was made anew.
//!
//! Loading takes tens of milliseconds, attaching about one. An interface that is removed and made again,
//! as a connection that is dialled anew, is open for that much shorter where its programs were kept.

use std::os::fd::OwnedFd;

use super::{
    Attachment, DatapathError, LinkType, Mode, Place, Programs,
    attachment::{Pinned, pin},
    link,
    pins::remove_file,
};

/// The programs of a generation, which the kernel keeps as long as this lives.
pub struct Kept {
    /// Kernel identifier of the ingress program.
    program: u32,
    mode: Mode,
    link: LinkType,
    ingress: OwnedFd,
    egress: OwnedFd,
}

impl Programs {
    /// Keeps the programs; `mode` is how XDP was attached.
    ///
    /// # Errors
    ///
    /// Where no more files can be opened.
    pub fn keep(&self, mode: Mode) -> Result<Kept, DatapathError> {
        let keep = |program: &OwnedFd| {
            program.try_clone().map_err(|error| DatapathError::bpf("keep the programs", &error))
        };
        let (ingress, egress) = (keep(self.ingress()?)?, keep(self.egress()?)?);
        Ok(Kept { program: self.id()?, mode, link: self.link, ingress, egress })
    }
}

impl Attachment {
    /// Puts a generation back on its interface, which was removed and is there again. Gives whether it
    /// was the last one there and can read the packets of this one; if not, nothing has changed.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses. Then nothing is attached.
    pub fn resume(&self, kept: &Kept) -> Result<bool, DatapathError> {
        // One that goes on in another network namespace is not replaced.
        if Self::pinned(self.pins())? != Some(Pinned { program: kept.program, place: Place::Gone }) {
            return Ok(false);
        }
        let index = self.index()?;
        if kept.link.ensure(&self.interface, index).is_err() {
            return Ok(false);
        }
        let failed = |source| DatapathError::bpf(format!("attach to `{}` again", self.interface), &source);
        // Egress first, as in any first attachment; both end with this process until they are pinned.
        let egress = link::attach_egress(&kept.egress, index).map_err(failed)?;
        let ingress = link::attach_ingress(&kept.ingress, index, kept.mode).map_err(failed)?;
        for (link, path) in [(egress, self.pins.egress()), (ingress, self.pins.ingress())] {
            remove_file(&path)?;
            pin(&link, &path)?;
        }
        Ok(true)
    }
}
