//! Programs, libraries and kernel modules -> the file system that the guest begins with.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use xtask::debian;
use xtask::places::Places;
use xtask::skip::VARIABLE;

use super::{Packages, machine::END};
use crate::journal::output_of;

/// What the tests ask of the kernel that is a module in Debian's.
const MODULES: [&str; 20] = [
    "veth",
    "dummy",
    "8021q",
    "macvlan",
    "bridge",
    "sch_ingress",
    "cls_bpf",
    "tun",
    "tcp_diag",
    "udp_diag",
    "bonding",
    "wireguard",
    "ipip",
    "sit",
    "ip_gre",
    "ip6_gre",
    "ip6_tunnel",
    "ip_vti",
    "ip6_vti",
    "xfrm_interface",
];
/// Programs of the host that the tests call.
const HOST_PROGRAMS: [&str; 2] = ["ip", "tc"];
/// Programs of Debian's packages that the tests call; those that miss one are skipped.
const UNPACKED_PROGRAMS: [&str; 1] = ["wg"];

/// The name of a test's program, which arguments may follow.
pub(crate) fn program_of(test: &str) -> &str {
    test.split(' ').next().unwrap_or(test)
}

/// What runs in the guest.
pub(crate) struct Guest<'a> {
    /// Tests ([`program_of`]) and their programs, which are run one after the other as root.
    pub(crate) tests: &'a [(String, PathBuf)],
    /// The command under test.
    pub(crate) command: &'a Path,
}

/// A file system for the guest.
pub(crate) struct Image {
    /// The archive that the kernel unpacks.
    pub(crate) archive: PathBuf,
}

impl Image {
    /// Lays out a file system below `folder` and packs it.
    pub(crate) fn build(
        packages: &Packages,
        places: &Places,
        guest: &Guest<'_>,
        folder: &Path,
    ) -> Result<Self> {
        let root = folder.join("root");
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("cannot empty {}", root.display()))?;
        }
        for name in ["bin", "proc", "sys", "dev", "tmp", "mnt", "run"] {
            fs::create_dir_all(root.join(name)).with_context(|| format!("cannot make {name}"))?;
        }
        let busybox = packages.file("bin/busybox")?;
        fs::copy(&busybox, root.join("bin/busybox")).context("cannot copy busybox")?;
        let mut libraries = BTreeSet::new();
        add(&root, "portcullis", guest.command, &mut libraries)?;
        for (test, file) in guest.tests {
            add(&root, program_of(test), file, &mut libraries)?;
        }
        for name in HOST_PROGRAMS {
            let file =
                packages.file(&format!("sbin/{name}")).or_else(|_| packages.file(&format!("bin/{name}")))?;
            add(&root, name, &file, &mut libraries)?;
        }
        // What the tests find unpacked on the host.
        for name in UNPACKED_PROGRAMS {
            if let Some(program) = debian::find(places, name) {
                add(&root, name, &program.path, &mut libraries)?;
            }
        }
        for library in libraries {
            put(&root, &library, &library)?;
        }
        modules(packages, &root)?;
        let init = root.join("init");
        fs::write(&init, script(guest)).context("cannot write the guest's first program")?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
        let archive = folder.join("initramfs");
        pack(&busybox, &root, &archive)?;
        Ok(Self { archive })
    }
}

/// Adds a program without its debug information, which would have to be unpacked in the guest, too.
fn add(root: &Path, name: &str, file: &Path, libraries: &mut BTreeSet<PathBuf>) -> Result<()> {
    let to = root.join("bin").join(name);
    let stripped = Command::new("strip").arg("-o").arg(&to).arg(file).stderr(Stdio::null()).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(file, &to).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    // Where a program is static, ldd fails and there is nothing to add.
    let linked = output_of(Command::new("ldd").arg(file)).unwrap_or_default();
    libraries.extend(linked.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
    Ok(())
}

/// Copies a file to the same place below `root`.
fn put(root: &Path, from: &Path, place: &Path) -> Result<()> {
    let to = root.join(place.strip_prefix("/").unwrap_or(place));
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The modules with those that they need.
fn modules(packages: &Packages, root: &Path) -> Result<()> {
    let from = packages.modules();
    let table = from.join("modules.dep");
    let table = fs::read_to_string(&table).with_context(|| format!("cannot read {}", table.display()))?;
    let place = Path::new("/lib/modules").join(&packages.release);
    // `path: path path`, relative to the folder; what is not listed is built in.
    for line in table.lines() {
        let (module, needed) = line.split_once(':').context("modules.dep is cut short")?;
        let name = Path::new(module).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if MODULES.iter().any(|wanted| name.split('.').next() == Some(wanted)) {
            for file in needed.split_whitespace().chain([module]) {
                put(root, &from.join(file), &place.join(file))?;
            }
        }
    }
    put(root, &from.join("modules.dep"), &place.join("modules.dep"))
}

/// The guest's first program. Its output, and all that it starts, goes to the second serial line; the
/// kernel's goes to the first. Modules of tunnels put no interface of their own into new namespaces, as where they are
/// not loaded.
fn script(guest: &Guest<'_>) -> String {
    // The kernel makes the first file system for everybody to write to, and no policy is read from such a folder.
    let run = |(test, _): &(String, PathBuf)| {
        let (program, arguments) =
            (program_of(test), test.strip_prefix(program_of(test)).unwrap_or_default());
        format!("/bin/{program} --nocapture --test-threads=2{arguments}\necho \"{END} {test} $?\"\n")
    };
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox mount -t devtmpfs dev /dev\n\
         exec >/dev/ttyS1 2>&1 </dev/null\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/bin PORTCULLIS=/bin/portcullis {VARIABLE}=/tmp/skipped\n\
         chmod 755 /\n\
         stty -F /dev/ttyS1 -onlcr\n\
         mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t tmpfs tmp /tmp\n\
         for module in {modules}; do modprobe $module; done\n\
         echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net\n\
         echo \"{BEGIN} $(uname -r)\"\n\
         {tests}\
         touch ${VARIABLE}\n\
         sed 's/^/{SKIPPED}/' ${VARIABLE}\n\
         poweroff -f\n",
        modules = MODULES.join(" "),
        tests = guest.tests.iter().map(run).collect::<String>(),
        BEGIN = super::machine::BEGIN,
        SKIPPED = super::machine::SKIPPED,
    )
}

/// Packs a folder as the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst).
fn pack(busybox: &Path, root: &Path, archive: &Path) -> Result<()> {
    let mut names = Vec::new();
    list(root, root, &mut names)?;
    let file = File::create(archive).with_context(|| format!("cannot make {}", archive.display()))?;
    let mut cpio = Command::new(busybox)
        .args(["cpio", "-o", "-H", "newc"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run busybox")?;
    cpio.stdin.take().context("its input is a pipe")?.write_all(names.join("\n").as_bytes())?;
    let status = cpio.wait()?;
    if !status.success() {
        bail!("the guest's file system cannot be packed ({status})");
    }
    Ok(())
}

fn list(root: &Path, folder: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?.to_str().context("a name in the guest is no text")?;
        names.push(name.to_owned());
        if path.is_dir() {
            list(root, &path, names)?;
        }
    }
    Ok(())
}
