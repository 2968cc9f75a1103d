//! Programs of Debian that the tests talk with: which, from which package, and where they lie.
//!
//! The packages are unpacked into the tool folder and not installed: an installed server would be
//! started on the machine of whoever runs the tests, and unpacking needs no root.

use std::path::{Path, PathBuf};

use crate::places::Places;

/// A program that the tests start, and Debian's package with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Debian's name of the package.
    pub name: &'static str,
    /// What the tests use of it.
    pub programs: &'static [&'static str],
}

/// Everything that the tests start beside iproute2.
pub const PACKAGES: [Package; 11] = [
    Package {
        name: "coturn",
        programs: &["turnserver", "turnutils_peer", "turnutils_stunclient", "turnutils_uclient"],
    },
    Package { name: "curl", programs: &["curl"] },
    Package { name: "dnsmasq-base", programs: &["dnsmasq"] },
    Package { name: "iputils-ping", programs: &["ping"] },
    Package { name: "isc-dhcp-client", programs: &["dhclient"] },
    Package { name: "nftables", programs: &["nft"] },
    Package { name: "openssh-client", programs: &["ssh", "ssh-keygen"] },
    Package { name: "openssh-server", programs: &["sshd"] },
    Package { name: "openssl", programs: &["openssl"] },
    Package { name: "sip-tester", programs: &["sipp"] },
    Package { name: "wireguard-tools", programs: &["wg"] },
];

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it lies.
    pub path: PathBuf,
    /// Where the libraries lie that were unpacked with it; `None` for one of the system's own.
    pub libraries: Option<PathBuf>,
}

/// The folder that packages are unpacked into.
#[must_use]
pub fn folder(places: &Places) -> PathBuf {
    places.tools.join("debian")
}

/// A program, from an unpacked package or else from the system.
///
/// Unpacked ones first: the system's may be confined to the files that its own configuration names.
#[must_use]
pub fn find(places: &Places, name: &str) -> Option<Program> {
    let unpacked = folder(places);
    if let Some(path) = below(&unpacked, name) {
        let libraries = unpacked.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        return Some(Program { path, libraries: Some(libraries) });
    }
    let path = places.on_path(name).or_else(|| below(Path::new("/"), name))?;
    Some(Program { path, libraries: None })
}

/// The programs that are nowhere.
#[must_use]
pub fn missing(places: &Places) -> Vec<&'static str> {
    let names = PACKAGES.iter().flat_map(|package| package.programs).copied();
    names.filter(|name| find(places, name).is_none()).collect()
}

fn below(root: &Path, name: &str) -> Option<PathBuf> {
    let folders = ["usr/bin", "usr/sbin", "bin", "sbin"];
    folders.into_iter().map(|folder| root.join(folder).join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_program_comes_before_the_systems() {
        let tools = tempfile::tempdir().expect("a folder");
        let places = Places { tools: tools.path().to_owned(), ..Places::default() };
        assert_eq!(find(&places, "no-such-program"), None);
        let system = find(&places, "env").expect("every system has it");
        assert_eq!(system.libraries, None);

        let path = folder(&places).join("usr/sbin/env");
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        std::fs::write(&path, "").expect("a file");
        let unpacked = find(&places, "env").expect("it is there");
        assert_eq!(unpacked.path, path);
        assert!(unpacked.libraries.is_some_and(|folder| folder.starts_with(tools.path())));
    }
}
