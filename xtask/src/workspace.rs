//! Where the workspace lies, and how its cargo is called.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use xtask::places::Places;

use crate::journal::output_of;

/// The workspace that this command belongs to.
pub(crate) struct Workspace {
    /// Its root folder.
    pub(crate) root: PathBuf,
    /// Where tools are looked for.
    pub(crate) places: Places,
}

impl Workspace {
    /// The workspace that cargo runs this command for.
    pub(crate) fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = package.parent().filter(|root| root.join("Cargo.toml").is_file());
        let root = root.with_context(|| {
            format!("no workspace around {}: run `cargo xtask` inside the clone", package.display())
        })?;
        Ok(Self { root: root.to_owned(), places: Places::from_environment(root) })
    }

    /// The cargo that runs this command, in the workspace's root.
    pub(crate) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// cargo's target folder, wherever its configuration puts it.
    pub(crate) fn target_dir(&self) -> Result<PathBuf> {
        let output = self
            .cargo(["metadata", "--format-version=1", "--no-deps"])
            .output()
            .context("cannot run cargo")?;
        if !output.status.success() {
            bail!("`cargo metadata` failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        let metadata = String::from_utf8_lossy(&output.stdout);
        let (_, rest) = metadata
            .split_once("\"target_directory\":\"")
            .context("`cargo metadata` names no target folder")?;
        let (folder, _) = rest.split_once('"').context("`cargo metadata` is cut short")?;
        Ok(PathBuf::from(folder))
    }

    /// A path as people read it: relative to the workspace where it lies inside.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

/// The host's target triple.
pub(crate) fn host() -> Result<String> {
    let version = output_of(Command::new("rustc").arg("-vV"))?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
    triple.map(str::to_owned).context("`rustc -vV` names no host")
}

/// A target triple as cargo writes it in the names of variables.
pub(crate) fn in_variables(triple: &str) -> String {
    triple.to_uppercase().replace(['-', '.'], "_")
}
