//! The tests that were skipped while a command ran -> the summary, or an error.
//!
//! What this machine has, no test may lack: a skip by mistake would otherwise look like a pass for ever.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use xtask::debian;
use xtask::places::Places;
use xtask::skip::{Need, Skipped, VARIABLE};
use xtask::toolchain::{self, Endian, Source};

use crate::journal::Journal;
use crate::workspace::Workspace;

/// The file that tests write to, and what they may not miss.
pub(crate) struct Watch {
    file: PathBuf,
}

impl Watch {
    /// A new file in the target folder.
    pub(crate) fn new(workspace: &Workspace) -> Result<Self> {
        let file = workspace.target_dir()?.join("skipped-tests");
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", file.display()))
            }
            _ => Ok(Self { file }),
        }
    }

    /// Has the tests of a command write to it.
    pub(crate) fn over<'a>(&self, tests: &'a mut Command) -> &'a mut Command {
        tests.env(VARIABLE, &self.file)
    }

    /// Lists what was skipped. `root` tells whether the tests that need root ran as root.
    pub(crate) fn report(&self, workspace: &Workspace, journal: &mut Journal, root: bool) -> Result<()> {
        let text = match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            other => other.with_context(|| format!("cannot read {}", self.file.display()))?,
        };
        let skipped = Skipped::parse(&text)?;
        for Skipped { test, reason, .. } in &skipped {
            journal.skip_test(test, reason);
        }
        let has = |need: &Need| has(&workspace.places, &workspace.root, need, root);
        let wrong: Vec<String> = wrongly(&skipped, has).map(|test| test.test.clone()).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        bail!(
            "this machine has what these tests were skipped for: {}; mend how they look for it",
            wrong.join(", ")
        );
    }
}

/// The tests that lack what is there.
fn wrongly(skipped: &[Skipped], has: impl Fn(&Need) -> bool) -> impl Iterator<Item = &Skipped> {
    skipped.iter().filter(move |test| has(&test.need))
}

/// Whether the machine has what a test needs. Of a kernel's features nobody but the kernel can say so.
fn has(places: &Places, root: &Path, need: &Need, ran_as_root: bool) -> bool {
    match need {
        Need::Root => ran_as_root,
        Need::Program(name) => debian::find(places, name).is_some(),
        Need::Kernel => false,
        Need::Documents => documents(root).is_dir(),
        Need::Compiler => matches!(toolchain::find(places, Endian::NATIVE), Ok(Source::Compile(_))),
    }
}

/// Where the tests look for the vendors' documents.
fn documents(root: &Path) -> PathBuf {
    env::var_os("PORTCULLIS_DOCUMENTS").map_or_else(|| root.join("../shared/documents"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_machine_has_is_skipped_wrongly() {
        let skipped = |test: &str, need| Skipped { test: test.to_owned(), need, reason: String::new() };
        let all = [
            skipped("root", Need::Root),
            skipped("absent", Need::Program("no-such-program".to_owned())),
            skipped("present", Need::Program("env".to_owned())),
            skipped("kernel", Need::Kernel),
            skipped("documents", Need::Documents),
        ];
        let nowhere = Path::new("/nonexistent/workspace");
        let places = Places::default();
        let wrong = |root| -> Vec<&str> {
            wrongly(&all, |need| has(&places, nowhere, need, root)).map(|test| &*test.test).collect()
        };
        assert_eq!(wrong(true), ["root", "present"]);
        assert_eq!(wrong(false), ["present"]);
    }
}
