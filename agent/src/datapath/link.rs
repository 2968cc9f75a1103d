//! Pinned link -> what it is attached to now, and another program in its place; loaded program -> a new link.
//!
//! A link outlives its interface, and follows it when it is renamed. The library does not tell which
//! interface a link is on, swaps programs without naming the one that it expects to find, and makes links
//! only for programs that it has just loaded, so the kernel is asked here.

use std::{
    ffi::CString,
    io,
    mem::{offset_of, size_of},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use libc::c_long;

use super::{
    Mode,
    sys::{self, bpf, descriptor, number},
};

/// Commands of bpf(2) (`enum bpf_cmd` of include/uapi/linux/bpf.h).
const BPF_OBJ_PIN: c_long = 6;
const BPF_OBJ_GET: c_long = 7;
const BPF_PROG_GET_FD_BY_ID: c_long = 13;
const BPF_PROG_QUERY: c_long = 16;
const BPF_LINK_CREATE: c_long = 28;
const BPF_LINK_UPDATE: c_long = 29;
const BPF_LINK_DETACH: c_long = 34;

/// Update only where the link has the program that is named (include/uapi/linux/bpf.h).
const BPF_F_REPLACE: u32 = 1 << 2;

/// Where a link attaches (`enum bpf_attach_type` of include/uapi/linux/bpf.h).
const BPF_XDP: u32 = 37;
const BPF_TCX_EGRESS: u32 = 47;
/// Behind all others: `BPF_F_AFTER` there, without another link to stand behind.
const BPF_F_AFTER: u32 = 1 << 4;
/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` of include/uapi/linux/if_link.h.
const SKB_MODE: u32 = 1 << 1;
const DRV_MODE: u32 = 1 << 2;

/// The part of `union bpf_attr` that `BPF_LINK_CREATE` reads for XDP and TCX.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    tcx_relative: u32,
    _padding: u32,
    tcx_expected_revision: u64,
}

/// The part of `union bpf_attr` that `BPF_PROG_QUERY` reads and writes.
#[repr(C)]
#[derive(Default)]
struct ProgramQuery {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    _padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// The part of `union bpf_attr` that `BPF_OBJ_PIN` and `BPF_OBJ_GET` read.
#[repr(C)]
struct ObjectPath {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The part of `union bpf_attr` that `BPF_PROG_GET_FD_BY_ID` reads.
#[repr(C)]
struct ProgramId {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_DETACH` reads.
#[repr(C)]
struct LinkHandle {
    link_fd: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_UPDATE` reads.
#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// The head of `struct bpf_link_info`, as far as XDP and TCX links share it: the kernel fills in as
/// much as is asked for.
#[repr(C)]
#[derive(Default)]
pub(super) struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    _padding: u32,
    interface: u32,
    _rest: u32,
}

const _: () = assert!(offset_of!(LinkInfo, interface) == 16 && size_of::<LinkInfo>() == 24);

/// A pinned link, and what it is attached to.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) fd: OwnedFd,
    /// Kernel identifier.
    pub(super) id: u32,
    /// Kernel identifier of its program.
    pub(super) program: u32,
    /// Index of its interface; 0 where the interface is gone.
    pub(super) interface: u32,
}

impl Link {
    /// The link pinned at `path`; `None` where there is none.
    pub(super) fn pinned(path: &Path) -> io::Result<Option<Self>> {
        object_at(path)?.map(Self::of).transpose()
    }

    /// The link behind a descriptor.
    pub(super) fn of(fd: OwnedFd) -> io::Result<Self> {
        let link: LinkInfo = sys::info(&fd)?;
        Ok(Self { fd, id: link.id, program: link.program, interface: link.interface })
    }

    /// Puts `new` in the place of the link's program, in one step. With `expected`, only if that is the
    /// program that the link has: the kernel compares and swaps under one lock.
    pub(super) fn swap(&self, new: BorrowedFd<'_>, expected: Option<&OwnedFd>) -> io::Result<()> {
        let mut update = LinkUpdate {
            link_fd: number(&self.fd),
            new_prog_fd: new.as_raw_fd().unsigned_abs(),
            flags: if expected.is_some() { BPF_F_REPLACE } else { 0 },
            old_prog_fd: expected.map_or(0, number),
        };
        bpf(BPF_LINK_UPDATE, &mut update).map(drop)
    }

    /// Takes the program off its interface for all who hold the link. One that has ended already is left alone.
    pub(super) fn end(&self) -> io::Result<()> {
        if self.interface == 0 {
            return Ok(());
        }
        match bpf(BPF_LINK_DETACH, &mut LinkHandle { link_fd: number(&self.fd) }) {
            // Its interface went meanwhile (`tcx_link_release` in kernel/bpf/tcx.c).
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOLINK)) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The link or map that is pinned at `path`; `None` where there is none.
pub(super) fn object_at(path: &Path) -> io::Result<Option<OwnedFd>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut object = ObjectPath { pathname: name.as_ptr().addr() as u64, bpf_fd: 0, file_flags: 0 };
    match descriptor(BPF_OBJ_GET, &mut object) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// A handle of the program with this kernel identifier, which keeps it loaded. The kernel gives one
/// only to CAP_SYS_ADMIN.
pub(super) fn program(id: u32) -> io::Result<OwnedFd> {
    descriptor(BPF_PROG_GET_FD_BY_ID, &mut ProgramId { prog_id: id, next_id: 0, open_flags: 0 })
}

/// Whether the kernel has a program with this identifier. Without CAP_SYS_ADMIN it does not tell; then it may.
pub fn is_loaded(program: u32) -> bool {
    !matches!(self::program(program), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Attaches an XDP program to the interface with this number; the link ends with the descriptor.
pub(super) fn attach_ingress(program: &impl AsFd, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
    let flags = match mode {
        Mode::Native => DRV_MODE,
        Mode::Generic => SKB_MODE,
    };
    create(program, interface, BPF_XDP, flags)
}

/// As [`attach_ingress`], for a TCX program on the interface's egress.
pub(super) fn attach_egress(program: &impl AsFd, interface: u32) -> io::Result<OwnedFd> {
    create(program, interface, BPF_TCX_EGRESS, BPF_F_AFTER)
}

/// Whether the kernel has TCX: one that has not does not know what is asked for (`bpf_prog_query` in
/// kernel/bpf/syscall.c).
pub(super) fn knows_tcx(target_ifindex: u32) -> bool {
    let mut query = ProgramQuery { target_ifindex, attach_type: BPF_TCX_EGRESS, ..ProgramQuery::default() };
    !matches!(bpf(BPF_PROG_QUERY, &mut query), Err(error) if error.raw_os_error() == Some(libc::EINVAL))
}

fn create(program: &impl AsFd, target_ifindex: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let prog_fd = number(program);
    let mut link = LinkCreate { prog_fd, target_ifindex, attach_type, flags, ..LinkCreate::default() };
    descriptor(BPF_LINK_CREATE, &mut link)
}

/// Gives a link or a map a name on the BPF file system; it lasts as long as the name.
pub(super) fn pin(object: &OwnedFd, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let pathname = name.as_ptr().addr() as u64;
    bpf(BPF_OBJ_PIN, &mut ObjectPath { pathname, bpf_fd: number(object), file_flags: 0 }).map(drop)
}
