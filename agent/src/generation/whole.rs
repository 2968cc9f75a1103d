//! What was put in place -> whether all of it is there.

use super::{
    ApplyError,
    commit::Applied,
    manifest::Manifest,
    store::{Roots, StoreError},
};
use crate::datapath::{OnInterfaces, Part, Standing};

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
}
