//! Finds a compiler and a linker for the kernel programs.
//!
//! In: [`Places`]. Out: a prebuilt object or a [`Toolchain`], or one sentence that says what to do.
//! Looks at files only and starts no process, so it costs nothing on a build that needs no work.
//!
//! Probe order:
//!
//! 1. `PORTCULLIS_EBPF_OBJECT`: a prebuilt object, then `PORTCULLIS_EBPF_TOOLCHAIN`: a compiler.
//! 2. A rustup nightly with the component `rust-src`, which compiles `core` itself.
//! 3. The distribution's compiler with a prebuilt `core` for BPF (Debian: `libstd-rust-web-dev-bpf`).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::places::{OBJECT_VARIABLE, Places, TOOLCHAIN_VARIABLE};

/// The linker's crate and program.
pub const BPF_LINKER: &str = "bpf-linker";
/// The linker's version that `cargo xtask setup` installs.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// Byte order of the kernel that will run the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// Byte order of the machine that this code was compiled for.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// Name of rustc's target.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::Little => "bpfel-unknown-none",
            Self::Big => "bpfeb-unknown-none",
        }
    }
}

/// What the object comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An object that is already built.
    Prebuilt(PathBuf),
    /// The `ebpf` crate, compiled by this.
    Compile(Toolchain),
}

/// A compiler and a linker for the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Folder that holds `bin/rustc`, `bin/cargo` and `lib/rustlib`.
    pub sysroot: PathBuf,
    /// Where `core` comes from.
    pub core: Core,
    /// The linker.
    pub linker: PathBuf,
}

/// Where a compiler gets `core` for BPF from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// The compiler brings it compiled.
    Prebuilt,
    /// It is compiled with the programs, from the component `rust-src` (cargo's `build-std`).
    FromSource,
}

impl Toolchain {
    /// The compiler.
    #[must_use]
    pub fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// The cargo that belongs to the compiler.
    #[must_use]
    pub fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = match self.core {
            Core::Prebuilt => "prebuilt core",
            Core::FromSource => "core from source",
        };
        write!(f, "{} ({core}), {}", self.rustc().display(), self.linker.display())
    }
}

/// Finds what the object is to come from.
///
/// # Errors
///
/// An override that names nothing usable, or no toolchain at all; the message is one sentence.
pub fn find(places: &Places, endian: Endian) -> Result<Source> {
    if let Some(object) = &places.object {
        if !object.is_file() {
            bail!("{OBJECT_VARIABLE} names `{}`, which is no file", object.display());
        }
        return Ok(Source::Prebuilt(object.clone()));
    }
    let compilers = compilers(places, endian)?;
    if compilers.is_empty() {
        bail!(
            "no compiler for the kernel programs (eBPF) was found: run `cargo xtask setup`, which installs one or says how"
        );
    }
    pair(places, &compilers).map(Source::Compile).context(
        "the linker for the kernel programs, bpf-linker, was not found: run `cargo xtask setup`, which installs it",
    )
}

/// Compilers that can make kernel programs, best first; an override is the only one.
///
/// # Errors
///
/// The override names no such compiler.
pub fn compilers(places: &Places, endian: Endian) -> Result<Vec<(PathBuf, Core)>> {
    let with_core = |folder: PathBuf| core_of(&folder, endian).map(|core| (folder, core));
    if let Some(name) = &places.toolchain {
        let compiler = with_core(places.rustup_home.join("toolchains").join(name)).with_context(|| {
            format!(
                "{TOOLCHAIN_VARIABLE} names `{}`, which is neither a rustup toolchain with the component rust-src nor a folder whose bin/rustc has `core` for {}",
                name.display(),
                endian.target()
            )
        })?;
        return Ok(vec![compiler]);
    }
    let nightlies = nightlies(&places.rustup_home).into_iter().filter_map(with_core);
    let system = with_core(places.system.clone()).filter(|(_, core)| *core == Core::Prebuilt);
    Ok(nightlies.chain(system).collect())
}

/// A compiler with a linker that fits. bpf-linker has to know the compiler's LLVM: the one that
/// `cargo xtask setup` builds knows the distribution's, the one that the owner of a nightly put on
/// `PATH` the nightly's. Crosswise they are the last resort.
fn pair(places: &Places, compilers: &[(PathBuf, Core)]) -> Option<Toolchain> {
    let on_path = places.on_path(BPF_LINKER);
    let own = places.own_linker();
    let order = [
        (Core::FromSource, &on_path),
        (Core::Prebuilt, &own),
        (Core::Prebuilt, &on_path),
        (Core::FromSource, &own),
    ];
    order.into_iter().find_map(|(core, linker)| {
        let (sysroot, _) = compilers.iter().find(|(_, of)| *of == core)?;
        Some(Toolchain { sysroot: sysroot.clone(), core, linker: linker.clone()? })
    })
}

/// rustup's nightlies: the plain one first, then the dated ones, newest first.
fn nightlies(rustup_home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(rustup_home.join("toolchains")) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| name_of(path).is_some_and(|name| name.starts_with("nightly")))
        .collect();
    let dated = |path: &PathBuf| name_of(path).is_some_and(|name| name.starts_with("nightly-2"));
    found.sort_by(|a, b| dated(a).cmp(&dated(b)).then_with(|| b.cmp(a)));
    found
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Where the compiler below `sysroot` gets `core` for BPF from; `None` where it cannot.
fn core_of(sysroot: &Path, endian: Endian) -> Option<Core> {
    let rustlib = sysroot.join("lib/rustlib");
    if !sysroot.join("bin/rustc").is_file() || !sysroot.join("bin/cargo").is_file() {
        None
    } else if has_core(&rustlib.join(endian.target()).join("lib")) {
        Some(Core::Prebuilt)
    } else if rustlib.join("src/rust/library/core").is_dir() {
        Some(Core::FromSource)
    } else {
        None
    }
}

