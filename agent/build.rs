//! Builds the kernel object into `OUT_DIR/portcullis.bpf.o`, which the datapath embeds.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use xtask::object::{self, Request};
use xtask::places::{self, Places};
use xtask::toolchain::{self, Endian, Source};

fn main() -> ExitCode {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".."));
    let Err(error) = build(workspace) else { return ExitCode::SUCCESS };
    let message = format!("{error:#}");
    if message.contains('\n') {
        eprintln!("{message}");
        return ExitCode::FAILURE;
    }
    // cargo fails the build and shows nothing but this sentence.
    println!("cargo::error={message}");
    ExitCode::SUCCESS
}

fn build(workspace: &Path) -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is set by cargo")?);
    let places = Places::from_environment(workspace);
    let endian = if env::var("CARGO_CFG_TARGET_ENDIAN")? == "big" { Endian::Big } else { Endian::Little };

    let (object, tools) = match toolchain::find(&places, endian)? {
        Source::Prebuilt(object) => {
            object::verify(&object)?;
            (object.clone(), vec![object])
        }
        Source::Compile(toolchain) => {
            let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
            let previous = env::var_os("CARGO_FEATURE_PREVIOUS_ABI").is_some();
            let mut target_dir = shared_target(&out);
            let mut features = &[][..];
            if previous {
                target_dir = target_dir.join("previous-abi");
                features = &["previous-abi"];
            }
            let target_dir = &target_dir;
            let request =
                Request { workspace, target_dir, arch: &arch, endian, deny_warnings: false, features };
            let built = object::build(&toolchain, &places, &request)?;
            for line in built.warnings.lines() {
                println!("cargo::warning={line}");
            }
            (built.object, vec![toolchain.rustc(), toolchain.linker])
        }
    };
    fs::copy(&object, out.join("portcullis.bpf.o"))
        .with_context(|| format!("cannot copy {} to {}", object.display(), out.display()))?;
    rerun_for(workspace, &tools);
    Ok(())
}

/// What the object is made of. Only said after success: after a failure cargo reruns anyway, and
/// would show these lines above the compiler's error.
fn rerun_for(workspace: &Path, tools: &[PathBuf]) {
    for path in ["ebpf", "common", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    for tool in tools {
        println!("cargo::rerun-if-changed={}", tool.display());
    }
    for variable in places::VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}

/// `target/ebpf`: one folder for every profile and for clippy and rustdoc, because the programs are
/// always built alike. `OUT_DIR` is `target/[TRIPLE/]PROFILE/build/portcullis-HASH/out`.
fn shared_target(out: &Path) -> PathBuf {
    let profile = out.ancestors().nth(3).unwrap_or(out);
    profile.parent().unwrap_or(profile).join("ebpf")
}
