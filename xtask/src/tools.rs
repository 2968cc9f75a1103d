//! The tools: one table of what is needed, from which Debian package, and why.
//!
//! [`survey`] compares the table with the machine. It changes nothing; `cargo xtask setup` acts on it.

use std::process::{Command, Stdio};

use anyhow::Result;
use xtask::places::Places;
use xtask::toolchain::{self, Core, Endian, Source};

/// A program that is called by name.
struct Program {
    name: &'static str,
    package: &'static str,
    reason: &'static str,
    purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Test,
    Bench,
}

const PROGRAMS: [Program; 4] = [
    Program {
        name: "ip",
        package: "iproute2",
        reason: "makes the network namespaces of the tests and the demonstration",
        purpose: Purpose::Test,
    },
    Program {
        name: "xdp-filter",
        package: "xdp-tools",
        reason: "is measured beside us: an XDP port filter",
        purpose: Purpose::Bench,
    },
    Program {
        name: "nft",
        package: "nftables",
        reason: "is measured beside us: the kernel's packet filter",
        purpose: Purpose::Bench,
    },
    Program {
        name: "iptables",
        package: "iptables",
        reason: "is measured beside us: a linear rule list",
        purpose: Purpose::Bench,
    },
];

/// Debian's compiler, its cargo, and `core` for BPF; LLVM's library comes along.
const COMPILER_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
const COMPILER_REASON: &str = "compiles the kernel programs";
const LINKER_REASON: &str = "links the kernel programs and writes their type information (BTF)";
const LINT_REASON: &str = "lints the kernel programs, which only their own compiler can read";

/// Something that is needed, and whether it is there.
pub(crate) struct Need {
    /// Its name.
    pub(crate) what: &'static str,
    /// What it is for.
    pub(crate) reason: &'static str,
    /// Where it was found, or what mends its absence.
    pub(crate) state: Result<String, Remedy>,
}

/// How something missing is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// From these Debian packages.
    Packages(&'static [&'static str]),
    /// Compiled from its crate into the tool folder.
    BuildLinker,
    /// By a command that only the user can decide to run.
    ByHand(&'static str),
}

/// Everything that is needed, in the order in which it is to be had.
///
/// # Errors
///
/// An override in the environment names nothing usable.
pub(crate) fn survey(places: &Places, bench: bool) -> Result<Vec<Need>> {
    let apt = places.on_path("apt-get").is_some();
    let mut needs = toolchain(places, apt)?;
    for program in &PROGRAMS {
        if program.purpose == Purpose::Bench && !bench {
            continue;
        }
        let remedy = if apt {
            Remedy::Packages(std::slice::from_ref(&program.package))
        } else {
            Remedy::ByHand("install it with your distribution's package manager")
        };
        let found = administrator(places, program.name).ok_or(remedy);
        needs.push(Need { what: program.name, reason: program.reason, state: found });
    }
    Ok(needs)
}

/// A program on `PATH` or among the administrator's, which `PATH` often leaves out.
fn administrator(places: &Places, name: &str) -> Option<String> {
    let sbin = places.system.join("sbin").join(name);
    let found = places.on_path(name).or_else(|| Some(sbin).filter(|file| file.is_file()))?;
    Some(found.display().to_string())
}

fn toolchain(places: &Places, apt: bool) -> Result<Vec<Need>> {
    let compiler = |state| Need { what: "eBPF compiler", reason: COMPILER_REASON, state };
    let linker = |state| Need { what: "bpf-linker", reason: LINKER_REASON, state };
    let compilers = toolchain::compilers(places, Endian::NATIVE)?;
    let mut needs = match toolchain::find(places, Endian::NATIVE) {
        Ok(Source::Prebuilt(object)) => {
            return Ok(vec![compiler(Ok(format!("not needed: {}", object.display())))]);
        }
        Ok(Source::Compile(found)) => {
            let path = found.linker.display().to_string();
            let starts = if starts(&found.linker) { Ok(path) } else { Err(remedy_for_linker(apt)) };
            vec![compiler(Ok(found.rustc().display().to_string())), linker(starts)]
        }
        Err(error) if places.object.is_some() => return Err(error),
        Err(_) => {
            let usable = compilers.iter().find(|(_, core)| !apt || *core == Core::Prebuilt);
            let state = match usable {
                Some((sysroot, _)) => Ok(sysroot.join("bin/rustc").display().to_string()),
                None if apt => Err(Remedy::Packages(COMPILER_PACKAGES)),
                None => Err(Remedy::ByHand("rustup toolchain install nightly --component rust-src")),
            };
            vec![compiler(state), linker(Err(remedy_for_linker(apt)))]
        }
    };
    if apt && uses_system_compiler(places, &compilers) {
        let driver = places.system.join("bin/clippy-driver");
        let found = Some(driver).filter(|file| file.is_file()).map(|file| file.display().to_string());
        let state = found.ok_or(Remedy::Packages(&["rust-web-clippy"]));
        needs.push(Need { what: "eBPF clippy", reason: LINT_REASON, state });
    }
    Ok(needs)
}

/// Whether the system's compiler is the one that is, or after set-up will be, used.
fn uses_system_compiler(places: &Places, compilers: &[(std::path::PathBuf, Core)]) -> bool {
    match toolchain::find(places, Endian::NATIVE) {
        Ok(Source::Compile(found)) => found.sysroot == places.system,
        Ok(Source::Prebuilt(_)) => false,
        Err(_) => {
            places.toolchain.is_none() || compilers.iter().any(|(sysroot, _)| *sysroot == places.system)
        }
    }
}

fn remedy_for_linker(apt: bool) -> Remedy {
    if apt {
        Remedy::BuildLinker
    } else {
        Remedy::ByHand("cargo install cargo-binstall && cargo binstall bpf-linker")
    }
}

/// Whether a linker runs: one that was built for an LLVM which an upgrade removed does not.
fn starts(linker: &std::path::Path) -> bool {
    let mut command = Command::new(linker);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
