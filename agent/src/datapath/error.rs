//! What can go wrong at the kernel's edge, in an operator's words.

use std::{io, path::PathBuf};

use super::link_type::OtherLink;

/// A kernel operation that failed, with what it was done to.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The process may not use BPF.
    #[error(
        "{what} needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: run it with sudo"
    )]
    Permission {
        /// The operation.
        what: &'static str,
    },
    /// The interface does not exist.
    #[error("there is no interface `{name}` here{}", nearest(.known))]
    NoInterface {
        /// The name given.
        name: String,
        /// The interfaces that exist.
        known: Vec<String>,
    },
    /// What the packets of the interface begin with cannot be read.
    #[error("packets of `{interface}` cannot be judged: {link}; {}", .link.advice())]
    Unjudged {
        /// The interface.
        interface: String,
        /// Why.
        link: OtherLink,
    },
    /// Another XDP program sits on the interface.
    #[error(
        "another XDP program is attached to `{interface}`: detach it first; `portcullis doctor {interface}` tells \
         more of it"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// Another program than expected is attached.
    #[error("`{interface}` or the program on it was replaced meanwhile by something else: try again")]
    Changed {
        /// The interface.
        interface: String,
    },
    /// The pins of this interface's number hold a link of one that was moved away.
    #[error(
        "{path}, where `{interface}` would be pinned, belongs to an interface that had its number and was moved to \
         another network namespace, where it is still judged: `portcullis status` names it, `portcullis detach` ends \
         that"
    )]
    Elsewhere {
        /// The interface that is to be attached to.
        interface: String,
        /// The other one's pin.
        path: PathBuf,
    },
    /// What would be pinned is gone when the process ends.
    #[error(
        "the BPF file system at {path} ends with this command, as its mount namespace has no other process \
         (`ip netns exec` makes one for each command): nothing would stay enforced; mount one that stays, as with \
         `mount -t bpf bpf FOLDER` before, and name it with --bpffs"
    )]
    Fleeting {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// The kernel took neither native nor generic XDP.
    #[error("cannot attach XDP to `{interface}`: native mode: {native}; generic mode: {generic}")]
    Attach {
        /// The interface.
        interface: String,
        /// Why not in native mode.
        native: String,
        /// Why not in generic mode.
        generic: String,
    },
    /// No bpffs where pins are to be kept.
    #[error(
        "{path} is no BPF file system: {source}; mount one with `mount -t bpf bpf {path}`, or name another folder with --bpffs"
    )]
    NoBpffs {
        /// Where it is looked for.
        path: PathBuf,
        /// Why it could not be mounted.
        source: io::Error,
    },
    /// A pinned map of another build.
    #[error(
        "{path} is shaped otherwise than this build expects: key, value and entries are {}, not {}; \
         `portcullis detach --all` removes it, then apply the policy again",
        shape(.found), shape(.expected)
    )]
    Shape {
        /// The map's pin.
        path: PathBuf,
        /// Bytes of a key, bytes of a value, and number of entries, as this build has them.
        expected: [u32; 3],
        /// As the pinned map has them.
        found: [u32; 3],
    },
    /// A file operation on the BPF file system.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// The operation.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The verifier refused a program, or it could not be loaded.
    #[error("the kernel refuses the program `{program}`: {reason}")]
    Refused {
        /// Which.
        program: &'static str,
        /// The kernel's answer, verifier log included.
        reason: String,
    },
    /// Any other failure of the BPF library.
    #[error("cannot {what}: {reason}")]
    Bpf {
        /// The operation.
        what: String,
        /// The library's answer, with its causes.
        reason: String,
    },
}

fn nearest(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there are: {}", known.join(", ")) }
}

fn shape([key, value, entries]: &[u32; 3]) -> String {
    format!("{key} bytes, {value} bytes and {entries}")
}

impl DatapathError {
    /// An error of the BPF library with all its causes in one sentence.
    pub(super) fn bpf(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Bpf { what: what.into(), reason: chain(error) }
    }
}

/// An error and its causes; a cause whose text the error already tells is left out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