fn has_core(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("libcore-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine laid out in a temporary folder; `files` are created empty.
    fn machine(files: &[&str]) -> (tempfile::TempDir, Places) {
        let root = tempfile::tempdir().expect("temporary folder");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("below the root")).expect("folder");
            fs::write(path, "").expect("file");
        }
        let below = |folder: &str| root.path().join(folder);
        let places = Places {
            path: vec![below("path")],
            rustup_home: below("rustup"),
            system: below("usr"),
            tools: below("tools"),
            ..Places::default()
        };
        (root, places)
    }

    const NIGHTLY: &[&str] = &[
        "rustup/toolchains/nightly-x/bin/rustc",
        "rustup/toolchains/nightly-x/bin/cargo",
        "rustup/toolchains/nightly-x/lib/rustlib/src/rust/library/core/Cargo.toml",
    ];
    const DEBIAN: &[&str] =
        &["usr/bin/rustc", "usr/bin/cargo", "usr/lib/rustlib/bpfel-unknown-none/lib/libcore-0.rlib"];
    const ON_PATH: &str = "path/bpf-linker";
    const OWN: &str = "tools/bpf-linker-0.13.0/bin/bpf-linker";

    /// Which compiler (relative to the machine) and linker are found, or the sentence.
    fn found(files: &[&[&str]], change: impl FnOnce(&mut Places)) -> Result<(String, Core, String), String> {
        let (root, mut places) = machine(&files.concat());
        change(&mut places);
        let relative = |path: &Path| path.strip_prefix(root.path()).unwrap_or(path).display().to_string();
        match find(&places, Endian::Little) {
            Ok(Source::Compile(found)) => Ok((relative(&found.sysroot), found.core, relative(&found.linker))),
            Ok(Source::Prebuilt(object)) => Ok((relative(&object), Core::Prebuilt, String::new())),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    fn is(sysroot: &str, core: Core, linker: &str) -> Result<(String, Core, String), String> {
        Ok((sysroot.to_owned(), core, linker.to_owned()))
    }

    #[test]
    fn a_nightly_with_sources_wins_and_takes_the_linker_on_path() {
        let machine = [NIGHTLY, DEBIAN, &[ON_PATH, OWN]];
        assert_eq!(found(&machine, |_| ()), is("rustup/toolchains/nightly-x", Core::FromSource, ON_PATH));
    }

    #[test]
    fn a_nightly_takes_the_linker_of_the_system_compiler_only_for_want_of_better() {
        assert_eq!(found(&[NIGHTLY, DEBIAN, &[OWN]], |_| ()), is("usr", Core::Prebuilt, OWN));
        let alone = found(&[NIGHTLY, &[OWN]], |_| ());
        assert_eq!(alone, is("rustup/toolchains/nightly-x", Core::FromSource, OWN));
    }

    #[test]
    fn a_nightly_without_sources_is_passed_over() {
        let machine = [&NIGHTLY[..2], DEBIAN, &[OWN]];
        assert_eq!(found(&machine, |_| ()), is("usr", Core::Prebuilt, OWN));
    }

    #[test]
    fn the_system_compiler_takes_the_linker_built_for_it() {
        assert_eq!(found(&[DEBIAN, &[ON_PATH, OWN]], |_| ()), is("usr", Core::Prebuilt, OWN));
        assert_eq!(found(&[DEBIAN, &[ON_PATH]], |_| ()), is("usr", Core::Prebuilt, ON_PATH));
    }

    #[test]
    fn the_newest_dated_nightly_serves_where_no_plain_one_does() {
        let dated = |date: &str| NIGHTLY.iter().map(|file| file.replace('x', date)).collect::<Vec<_>>();
        let files: Vec<String> = [dated("2026-01-02"), dated("2026-03-04")].concat();
        let files: Vec<&str> = files.iter().map(String::as_str).chain([ON_PATH]).collect();
        let newest = "rustup/toolchains/nightly-2026-03-04";
        assert_eq!(found(&[&files], |_| ()), is(newest, Core::FromSource, ON_PATH));
    }

    #[test]
    fn an_override_names_a_toolchain_or_a_folder() {
        let machine = [NIGHTLY, DEBIAN, &[ON_PATH]];
        let by_folder = found(&machine, |places| places.toolchain = Some(places.system.clone().into()));
        assert_eq!(by_folder, is("usr", Core::Prebuilt, ON_PATH));
        let by_name = found(&machine, |places| places.toolchain = Some("nightly-x".into()));
        assert_eq!(by_name, is("rustup/toolchains/nightly-x", Core::FromSource, ON_PATH));
        let unknown = found(&machine, |places| places.toolchain = Some("nightly-y".into()));
        assert!(unknown.is_err_and(|sentence| sentence.contains("`nightly-y`")));
    }

    #[test]
    fn a_prebuilt_object_needs_no_toolchain() {
        let object =
            found(&[&["given.o"]], |places| places.object = Some(places.tools.with_file_name("given.o")));
        assert_eq!(object, is("given.o", Core::Prebuilt, ""));
    }

    #[test]
    fn what_is_missing_is_one_sentence_with_the_command() {
        for machine in [&[][..], &[DEBIAN], &[NIGHTLY], &[&[ON_PATH][..]]] {
            let sentence = found(machine, |_| ()).expect_err("something is missing");
            assert!(sentence.contains("`cargo xtask setup`"), "{sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }
}
