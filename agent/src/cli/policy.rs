//! Reads a policy file for a command.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    catalog::Catalog,
    policy::{Policy, Problems},
};

/// Largest policy or catalog file that is read: far above any real one.
const MAX_BYTES: u64 = 16 << 20;

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
    match resolve(&text, path) {
        Ok((policy, catalog)) => Some(Source { policy, text, catalog }),
        // The problems of a policy begin with its name, line and column.
        Err(error) if error.is::<Problems>() => {
            eprintln!("{error}");
            None
        }
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            None
        }
    }
}

/// Resolves the text of the policy file at `path` against the built-in catalog and the catalog files that
/// it names, which are looked for beside it.
pub(crate) fn resolve(text: &str, path: &Path) -> Result<(Policy, Catalog)> {
    let name = path.display().to_string();
    let mut catalog = Catalog::builtin();
    for file in Policy::catalog_files(text, &name)? {
        let file = path.parent().unwrap_or(Path::new("")).join(file);
        let failed = || format!("cannot read the catalog file {} that {name} names", file.display());
        catalog
            .add(Catalog::parse_system(&read_bounded(&file).with_context(failed)?, &file.to_string_lossy())?);
    }
    Ok((Policy::parse(text, &name, &catalog)?, catalog))
}

/// Reads the text of a policy file, or of a pipe: `portcullis apply <(generate)`.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    read_bounded(path).with_context(|| format!("cannot read the policy {}", path.display()))
}

fn read_bounded(path: &Path) -> Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    anyhow::ensure!(text.len() as u64 <= MAX_BYTES, "it has more than the {MAX_BYTES} bytes that are read");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::resolve;

    const CATALOG: &str =
        "schema = 1\nsystem = \"mine\"\ntitle = \"Mine\"\n\n[[role]]\nname = \"web\"\ntitle = \"Web\"\n";

    /// What a policy with these first lines says, beside a catalog file `mine.toml`.
    fn outcome(lines: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("mine.toml"), CATALOG).expect("file");
        let text = format!("version = 1\n{lines}[[interface]]\nname = \"eth0\"\nroles = [\"mine/web\"]\n");
        match resolve(&text, &folder.path().join("policy.toml")) {
            Ok((policy, _)) => Ok(policy.interfaces[0].bindings[0].role.clone()),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    #[test]
    fn a_catalog_file_beside_the_policy_brings_its_roles() {
        assert_eq!(outcome("catalog = [\"mine.toml\"]\n"), Ok("mine/web".to_owned()));
        let without = outcome("").expect_err("an unknown role");
        assert!(without.contains("policy.toml:4:10") && without.contains("mine/web"), "{without}");
        let missing = outcome("catalog = [\"other.toml\"]\n").expect_err("a missing file");
        assert!(missing.contains("other.toml") && missing.contains("policy.toml names"), "{missing}");
    }
}
