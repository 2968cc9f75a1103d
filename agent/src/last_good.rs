//! The last known good policy: what was last put in place, kept over a boot.
//!
//! ```text
//! <lasting>/last-good.json     the policy's text and those of the catalog files that it names
//! ```
//!
//! It holds whole texts, so that it can be enforced whatever became of the files that it was read from.
//! Whoever puts a policy in place writes it (`apply` and the agent); `boot` reads it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};

/// The form of the file; another form is not read.
const SCHEMA: u32 = 1;
/// Room for a policy and catalogs of the largest size that is read.
const MAX_BYTES: u64 = 64 << 20;

/// A policy that was in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    schema: u32,
    /// The file it was read from.
    pub file: String,
    /// When it was put in place, seconds since 1970 UTC.
    pub applied: u64,
    /// Its text.
    pub text: String,
    /// The catalog files that it names, and their texts.
    #[serde(default)]
    pub catalogs: BTreeMap<String, String>,
}

/// The last known good policy cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// No policy was ever put in place here.
    #[error("no policy is known to be good yet ({0} is missing)")]
    Never(PathBuf),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is damaged, or of another form.
    #[error("{path} is no last known good policy: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl LastGood {
    /// What was just put in place.
    #[must_use]
    pub fn now(file: &str, text: &str, catalogs: &BTreeMap<String, String>) -> Self {
        let applied = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let (file, text) = (file.to_owned(), text.to_owned());
        Self { schema: SCHEMA, file, applied, text, catalogs: catalogs.clone() }
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// Where there is none, or it cannot be trusted or read.
    pub fn read(lasting: &Path) -> Result<Self, LastGoodError> {
        let path = path(lasting);
        let bytes = match files::read_kept(&path, MAX_BYTES, lasting) {
            Err(error) if error.is_missing() => return Err(LastGoodError::Never(path)),
            other => other?,
        };
        let damaged = |reason: String| LastGoodError::Damaged { path: path.clone(), reason };
        let read: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if read.schema != SCHEMA {
            return Err(damaged(format!("it has form {}, this build reads form {SCHEMA}", read.schema)));
        }
        Ok(read)
    }

    /// Keeps it, whole or not at all, in place of the one before.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be written.
    pub fn keep(&self, lasting: &Path) -> io::Result<()> {
        files::make_private(lasting)?;
        files::write_private(&path(lasting), &serde_json::to_vec(self)?)
    }
}

fn path(lasting: &Path) -> PathBuf {
    lasting.join("last-good.json")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_kept_is_read_and_what_was_damaged_is_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let lasting = folder.path().join("lasting");
        assert!(matches!(LastGood::read(&lasting), Err(LastGoodError::Never(_))));
        let catalogs = BTreeMap::from([("mine.toml".to_owned(), "schema = 1".to_owned())]);
        let kept = LastGood::now("/etc/policy.toml", "version = 1", &catalogs);
        kept.keep(&lasting).expect("written");
        assert_eq!(LastGood::read(&lasting).expect("kept"), kept);

        let text = fs::read_to_string(path(&lasting)).expect("text");
        for (damage, part) in
            [(text.replace("\"schema\":1", "\"schema\":9"), "form 9"), (text[..20].to_owned(), "EOF")]
        {
            fs::write(path(&lasting), damage).expect("written");
            let error = LastGood::read(&lasting).expect_err("damaged").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
