//! What is wanted + what is attached -> whether all of it is in place already.
//!
//! The same is what nobody could tell from a policy that is applied anew: programs of this build with the same
//! constants and tables, manifests that say the same, and links, filters and pins that are what they should be.
//! Whatever is missing, or was replaced, is not the same.

use std::sync::Arc;

use super::{
    ApplyError, ApplyOptions,
    candidate::Candidate,
    known::{Found, found},
    manifest::Manifest,
    store::{Lock, Roots},
    wanted::{Wanted, WantedInterface},
};
use crate::datapath::{OnInterfaces, Standing};

/// The manifests of what is wanted, where all of it is in place and nothing has to be done; `None` otherwise.
///
/// # Errors
///
/// Where the kernel or the state folder cannot be read, or the rules do not fit.
pub fn in_place(
    roots: &Roots,
    _lock: &Lock,
    wanted: &Wanted,
    options: ApplyOptions,
) -> Result<Option<Vec<Manifest>>, ApplyError> {
    let wanted = if options.observe { wanted.clone().observed() } else { wanted.clone() };
    let mut manifests = Vec::new();
    for interface in &wanted.interfaces {
        match standing(roots, interface, &wanted, options)? {
            Some(manifest) => manifests.push(manifest),
            None => return Ok(None),
        }
    }
    Ok(Some(manifests).filter(|manifests| !manifests.is_empty()))
}

/// The manifest of what is wanted on an interface, where that is in place.
fn standing(
    roots: &Roots,
    interface: &WantedInterface,
    wanted: &Wanted,
    options: ApplyOptions,
) -> Result<Option<Manifest>, ApplyError> {
    let name = &interface.name;
    let attachment = roots.attachment(name)?;
    let failed = |source| ApplyError::at(name, source);
    let Standing::Attached(program) = attachment.standing().map_err(failed)? else { return Ok(None) };
    let Found::Active(manifest) = found(roots, name)? else { return Ok(None) };
    let manifest = Arc::unwrap_or_clone(manifest);
    let on_interfaces = OnInterfaces::now().map_err(failed)?;
    if manifest.beside.is_some()
        || !roots.missing(name, &on_interfaces)?.is_empty()
        || !attachment.has(program, manifest.egress).map_err(failed)?
    {
        return Ok(None);
    }
    let candidate = Candidate::new(roots, interface, options)?;
    let same = manifest.fingerprint == candidate.fingerprint().map_err(failed)?
        && manifest.settings == interface.settings
        && manifest.rules == candidate.slotted()
        && manifest.retired == candidate.retired
        && (&manifest.policy, &manifest.policy_sha256) == (&wanted.policy, &wanted.policy_sha256)
        && roots
            .revisions()?
            .iter()
            .any(|kept| kept.revision == manifest.revision && kept.interfaces.contains(name));
    Ok(same.then_some(manifest))
}
