//! A kernel without TCX, as before Linux 6.6: it is not known to a thread and to all that it starts, so that the egress
//! program becomes a filter of clsact.
//!
//! Which link bpf(2) is asked about stands in memory that a filter of seccomp cannot read. So the kernel asks a thread of
//! this process (SECCOMP_RET_USER_NOTIF of seccomp(2)), which reads it, and answers as a kernel does that knows no
//! such link; everything else goes on.

use std::{
    io::{self, IoSliceMut},
    mem::size_of,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};

use crate::{denied::of_bpf, lab::Namespace};

/// `BPF_PROG_QUERY` and `BPF_LINK_CREATE` of `enum bpf_cmd`, and where the kind of link stands in what each is given
/// (`union bpf_attr`).
const PROG_QUERY: u32 = 16;
const QUERIED: usize = 4;
const LINK_CREATE: u32 = 28;
const CREATED: usize = 8;
/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS` of `enum bpf_attach_type`.
const TCX: [u32; 2] = [46, 47];

mod call {
    //! `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND` of include/uapi/linux/seccomp.h.
    nix::ioctl_readwrite!(receive, b'!', 0, libc::seccomp_notif);
    nix::ioctl_readwrite!(answer, b'!', 1, libc::seccomp_notif_resp);
}

/// Takes TCX away from the calling thread, and from whatever it starts from now on.
///
/// # Errors
///
/// Without root, or where the kernel cannot ask (before Linux 5.5).
pub fn without_tcx() -> Result<()> {
    let asked = install().context("cannot watch what links are made")?;
    thread::spawn(move || while next(&asked).is_ok_and(|is_more| is_more) {});
    Ok(())
}

/// How many filters of BPF stand on the egress of an interface.
#[must_use]
pub fn filters(namespace: &Namespace, interface: &str) -> usize {
    // Fails where there is no qdisc for filters.
    let filters = namespace.run("tc", &["filter", "show", "dev", interface, "egress"]).unwrap_or_default();
    filters.lines().filter(|line| line.contains("direct-action")).count()
}

fn install() -> io::Result<OwnedFd> {
    let steps = of_bpf(&[LINK_CREATE, PROG_QUERY], libc::SECCOMP_RET_USER_NOTIF);
    let length = u16::try_from(steps.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: steps.as_ptr().cast_mut() };
    // SAFETY: the program lives until the call returns; the kernel copies it, and only reads.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Answers the next question; gives false when nobody is left who could ask.
fn next(asked: &OwnedFd) -> io::Result<bool> {
    let mut waiting = [PollFd::new(asked.as_fd(), PollFlags::POLLIN)];
    poll(&mut waiting, PollTimeout::NONE)?;
    if waiting[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
        return Ok(false);
    }
    // SAFETY: the structure is numbers alone; the kernel wants it empty.
    let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes a structure of this size.
    if unsafe { call::receive(asked.as_raw_fd(), &raw mut question) }.is_err() {
        // Whoever asked has ended meanwhile.
        return Ok(true);
    }
    let is_tcx = attach_type(&question).is_ok_and(|kind| TCX.contains(&kind));
    let mut told = libc::seccomp_notif_resp {
        id: question.id,
        val: 0,
        error: if is_tcx { -libc::EINVAL } else { 0 },
        flags: if is_tcx { 0 } else { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 },
    };
    // SAFETY: the kernel reads a structure of this size. Where it fails, whoever asked has ended.
    let _ = unsafe { call::answer(asked.as_raw_fd(), &raw mut told) };
    Ok(true)
}

/// The kind of link that is to be made, or that is asked for.
fn attach_type(question: &libc::seccomp_notif) -> Result<u32> {
    let at = if question.data.args[0] == u64::from(PROG_QUERY) { QUERIED } else { CREATED };
    let mut kind = [0; size_of::<u32>()];
    let from = [RemoteIoVec { base: usize::try_from(question.data.args[1])? + at, len: kind.len() }];
    let process = Pid::from_raw(i32::try_from(question.pid)?);
    process_vm_readv(process, &mut [IoSliceMut::new(&mut kind)], &from)?;
    Ok(u32::from_ne_bytes(kind))
}
