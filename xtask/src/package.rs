//! A built command -> a Debian package.
//!
//! What belongs where is one table here; the files themselves are in `packaging/`. dpkg-deb packs them:
//! nothing but the layout has to be known, and no other tool has to be compiled.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What is packed.
pub struct Request<'a> {
    /// Root of the workspace.
    pub workspace: &'a Path,
    /// The command that was built.
    pub binary: &'a Path,
    /// Version of the package.
    pub version: &'a str,
    /// Where the package is laid out and written.
    pub output: &'a Path,
    /// Whether to spend time on a small package.
    pub compress: bool,
}

/// Files of the workspace that are taken as they are: where from, where to, and their mode.
const FILES: [(&str, &str, u32); 15] = [
    ("packaging/systemd/portcullis.service", "usr/lib/systemd/system/portcullis.service", 0o644),
    ("packaging/systemd/portcullis-boot.service", "usr/lib/systemd/system/portcullis-boot.service", 0o644),
    ("packaging/tmpfiles.d/portcullis.conf", "usr/lib/tmpfiles.d/portcullis.conf", 0o644),
    ("packaging/etc/policy.toml", "etc/portcullis/policy.toml", 0o644),
    ("packaging/etc/default", "etc/default/portcullis", 0o644),
    ("packaging/debian/postinst", "DEBIAN/postinst", 0o755),
    ("packaging/debian/prerm", "DEBIAN/prerm", 0o755),
    ("packaging/debian/postrm", "DEBIAN/postrm", 0o755),
    ("packaging/debian/copyright", "usr/share/doc/portcullis/copyright", 0o644),
    ("LICENSE-MIT", "usr/share/doc/portcullis/LICENSE-MIT", 0o644),
    ("LICENSE-APACHE", "usr/share/doc/portcullis/LICENSE-APACHE", 0o644),
    ("LICENSE-GPL-2.0", "usr/share/doc/portcullis/LICENSE-GPL-2.0", 0o644),
    ("docs/policy.md", "usr/share/doc/portcullis/policy.md", 0o644),
    ("docs/operations.md", "usr/share/doc/portcullis/operations.md", 0o644),
    ("CHANGELOG.md", "usr/share/doc/portcullis/changelog", 0o644),
];
/// What the administrator changes; dpkg keeps those changes.
const CONFIGURATION: &str = "/etc/portcullis/policy.toml\n/etc/default/portcullis\n";
/// Shells, and where each looks for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/portcullis"),
    ("zsh", "usr/share/zsh/vendor-completions/_portcullis"),
    ("fish", "usr/share/fish/vendor_completions.d/portcullis.fish"),
];

/// Packs the command with its manual, completions, units and default files. Gives the package's file.
///
/// # Errors
///
/// Where dpkg-deb or gzip is missing or fails, or the output folder cannot be written.
pub fn build(request: &Request<'_>) -> Result<PathBuf> {
    let root = request.output.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot clear {}", root.display()))?;
    }
    place(&root, "usr/bin/portcullis", &read(request.binary)?, 0o755)?;
    for (from, to, mode) in FILES {
        place(&root, to, &read(&request.workspace.join(from))?, mode)?;
    }
    place(&root, "DEBIAN/conffiles", CONFIGURATION.as_bytes(), 0o644)?;
    for (shell, to) in COMPLETIONS {
        place(&root, to, &output(Command::new(request.binary).args(["completions", shell]))?, 0o644)?;
    }
    let manual = root.join("usr/share/man/man1");
    output(Command::new(request.binary).arg("man").arg(&manual))?;
    zip(&manual, &root.join("usr/share/doc/portcullis/changelog"))?;
    let control = control(request.version, installed_size(&root)?)?;
    place(&root, "DEBIAN/control", control.as_bytes(), 0o644)?;

    let package = request.output.join(format!("portcullis_{}_{}.deb", request.version, architecture()?));
    let packing = if request.compress { "-Zxz" } else { "-Znone" };
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", packing, "--build"]).arg(&root).arg(&package);
    output(&mut pack)?;
    Ok(package)
}

fn control(version: &str, kibibytes: u64) -> Result<String> {
    Ok(format!(
        "Package: portcullis\n\
         Version: {version}\n\
         Architecture: {}\n\
         Maintainer: the authors of Portcullis <portcullis@localhost>\n\
         Installed-Size: {kibibytes}\n\
         Depends: adduser\n\
         Section: net\n\
         Priority: optional\n\
         Description: enforces vendors' documented network ports in the kernel\n \
         Reads the tables of required ports that vendors publish, and lets an XDP program accept what the\n \
         rows of this host's roles name and drop the rest. Every packet is counted under the row that\n \
         explains it. As installed it enforces nothing: edit /etc/portcullis/policy.toml first.\n",
        architecture()?
    ))
}

/// Debian's name of this machine's architecture.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no Debian package is made for {other}"),
    }
}

/// Compresses manual pages and the changelog, as Debian wants them; without times, so that equal files give
/// equal packages.
fn zip(manual: &Path, changelog: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "-n", "-f"]).arg(changelog);
    for entry in fs::read_dir(manual).with_context(|| format!("cannot read {}", manual.display()))? {
        gzip.arg(entry?.path());
    }
    output(&mut gzip).map(drop)
}

/// KiB of everything that will be installed.
fn installed_size(folder: &Path) -> Result<u64> {
    fn bytes(folder: &Path) -> std::io::Result<u64> {
        let mut sum = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            sum += if entry.file_type()?.is_dir() { bytes(&entry.path())? } else { entry.metadata()?.len() };
        }
        Ok(sum)
    }
    Ok(bytes(folder).with_context(|| format!("cannot read {}", folder.display()))?.div_ceil(1024))
}

/// Writes a file of the package, with the folders that it needs.
fn place(root: &Path, to: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let path = root.join(to);
    let failed = || format!("cannot write {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(root)).with_context(failed)?;
    fs::write(&path, bytes).with_context(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).with_context(failed)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
