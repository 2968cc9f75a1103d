//! Reads a policy file for a command.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{catalog::Catalog, policy::Policy};

/// Largest policy that is read: far above any real one.
const MAX_POLICY_BYTES: u64 = 16 << 20;

/// A policy, the text it was read from and the catalog it was resolved against.
pub(super) struct Source {
    pub(super) policy: Policy,
    pub(super) text: String,
    pub(super) catalog: Catalog,
}

/// Reads a policy. `None` means that it is not valid; every problem was then told on standard error.
pub(super) fn read(path: &Path) -> Result<Option<Source>> {
    let text = read_text(path)?;
    let catalog = Catalog::builtin();
    match Policy::parse(&text, &path.display().to_string(), &catalog) {
        Ok(policy) => Ok(Some(Source { policy, text, catalog })),
        Err(problems) => {
            eprintln!("{problems}");
            Ok(None)
        }
    }
}

/// Reads the text of a policy file.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let size =
        std::fs::metadata(path).with_context(|| format!("cannot read the policy {}", path.display()))?.len();
    anyhow::ensure!(
        size <= MAX_POLICY_BYTES,
        "the policy {} has {size} bytes, more than the {MAX_POLICY_BYTES} that are read",
        path.display()
    );
    std::fs::read_to_string(path).with_context(|| format!("cannot read the policy {}", path.display()))
}
