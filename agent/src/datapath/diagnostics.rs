//! The programs' own diagnostics, for the library that reads them.

use aya::{Ebpf, EbpfLoader};

use super::{
    DatapathError, Pins, Programs,
    load::OBJECT,
    pins::{RING, remove_file},
};

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
        ring.pin(&path).map_err(|error| failed(&error))?;
        let object = EbpfLoader::new().btf(None).map_pin_path(RING, path.as_path()).load(OBJECT);
        remove_file(&path)?;
        object.map_err(|error| failed(&error))
    }
}
