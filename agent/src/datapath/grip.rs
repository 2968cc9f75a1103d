//! An attachment's links and pinned maps -> the same, held by this process, and pinned again where somebody has
//! removed a pin.
//!
//! The kernel ends a link with its last name and its last holder. As long as a process holds it, a pin that is
//! removed opens nothing.

use std::{os::fd::OwnedFd, path::PathBuf};

use super::{
    Attachment, DatapathError, Pins,
    attachment::{link_at, pin},
    link::{self, Link},
    pins::held,
};

/// What a process holds of an attachment.
#[derive(Debug)]
pub struct Grip {
    held: Vec<(PathBuf, OwnedFd)>,
    state: Hanging,
}

/// What hangs on an interface: enough to see that something else does by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hanging {
    /// Kernel identifier of the ingress program; `None` where none is pinned.
    pub program: Option<u32>,
    /// Kernel identifiers of the links.
    links: [Option<u32>; 2],
}

impl Grip {
    /// What hung on the interface when it was taken.
    #[must_use]
    pub fn hanging(&self) -> Hanging {
        self.state
    }
}

impl Attachment {
    /// What hangs on the interface, as its pins say.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn hanging(&self) -> Result<Hanging, DatapathError> {
        let (ingress, egress) = (link_at(&self.pins.ingress())?, link_at(&self.pins.egress())?);
        let id = |link: &Option<Link>| link.as_ref().map(|link| link.id);
        Ok(Hanging { program: ingress.as_ref().map(|link| link.program), links: [id(&ingress), id(&egress)] })
    }

    /// Holds the links and maps that are pinned now.
    ///
    /// # Errors
    ///
    /// Where the pins cannot be read.
    pub fn grip(&self) -> Result<Grip, DatapathError> {
        let state = self.hanging()?;
        let maps = Pins::SHARED_MAPS.iter().map(|name| self.pins.map(name));
        let mut objects = Vec::new();
        for path in [self.pins.ingress(), self.pins.egress()].into_iter().chain(maps) {
            let Some(pin) = held(&path)? else { continue };
            let object = link::object_at(pin.path());
            let object =
                object.map_err(|source| DatapathError::File { what: "open", path: path.clone(), source })?;
            objects.extend(object.map(|object| (path, object)));
        }
        Ok(Grip { held: objects, state })
    }

    /// Pins what is held again where its pin is missing, also a link that has ended: its program tells what the
    /// counters stand for.
    ///
    /// # Errors
    ///
    /// Where the BPF file system refuses.
    pub fn pin_again(&self, grip: &Grip) -> Result<(), DatapathError> {
        self.pins.create()?;
        for (path, object) in &grip.held {
            if held(path)?.is_none() {
                pin(object, path)?;
            }
        }
        Ok(())
    }
}
