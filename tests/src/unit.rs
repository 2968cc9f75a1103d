//! A unit file -> the command that the service manager starts by it, with the options of its environment file.
//!
//! As systemd.exec(5) and systemd.service(5) have it, for what packaged units use: `EnvironmentFile=` with
//! comments and quoted values, and `$NAME` as a word of its own in `ExecStart=`, which becomes as many words as
//! its value has.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

/// What a unit starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The command and its arguments.
    pub words: Vec<String>,
    /// The variables that it gets.
    pub environment: BTreeMap<String, String>,
}

impl Unit {
    /// Reads a unit of the system whose files lie below `root`.
    ///
    /// # Errors
    ///
    /// Where the unit or its environment file is missing, or has no command.
    pub fn read(root: &Path, unit: &str) -> Result<Self> {
        let text = |path: &str| {
            fs::read_to_string(root.join(path.trim_start_matches('/')))
                .with_context(|| format!("cannot read {path}"))
        };
        let unit_text = text(&format!("/usr/lib/systemd/system/{unit}"))?;
        let values = |key: &str| {
            let key = format!("{key}=");
            unit_text.lines().filter_map(|line| line.strip_prefix(key.as_str())).collect::<Vec<_>>()
        };
        let mut environment = BTreeMap::new();
        for file in values("EnvironmentFile") {
            environment.extend(variables(&text(file.trim_start_matches('-'))?));
        }
        let command = values("ExecStart").pop().with_context(|| format!("{unit} starts nothing"))?;
        let words = command.split_whitespace().flat_map(|word| match word.strip_prefix('$') {
            Some(name) => environment
                .get(name)
                .map(|value| value.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            None => vec![word.to_owned()],
        });
        Ok(Self { words: words.collect(), environment })
    }
}

fn variables(text: &str) -> impl Iterator<Item = (String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| {
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (name.to_owned(), quoted.unwrap_or(value).to_owned())
    })
}
