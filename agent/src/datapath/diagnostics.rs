//! The programs' own diagnostics, for the library that reads them.

use aya::{Ebpf, EbpfLoader};

use super::{
    DatapathError, Pins, Programs,
    load::OBJECT,
    pins::{RING, held, pin, remove_file},
};
use crate::files::Held;

impl Programs {
    /// The ring that the programs write their diagnostics to, in the form that aya-log takes it in: as a
    /// map of an object that the library has loaded. So the ring changes hands by a pin that is there for a
    /// moment. Everything else of that object is empty and unused.
    ///
    /// # Errors
    ///
    /// Where the kernel or the BPF file system refuses.
    pub fn diagnostics(&mut self, pins: &Pins) -> Result<Ebpf, DatapathError> {
        let failed =
            |error: &(dyn std::error::Error + 'static)| DatapathError::bpf("pass the diagnostics on", error);
        let path = pins.map(RING);
        // A process that died on the way may have left one.
        remove_file(&path)?;
        let ring = super::object::map_of(&mut self.loaded, RING)?;
        pin(&path, |name| ring.pin(name))?;
        let pinned = held(&path)?;
        let place = pinned.as_ref().map_or(path.as_path(), Held::path);
        let object = EbpfLoader::new().btf(None).map_pin_path(RING, place).load(OBJECT);
        remove_file(&path)?;
        object.map_err(|error| failed(&error))
    }
}
