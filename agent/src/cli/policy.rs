//! Reads a policy file for a command.

use std::{fs::File, io::Read as _, path::Path};

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

/// Reads a policy. `None` means that it cannot be read or is not valid; every problem was then told on
/// standard error.
pub(super) fn read(path: &Path) -> Option<Source> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            return None;
        }
    };
    let catalog = Catalog::builtin();
    match Policy::parse(&text, &path.display().to_string(), &catalog) {
        Ok(policy) => Some(Source { policy, text, catalog }),
        Err(problems) => {
            eprintln!("{problems}");
            None
        }
    }
}

/// Reads the text of a policy file, or of a pipe: `portcullis apply <(generate)`.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let failed = || format!("cannot read the policy {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(failed)?;
    file.take(MAX_POLICY_BYTES + 1).read_to_string(&mut text).with_context(failed)?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_POLICY_BYTES,
        "the policy {} has more than the {MAX_POLICY_BYTES} bytes that are read",
        path.display()
    );
    Ok(text)
}
