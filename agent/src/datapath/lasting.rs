//! The BPF file system -> whether it outlives this process, and what is pinned on it with it.
//!
//! A file system lives as long as it is mounted somewhere, and a mount as long as its mount namespace, which ends
//! with its last process. `ip netns exec` gives each command a mount namespace of its own, in which the kernel's
//! folder for the BPF file system is empty: what is mounted and pinned there is gone when the command ends.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::{
    sys::stat::{major, minor},
    unistd::Uid,
};

/// The first PID namespace, from which every process is seen (`PROC_PID_INIT_INO` of include/linux/proc_ns.h).
const FIRST: &str = "pid:[4026531836]";

/// Whether the BPF file system at `path` ends with this process, as far as that can be seen. `is_new` says that
/// this process has mounted it.
#[must_use]
pub fn ends_with_this_process(path: &Path, is_new: bool) -> bool {
    let (Ok(metadata), Ok(own)) = (fs::metadata(path), fs::read_link("/proc/thread-self/ns/mnt")) else {
        return false;
    };
    let device = metadata.dev();
    let search = Search {
        own: own.clone().into_os_string(),
        device: format!("{}:{}", major(device), minor(device)),
        seen: BTreeSet::from([own.into_os_string()]),
    };
    // Where processes are not to be seen, one of those may hold it. What is hidden even from root is not among them:
    // the command was started by somebody, who would hold it, too.
    let sees_all = || {
        Uid::effective().is_root()
            && fs::read_link("/proc/self/ns/pid").is_ok_and(|pid| pid == Path::new(FIRST))
    };
    !search.holder_is_there() && (is_new || sees_all())
}

/// The search for a process that keeps a file system mounted.
struct Search {
    /// This process's mount namespace.
    own: OsString,
    /// The file system, as mountinfo tells it (proc_pid_mountinfo(5)).
    device: String,
    /// Mount namespaces that were looked into.
    seen: BTreeSet<OsString>,
}

impl Search {
    fn holder_is_there(mut self) -> bool {
        // The first process holds it as a rule.
        let first = std::iter::once(PathBuf::from("/proc/1"));
        let own = std::process::id().to_string();
        let others = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        let is_process = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) && name != own
        };
        first.chain(others).filter(is_process).any(|process| {
            // Threads can have mounts of their own.
            let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
            tasks.map(|task| task.path()).any(|task| self.holds(&task))
        })
    }

    /// Whether a task keeps the file system mounted.
    fn holds(&mut self, task: &Path) -> bool {
        // It may have ended meanwhile.
        let Ok(namespace) = fs::read_link(task.join("ns/mnt")) else { return false };
        let namespace = namespace.into_os_string();
        if namespace == self.own {
            return true;
        }
        if self.seen.contains(&namespace) {
            return false;
        }
        let Ok(mounts) = fs::read_to_string(task.join("mountinfo")) else { return false };
        self.seen.insert(namespace);
        mounts.lines().any(|mount| {
            let mut words = mount.split_ascii_whitespace().skip(2);
            let (device, root) = (words.next(), words.next());
            // A mount namespace lives without a process where it has a name.
            device == Some(&self.device) || root.is_some_and(|root| self.own == *root)
        })
    }
}
