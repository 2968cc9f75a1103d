//! The kernel object is a function of the sources and the toolchain alone: two clean builds in
//! different folders give the same bytes, and the bytes name no folder of this machine.
//!
//! What is installed on a host can therefore be compared with what the sources say.
//!
//! Clean means: nothing that is compiled for BPF is there before. Procedural macros and build
//! scripts, which run on this machine and come from the registry, are taken over from the
//! workspace's own build where there is one; they are most of the time that a build takes.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;

use sha2::{Digest as _, Sha256};
use xtask::object::{self, Request};
use xtask::places::Places;
use xtask::skip::{Need, skip};
use xtask::toolchain::{self, Endian, Source, Toolchain};

/// What cargo has to see of the workspace to build one of its packages.
const WORKSPACE: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", ".cargo", "agent", "common", "ebpf", "tests", "xtask"];

/// Holds: security reproducible.
#[test]
fn two_clean_builds_in_different_folders_are_identical() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let places = Places::from_environment(root);
    let toolchain = match toolchain::find(&places, Endian::NATIVE).expect("a toolchain") {
        Source::Compile(toolchain) => toolchain,
        Source::Prebuilt(object) => {
            let reason = format!("nothing is compiled, the object is {}", object.display());
            skip(Need::Compiler, &reason);
            return;
        }
    };

    let [first, second] = thread::scope(|scope| {
        // Different in length, too: a path that leaks shifts everything behind it.
        let builds = ["one", "another/and/deeper"]
            .map(|folder| scope.spawn(|| clean_build(root, folder, &toolchain, &places)));
        builds.map(|build| build.join().expect("the build does not panic"))
    });

    let digests = [&first, &second].map(|object| hex(&Sha256::digest(object)));
    println!("sha256 of the kernel object: {}", digests[0]);
    assert_eq!(digests[0], digests[1], "the objects differ: some path or time has leaked into one");
    for leak in [root, &places.cargo_home, &places.rustup_home, &env::temp_dir()] {
        let leak = leak.to_str().expect("a path in UTF-8").as_bytes();
        let leaked = first.windows(leak.len()).any(|window| window == leak);
        assert!(!leaked, "the object names the folder {}", String::from_utf8_lossy(leak));
    }
}

/// The object, built from a copy of the workspace.
fn clean_build(root: &Path, folder: &str, toolchain: &Toolchain, places: &Places) -> Vec<u8> {
    let temporary = tempfile::tempdir().expect("temporary folder");
    let workspace = temporary.path().join(folder);
    fs::create_dir_all(&workspace).expect("folder");
    for name in WORKSPACE {
        copy(&root.join(name), &workspace.join(name));
    }
    let target_dir = workspace.join("target/ebpf");
    let host_tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("ebpf/bpf");
    if host_tools.is_dir() {
        copy(&host_tools, &target_dir.join("bpf"));
    }
    let request = Request {
        workspace: &workspace,
        target_dir: &target_dir,
        arch: env::consts::ARCH,
        endian: Endian::NATIVE,
        deny_warnings: false,
        features: &[],
    };
    let built = object::build(toolchain, places, &request).expect("the kernel programs compile");
    fs::read(built.object).expect("the object")
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("folder");
        for entry in fs::read_dir(from).expect("folder").flatten() {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        // With the time: cargo takes an artefact for stale that is older than what it depends on.
        let copied = fs::copy(from, to).and_then(|_| {
            let modified = fs::metadata(from)?.modified()?;
            fs::File::options().append(true).open(to)?.set_modified(modified)
        });
        copied.unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
