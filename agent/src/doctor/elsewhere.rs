//! Mounted BPF file systems -> where a program of this very tool is pinned, which another `--bpffs` does not see.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_common::abi;

use crate::datapath::pinned_program;

/// How far below its mount point a pin may lie: below `portcullis`, a version, a namespace and an index, in a
/// folder or two.
const DEPTH: usize = 7;

/// The `--bpffs` below which the ingress program with this kernel identifier is pinned; `None` where it is
/// pinned nowhere that this process sees.
pub(super) fn pinned_below(program: u32) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        (kind == "bpf").then(|| below(Path::new(place), program, DEPTH)).flatten()
    })
}

fn below(folder: &Path, program: u32, depth: usize) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if let Some(found) = depth.checked_sub(1).and_then(|depth| below(&path, program, depth)) {
                return Some(found);
            }
        } else if entry.file_name() == abi::INGRESS_PROGRAM && pinned_program(&path) == Some(program) {
            // <bpffs>/portcullis/<version>/<namespace>/<index>/ingress
            let ours = path.ancestors().nth(4).filter(|folder| folder.ends_with("portcullis"))?;
            return ours.parent().map(Path::to_path_buf);
        }
    }
    None
}
