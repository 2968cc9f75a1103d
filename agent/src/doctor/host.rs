//! The kernel and this process -> what there is to enforce with.

use std::{fs, path::Path};

use nix::sys::statfs::statfs;
use serde::Serialize;

use crate::datapath::{ensure_permission, is_bpffs};

/// What this host has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Release of the kernel, as `6.18.5-amd64`.
    pub kernel: String,
    /// Major and minor version.
    #[serde(skip)]
    pub version: Option<(u32, u32)>,
    /// Whether the kernel tells its types (BTF).
    pub btf: bool,
    /// Whether a BPF file system is mounted where pins are kept.
    pub bpffs: bool,
    /// Whether BPF programs are compiled to machine code; `None` where that is not told, as in a container.
    pub jit: Option<bool>,
    /// Settings by which a packet names the hosts that it goes on to from here, where they are on.
    pub source_routes: Vec<&'static str>,
    /// Whether this process may load and attach programs.
    pub capable: bool,
}

/// Each counts for an interface only together with that interface's own (Documentation/networking/ip-sysctl.rst of the
/// kernel, and seg6-sysctl.rst).
const SOURCE_ROUTES: [&str; 3] = [
    "net.ipv4.conf.all.accept_source_route",
    "net.ipv6.conf.all.accept_source_route",
    "net.ipv6.conf.all.seg6_enabled",
];

/// Looks at this host; pins are kept below `bpffs`.
#[must_use]
pub fn host(bpffs: &Path) -> Host {
    let kernel = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok();
    Host {
        version: version(&kernel),
        kernel,
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        bpffs: statfs(bpffs).is_ok_and(|info| is_bpffs(&info)),
        jit: jit.map(|value| value.trim() != "0"),
        source_routes: SOURCE_ROUTES.into_iter().filter(|setting| is_on(setting)).collect(),
        capable: ensure_permission("this").is_ok(),
    }
}

/// Whether a setting is on; negative numbers mean off.
fn is_on(setting: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/sys/{}", setting.replace('.', "/"))).unwrap_or_default();
    text.trim().parse::<i32>().is_ok_and(|number| number > 0)
}

/// `6.18.5-amd64` -> (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_read_from_releases() {
        assert_eq!(super::version("6.18.5-amd64"), Some((6, 18)));
        assert_eq!(super::version("6.6"), Some((6, 6)));
        assert_eq!(super::version("unknown"), None);
    }
}
