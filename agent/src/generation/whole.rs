//! What was put in place -> whether all of it is there, and whether somebody has ended it on purpose.
//!
//! ```text
//! <state>/detached/<device>    a command has ended enforcement there; what is missing was not taken away
//! ```

use std::{fs, io, os::unix::fs::FileExt as _};

use super::{
    ApplyError,
    commit::Applied,
    manifest::Manifest,
    store::{Roots, StoreError, make_private, write_whole},
};
use crate::{
    datapath::{Device, OnInterfaces, Part, Standing},
    files,
};

impl Roots {
    /// What is missing of a generation; nothing where all is as it should be.
    ///
    /// # Errors
    ///
    /// Where it cannot be looked at.
    pub fn missing(&self, interface: &str, on_interfaces: &OnInterfaces) -> Result<Vec<Part>, StoreError> {
        let attachment = self.attachment(interface)?;
        let mut missing = attachment.missing(on_interfaces)?;
        if let Standing::Attached(program) = attachment.standing()?
            && !self.manifest(attachment.device(), program).exists()
        {
            missing.push(Part::Manifest);
        }
        Ok(missing)
    }

    /// Makes sure that everything that was applied is there.
    ///
    /// # Errors
    ///
    /// Where something is missing, or cannot be looked at.
    pub fn ensure_whole(&self, applied: &[Applied]) -> Result<(), ApplyError> {
        if applied.is_empty() {
            return Ok(());
        }
        let failed = |source| ApplyError::Store(StoreError::Datapath(source));
        let on_interfaces = OnInterfaces::now().map_err(failed)?;
        for Applied { manifest: Manifest { interface, .. }, .. } in applied {
            let parts = self.missing(interface, &on_interfaces)?;
            if !parts.is_empty() {
                return Err(ApplyError::Missing { interface: interface.clone(), parts });
            }
        }
        Ok(())
    }

    /// Notes that a command ends enforcement on a device.
    pub(super) fn note_detached(&self, device: Device) -> Result<(), StoreError> {
        make_private(&self.state.join("detached"))?;
        write_whole(&self.state.join("detached").join(device.to_string()), b"")
    }

    /// Notes that a device is enforced.
    ///
    /// # Errors
    ///
    /// Where the state folder cannot be written.
    pub fn note_attached(&self, device: Device) -> Result<(), StoreError> {
        let path = self.state.join("detached").join(device.to_string());
        match files::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::File { what: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Whether a command has ended enforcement on a device.
    #[must_use]
    pub fn is_detached(&self, device: Device) -> bool {
        self.state.join("detached").join(device.to_string()).exists()
    }

    /// The manifest of a device's generation, open: whoever holds it can write it again.
    #[must_use]
    pub fn open_manifest(&self, device: Device, program: u32) -> Option<fs::File> {
        let held = files::Held::existing(&self.manifest(device, program)).ok()??;
        fs::File::open(held.path()).ok()
    }

    /// Writes a manifest again that was removed.
    ///
    /// # Errors
    ///
    /// Where the state folder cannot be written.
    pub fn write_again(&self, device: Device, program: u32, manifest: &fs::File) -> Result<(), StoreError> {
        let path = self.manifest(device, program);
        if path.exists() {
            return Ok(());
        }
        let mut text =
            vec![0; usize::try_from(manifest.metadata().map_or(0, |data| data.len())).unwrap_or(0)];
        let read = manifest.read_exact_at(&mut text, 0);
        read.map_err(|source| StoreError::File { what: "read", path: path.clone(), source })?;
        make_private(&self.folder(device))?;
        write_whole(&path, &text)
    }
}
