//! Builds the kernel object from the crate `portcullis-ebpf`.
//!
//! In: a [`Toolchain`] and a [`Request`]. Out: the ELF file that the agent embeds. The same sources
//! and the same toolchain give the same bytes in any folder: every path that rustc would record is
//! remapped, which is also why aya-build is not used (it overwrites the flags that do it).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::places::Places;
use crate::toolchain::{Core, Endian, Toolchain};

/// The crate that holds the kernel programs.
const PACKAGE: &str = "portcullis-ebpf";
/// Its binary, hence also the crate's name for rustc.
const BINARY: &str = "portcullis";
/// The profile in the workspace's Cargo.toml.
const PROFILE: &str = "bpf";
/// BPF instruction set: v3 (Linux 5.12) has 32-bit jumps and 64-bit atomic operations that return
/// the old value. Given to rustc and not to the linker, so that both agree.
const CPU: &str = "v3";
/// LLVM's switch (LLVM 22) to read a header field with one load wherever it stands; without it a
/// field is put together from bytes, which is slower but right. An older LLVM ignores it.
const MISALIGNED_LOADS: &str = "--cpu-features=+allows-misaligned-mem-access";
/// Architectures whose kernels accept such loads (HAVE_EFFICIENT_UNALIGNED_ACCESS); the verifier of
/// any other refuses them.
const MISALIGNED_ARCHITECTURES: &[&str] = &["x86_64", "aarch64", "powerpc64", "s390x"];
/// Crates that may use unstable features of a stable compiler: aya-ebpf needs `core_intrinsics`,
/// as do the programs for atomic operations, which `core` does not offer for BPF.
const UNSTABLE_CRATES: &str = "aya_ebpf,portcullis";

/// What to build.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Root of the workspace.
    pub workspace: &'a Path,
    /// Folder for everything that the build writes.
    pub target_dir: &'a Path,
    /// Architecture of the kernel that runs the programs, as rustc names it (`x86_64`).
    pub arch: &'a str,
    /// Its byte order.
    pub endian: Endian,
    /// Whether a warning fails the build.
    pub deny_warnings: bool,
    /// Features of the crate that holds the programs.
    pub features: &'a [&'a str],
}

/// A finished build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The object.
    pub object: PathBuf,
    /// What the compiler had to say, rendered; empty where it had nothing.
    pub warnings: String,
}

/// Builds the object.
///
/// # Errors
///
/// cargo cannot be started, or the programs do not compile; then the message holds what the
/// compiler said.
pub fn build(toolchain: &Toolchain, places: &Places, request: &Request<'_>) -> Result<Built> {
    let output = command("build", toolchain, places, request)
        .output()
        .with_context(|| format!("cannot run {}", toolchain.cargo().display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("the kernel programs do not compile (with {toolchain}):\n\n{said}");
    }
    let object = request.target_dir.join(request.endian.target()).join(PROFILE).join(BINARY);
    verify(&object)?;
    Ok(Built { object, warnings: said })
}

/// Checks the programs with clippy, or with the compiler's own lints where the toolchain has no
/// clippy; a warning is an error. Returns which of the two it was.
///
/// # Errors
///
/// cargo cannot be started, or there are warnings; then the message holds them.
pub fn lint(toolchain: &Toolchain, places: &Places, request: &Request<'_>) -> Result<Linter> {
    let mut command =
        command("check", toolchain, places, &Request { deny_warnings: true, ..request.clone() });
    let clippy = toolchain.sysroot.join("bin/clippy-driver");
    let linter = if clippy.is_file() {
        command.env("RUSTC_WORKSPACE_WRAPPER", &clippy);
        Linter::Clippy
    } else {
        Linter::Rustc
    };
    let output = command.output().with_context(|| format!("cannot run {}", toolchain.cargo().display()))?;
    if !output.status.success() {
        bail!("the kernel programs have warnings:\n\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(linter)
}

/// What has linted the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linter {
    /// The toolchain's clippy.
    Clippy,
    /// The compiler's own lints only.
    Rustc,
}

/// Refuses what is no BPF object: a wrong file would otherwise only be noticed when loading.
///
/// # Errors
///
/// The file cannot be read, or is no ELF file for BPF.
pub fn verify(object: &Path) -> Result<()> {
    /// `e_machine` of BPF, at byte 18 of an ELF header (linux/elf-em.h).
    const EM_BPF: u16 = 247;
    let bytes = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
    let machine = match bytes.get(..20) {
        Some([0x7f, b'E', b'L', b'F', _, 1, .., low, high]) => u16::from_le_bytes([*low, *high]),
        Some([0x7f, b'E', b'L', b'F', _, 2, .., high, low]) => u16::from_be_bytes([*high, *low]),
        _ => bail!("{} is no ELF file", object.display()),
    };
    if machine != EM_BPF {
        bail!("{} is an ELF file, but for machine {machine} and not for BPF ({EM_BPF})", object.display());
    }
    Ok(())
}

/// The cargo command. Variables of an outer cargo (wrappers, flags, target folder) must not reach
/// it: `cargo clippy` for instance would make clippy's driver compile the kernel programs.
fn command(action: &str, toolchain: &Toolchain, places: &Places, request: &Request<'_>) -> Command {
    let mut command = Command::new(toolchain.cargo());
    command.current_dir(request.workspace);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(configures_cargo) {
            command.env_remove(name);
        }
    }
    command
        .args([action, "--quiet", "--locked", "--package", PACKAGE, "--bin", BINARY])
        .args(["--profile", PROFILE, "--target", request.endian.target()])
        .args(["--features", &request.features.join(",")])
        .arg("--target-dir")
        .arg(request.target_dir)
        .env("RUSTC", toolchain.rustc())
        .env("RUSTC_WRAPPER", "")
        .env("CARGO_INCREMENTAL", "0")
        .env(linker_variable(request.endian), &toolchain.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain, places, request));
    match toolchain.core {
        Core::Prebuilt => command.env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES),
        Core::FromSource => command.args(["-Z", "build-std=core"]),
    };
    command
}

