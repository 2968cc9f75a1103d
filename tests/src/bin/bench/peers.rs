//! Other filters, measured in the same run where they are installed.
//!
//! A peer that is an XDP program becomes entries of [`crate::cases::Stage`]: load it, take its handle by
//! its identifier ([`portcullis_tests::raw::program`]), attach it, and give it the same packets. One
//! that is not (nftables, iptables) can only be measured by [`crate::flood`].

use std::{env, path::Path};

const PEERS: [(&str, &str); 3] = [
    ("xdp-filter", "of Debian's xdp-tools, not built into this benchmark yet"),
    ("nft", "not built into this benchmark yet"),
    ("iptables", "not built into this benchmark yet"),
];

/// Why each peer is not in the table.
pub(crate) fn missing() -> impl Iterator<Item = String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = move |name: &str| {
        let folders: Vec<_> = env::split_paths(&path).chain([Path::new("/usr/sbin").into()]).collect();
        folders.iter().any(|folder| folder.join(name).exists())
    };
    PEERS.into_iter().map(move |(name, how)| {
        if installed(name) { format!("{name}: {how}") } else { format!("{name}: not installed") }
    })
}
