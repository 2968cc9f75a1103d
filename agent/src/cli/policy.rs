//! Reads a policy file for a command.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};

use super::output::BadInput;
use crate::{
    catalog::Catalog,
    files,
    last_good::LastGood,
    policy::{Policy, Written},
};

/// The policy file that every command takes where none is named.
pub(super) const DEFAULT: &str = "/etc/portcullis/policy.toml";
/// What stands for standard input where a policy file is named, and what a policy from there is called.
const INPUT: &str = "-";
const INPUT_NAME: &str = "<stdin>";

/// Largest policy or catalog file that is read: far above any real one.
const MAX_BYTES: u64 = 16 << 20;

/// Whose files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Anybody's: nothing comes of it but words.
    Anything,
    /// Those that nobody else could have written: they are to be enforced.
    Trusted,
}

/// A policy, the text it was read from and the catalog it was resolved against.
pub(crate) struct Source {
    pub(crate) policy: Policy,
    pub(crate) text: String,
    pub(crate) catalog: Catalog,
    /// The texts of the catalog files that it names.
    pub(crate) files: BTreeMap<String, String>,
}

/// What a policy is called that was read from `path`.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new(INPUT) { INPUT_NAME.to_owned() } else { path.display().to_string() }
}

/// Reads the policy that an operator names, which may be `-` for standard input.
///
/// # Errors
///
/// [`BadInput`], where it cannot be read or is not valid.
pub(super) fn read(path: &Path, reading: Reading) -> Result<Source> {
    let source = if path == Path::new(INPUT) {
        let text = read_text(Path::new("/dev/stdin"), reading);
        text.and_then(|text| resolve_as(&text, INPUT_NAME, Path::new(""), reading))
    } else {
        read_text(path, reading).and_then(|text| resolve(&text, path, reading))
    };
    source.map_err(|error| BadInput(error).into())
}

/// Resolves the text of the policy file at `path` against the built-in catalog and the catalog files that
/// it names, which are looked for beside it.
pub(crate) fn resolve(text: &str, path: &Path, reading: Reading) -> Result<Source> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut source = resolve_as(text, &path.display().to_string(), folder, reading)?;
    // Whoever reads the name later may be in another folder.
    if let Ok(path) = std::path::absolute(path) {
        source.policy.file = path.display().to_string();
    }
    Ok(source)
}

/// As [`resolve`]; `name` is what the policy is called in errors.
fn resolve_as(text: &str, name: &str, folder: &Path, reading: Reading) -> Result<Source> {
    let mut files = BTreeMap::new();
    let written = Written::read(text, name)?;
    for file in written.catalog_files() {
        let beside = folder.join(file);
        let failed = || format!("cannot read the catalog file {} that {name} names", beside.display());
        files.insert(file.clone(), text_of(&beside, reading).with_context(failed)?);
    }
    look_up(written, text, name, files)
}

/// The last known good policy.
pub(crate) fn last_good(lasting: &Path) -> Result<Source> {
    let LastGood { file, text, catalogs, .. } = LastGood::read(lasting)?;
    resolve_with(&text, &file, catalogs)
}

/// As [`resolve`], with the texts of the catalog files at hand.
pub(crate) fn resolve_with(text: &str, name: &str, files: BTreeMap<String, String>) -> Result<Source> {
    look_up(Written::read(text, name)?, text, name, files)
}

fn look_up(written: Written<'_>, text: &str, name: &str, files: BTreeMap<String, String>) -> Result<Source> {
    let mut catalog = Catalog::builtin();
    // In the order of the policy: a later system replaces an earlier one of its name.
    for file in written.catalog_files() {
        let beside = Path::new(name).parent().unwrap_or(Path::new("")).join(file);
        let text = files.get(file).with_context(|| format!("the catalog file {file} is missing"))?;
        catalog.add(Catalog::parse_system(text, &beside.to_string_lossy())?);
    }
    let policy = written.resolve(&catalog)?;
    Ok(Source { policy, text: text.to_owned(), catalog, files })
}

/// Reads the text of a policy file, or of a pipe: `portcullis apply <(generate)`.
pub(crate) fn read_text(path: &Path, reading: Reading) -> Result<String> {
    text_of(path, reading).context("cannot read the policy")
}

/// The text of a file that is named on the command line or by a policy.
pub(super) fn text_of(path: &Path, reading: Reading) -> Result<String> {
    let bytes = match reading {
        Reading::Anything => files::read(path, MAX_BYTES)?,
        Reading::Trusted => files::read_trusted(path, MAX_BYTES)?,
    };
    String::from_utf8(bytes).with_context(|| format!("{} is no UTF-8 text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Reading, resolve};

    const CATALOG: &str =
        "schema = 1\nsystem = \"mine\"\ntitle = \"Mine\"\n\n[[role]]\nname = \"web\"\ntitle = \"Web\"\n";

    /// What a policy with these first lines says, beside a catalog file `mine.toml`.
    fn outcome(lines: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("mine.toml"), CATALOG).expect("file");
        let text = format!("version = 1\n{lines}[[interface]]\nname = \"eth0\"\nroles = [\"mine/web\"]\n");
        match resolve(&text, &folder.path().join("policy.toml"), Reading::Trusted) {
            Ok(source) => Ok(source.policy.interfaces[0].bindings[0].role.clone()),
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
