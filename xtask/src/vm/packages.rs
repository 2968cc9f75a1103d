//! Debian's packages -> an emulator, a kernel and a static shell, in a folder of their own.
//!
//! Nothing is installed: packages are downloaded and unpacked below the tool folder, so that this needs
//! no root and changes nothing on the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use xtask::places::Places;

use crate::apt;
use crate::journal::output_of;

/// The kernel of Debian's cloud images: the smallest with what the tests need.
const KERNEL: &str = "linux-image-cloud-amd64";
/// The emulator, and the shell that the guest starts with.
const PROGRAMS: [&str; 2] = ["qemu-system-x86", "busybox-static"];
/// Written last, so that an interrupted download is no cache.
const COMPLETE: &str = "complete";

/// Why there can be no virtual machine here.
pub(crate) struct Unavailable(pub(crate) String);

/// Unpacked packages.
pub(crate) struct Packages {
    root: PathBuf,
    /// The kernel's release, as `uname -r` tells it.
    pub(crate) release: String,
}

impl Packages {
    /// The packages for `kernel` (a package, or Debian's own choice), downloaded where they are missing.
    pub(crate) fn get(places: &Places, kernel: Option<&str>) -> Result<Result<Self, Unavailable>> {
        let unavailable = |why: &str| Ok(Err(Unavailable(why.to_owned())));
        if std::env::consts::ARCH != "x86_64" {
            return unavailable("the older kernel is one for x86_64");
        }
        if places.on_path("apt-get").is_none() || places.on_path("dpkg").is_none() {
            return unavailable(
                "kernel and emulator come from Debian's packages, and there is no apt-get here",
            );
        }
        let package = match image_of(kernel.unwrap_or(KERNEL)) {
            Ok(package) => package,
            Err(why) => return unavailable(&why),
        };
        let root = places.tools.join("vm").join(&package);
        if !root.join(COMPLETE).is_file()
            && let Err(error) = download(&package, &root)
        {
            return unavailable(&format!("the packages cannot be downloaded: {error:#}"));
        }
        let release = package.trim_start_matches("linux-image-").trim_end_matches("-unsigned").to_owned();
        Ok(Ok(Self { root, release }))
    }

    /// A file of the packages, or of the host where the host has the package installed.
    pub(crate) fn file(&self, path: &str) -> Result<PathBuf> {
        [self.root.join(path), Path::new("/").join(path)]
            .into_iter()
            .find(|file| file.exists())
            .with_context(|| format!("no package brought /{path}"))
    }

    /// The kernel.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The folder that module paths of `modules.dep` are relative to.
    pub(crate) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// A command with the libraries of the packages.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|path| self.root.join(path));
        let joined = std::env::join_paths(folders).unwrap_or_default();
        command.env("LD_LIBRARY_PATH", joined);
        command
    }
}

/// The package that holds a kernel: the one named, or the one that it depends on.
fn image_of(package: &str) -> Result<String, String> {
    let unknown = || format!("apt knows no package {package}: run `apt-get update`, or this is not Debian");
    let depends = output_of(Command::new("apt-cache").args(["depends", package])).map_err(|_| unknown())?;
    if depends.is_empty() {
        return Err(unknown());
    }
    // A kernel itself names others, which it conflicts with.
    let mut needed = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends:"));
    let image = needed.find(|package| package.trim().starts_with("linux-image-"));
    Ok(image.map_or(package, str::trim).to_owned())
}

/// Downloads and unpacks, as a whole or not at all.
fn download(kernel: &str, root: &Path) -> Result<()> {
    let parent = root.parent().context("the folder has a parent")?;
    let unpacked = parent.join(format!("{kernel}.part"));
    apt::unpack(&PROGRAMS, &[kernel], &unpacked)?;
    // Which module needs which: the package leaves it to its installation.
    let busybox = [unpacked.join("bin/busybox"), unpacked.join("usr/bin/busybox"), "/bin/busybox".into()];
    let busybox = busybox.iter().find(|file| file.is_file()).context("busybox-static brought no busybox")?;
    let modules = unpacked.join("lib/modules");
    for release in fs::read_dir(&modules).with_context(|| format!("{kernel} brought no modules"))? {
        let release = release?.file_name();
        output_of(Command::new(busybox).arg("depmod").arg("-b").arg(&unpacked).arg(release))?;
    }
    fs::write(unpacked.join(COMPLETE), "")?;
    apt::remove(root)?;
    fs::rename(&unpacked, root).with_context(|| format!("cannot rename to {}", root.display()))
}
