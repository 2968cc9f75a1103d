//! `portcullis completions` and `portcullis man`: both come from the same table of commands as
//! parsing and help.

use std::{fs, io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Outcome};
use crate::terminal;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "For bash: portcullis completions bash > /etc/bash_completion.d/portcullis")]
pub(super) struct Completions {
    /// Shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<Outcome> {
        // The generator panics where it cannot write.
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "portcullis", &mut text);
        let mut out = terminal::out();
        out.as_is().write_all(&text)?;
        out.flush()?;
        Ok(Outcome::Done)
    }
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Folder to write the pages into; it is made where it is missing
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<Outcome> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        clap_mangen::generate_to(Cli::command(), &self.folder)
            .with_context(|| format!("cannot write man pages into {}", self.folder.display()))?;
        Ok(Outcome::Done)
    }
}