fn configures_cargo(variable: &str) -> bool {
    variable.starts_with("CARGO_BUILD_")
        || variable.starts_with("CARGO_PROFILE_")
        || matches!(
            variable,
            "RUSTC"
                | "RUSTC_WRAPPER"
                | "RUSTC_WORKSPACE_WRAPPER"
                | "RUSTFLAGS"
                | "RUSTUP_TOOLCHAIN"
                | "RUSTC_BOOTSTRAP"
                | "CARGO"
                | "CARGO_ENCODED_RUSTFLAGS"
                | "CARGO_TARGET_DIR"
        )
}

fn linker_variable(endian: Endian) -> String {
    format!("CARGO_TARGET_{}_LINKER", endian.target().to_uppercase().replace('-', "_"))
}

/// rustc's flags, separated as `CARGO_ENCODED_RUSTFLAGS` wants them.
fn flags(toolchain: &Toolchain, places: &Places, request: &Request<'_>) -> OsString {
    let mut flags: Vec<OsString> = vec![
        format!("--cfg=bpf_target_arch=\"{}\"", request.arch).into(),
        format!("-Ctarget-cpu={CPU}").into(),
        "-Clink-arg=--btf".into(),
    ];
    if MISALIGNED_ARCHITECTURES.contains(&request.arch) {
        flags.push(format!("-Clink-arg={MISALIGNED_LOADS}").into());
    }
    if request.deny_warnings {
        flags.push("-Dwarnings".into());
    }
    for (from, to) in remapped(toolchain, places, request) {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    flags.join("\u{1f}".as_ref())
}

/// Folders that rustc would record, and what it records instead. The last match wins.
///
/// The workspace becomes `.`, so that LLVM still finds the sources (cargo runs rustc in the
/// workspace's root) and puts their lines into BTF, where the verifier's log quotes them.
fn remapped(toolchain: &Toolchain, places: &Places, request: &Request<'_>) -> Vec<(PathBuf, &'static str)> {
    let mut map = vec![
        (toolchain.sysroot.join("lib/rustlib/src/rust"), "/rustc"),
        (places.cargo_home.clone(), "/cargo"),
        (request.workspace.to_owned(), "."),
        (request.target_dir.to_owned(), "/target"),
    ];
    // Named after the registry or its mirror, which must not show either.
    let sources = fs::read_dir(places.cargo_home.join("registry/src"));
    map.extend(sources.into_iter().flatten().flatten().map(|entry| (entry.path(), "/crates")));
    map
}
