//! Where tools are looked for: the environment, read once.
//!
//! Everything else takes a [`Places`] and never asks the environment itself, so that tests can lay
//! out a machine in a temporary folder.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::toolchain::{BPF_LINKER, BPF_LINKER_VERSION};

/// Environment variable: a kernel object that somebody else built, used as it is.
pub const OBJECT_VARIABLE: &str = "PORTCULLIS_EBPF_OBJECT";
/// Environment variable: the compiler to use, as a rustup toolchain's name or as a folder with
/// `bin/rustc` and `bin/cargo`.
pub const TOOLCHAIN_VARIABLE: &str = "PORTCULLIS_EBPF_TOOLCHAIN";
/// Environment variable: the folder that `cargo xtask setup` installs tools into.
pub const TOOLS_VARIABLE: &str = "PORTCULLIS_TOOLS";

/// Variables that decide which toolchain is found; a build script reruns when one changes.
pub const VARIABLES: [&str; 6] =
    [OBJECT_VARIABLE, TOOLCHAIN_VARIABLE, TOOLS_VARIABLE, "RUSTUP_HOME", "CARGO_HOME", "XDG_CACHE_HOME"];

/// The folders and overrides that a search for tools starts from.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Value of [`OBJECT_VARIABLE`], if set and not empty.
    pub object: Option<PathBuf>,
    /// Value of [`TOOLCHAIN_VARIABLE`], if set and not empty.
    pub toolchain: Option<OsString>,
    /// Folders of `PATH`.
    pub path: Vec<PathBuf>,
    /// rustup's folder, which holds `toolchains/`.
    pub rustup_home: PathBuf,
    /// cargo's folder, which holds the sources of dependencies.
    pub cargo_home: PathBuf,
    /// Prefix of the system's compiler: `/usr`.
    pub system: PathBuf,
    /// The project's own tools. They live in the user's cache and not in the clone, so that a
    /// second clone, a worktree or a CI job with a kept cache need not compile the linker again.
    pub tools: PathBuf,
}

impl Places {
    /// Reads the environment. Without a home folder, tools live below the workspace.
    #[must_use]
    pub fn from_environment(workspace: &Path) -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let home = set("HOME").map(PathBuf::from);
        let below_home = |folder: &str| home.as_deref().unwrap_or(Path::new("/nonexistent")).join(folder);
        let cache = set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".cache")));
        Self {
            object: set(OBJECT_VARIABLE).map(PathBuf::from),
            toolchain: set(TOOLCHAIN_VARIABLE),
            path: set("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            rustup_home: set("RUSTUP_HOME").map_or_else(|| below_home(".rustup"), PathBuf::from),
            cargo_home: set("CARGO_HOME").map_or_else(|| below_home(".cargo"), PathBuf::from),
            system: PathBuf::from("/usr"),
            tools: set(TOOLS_VARIABLE)
                .map(PathBuf::from)
                .or_else(|| Some(cache?.join("portcullis/tools")))
                .unwrap_or_else(|| workspace.join(".tools")),
        }
    }

    /// The program `name` on `PATH`.
    #[must_use]
    pub fn on_path(&self, name: &str) -> Option<PathBuf> {
        self.path.iter().map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    /// Where `cargo xtask setup` installs the linker; the version is part of the path, so that a
    /// newer checkout does not pick up an older linker.
    #[must_use]
    pub fn linker_root(&self) -> PathBuf {
        self.tools.join(format!("{BPF_LINKER}-{BPF_LINKER_VERSION}"))
    }

    /// The linker that `cargo xtask setup` installed, if it did.
    #[must_use]
    pub fn own_linker(&self) -> Option<PathBuf> {
        Some(self.linker_root().join("bin").join(BPF_LINKER)).filter(|file| file.is_file())
    }
}
