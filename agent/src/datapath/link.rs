//! Pinned link -> what it is attached to now, and another program in its place.
//!
//! A link outlives its interface, and follows it when it is renamed. The library does not tell which
//! interface a link is on, and swaps programs without naming the one that it expects to find, so the
//! kernel is asked here.

use std::{
    ffi::CString,
    io,
    mem::{offset_of, size_of},
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use libc::c_long;

/// Commands of bpf(2) (`enum bpf_cmd` of include/uapi/linux/bpf.h).
const BPF_OBJ_GET: c_long = 7;
const BPF_PROG_GET_FD_BY_ID: c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: c_long = 15;
const BPF_LINK_UPDATE: c_long = 29;

/// Update only where the link has the program that is named (include/uapi/linux/bpf.h).
const BPF_F_REPLACE: u32 = 1 << 2;

/// The part of `union bpf_attr` that `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjectPath {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The part of `union bpf_attr` that `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The part of `union bpf_attr` that `BPF_PROG_GET_FD_BY_ID` reads.
#[repr(C)]
struct ProgramId {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
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
struct LinkInfo {
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
    fd: OwnedFd,
    /// Kernel identifier of its program.
    pub(super) program: u32,
    /// Index of its interface; 0 where the interface is gone.
    pub(super) interface: u32,
}

impl Link {
    /// The link pinned at `path`; `None` where there is none.
    pub(super) fn pinned(path: &Path) -> io::Result<Option<Self>> {
        let name = CString::new(path.as_os_str().as_bytes())?;
        let mut object = ObjectPath { pathname: name.as_ptr().addr() as u64, bpf_fd: 0, file_flags: 0 };
        let fd = match descriptor(BPF_OBJ_GET, &mut object) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut link = LinkInfo::default();
        let mut info = ObjectInfo {
            bpf_fd: number(&fd),
            info_len: size_of::<LinkInfo>() as u32,
            info: std::ptr::from_mut(&mut link).addr() as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &mut info)?;
        Ok(Some(Self { fd, program: link.program, interface: link.interface }))
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
}

/// A handle of the program with this kernel identifier, which keeps it loaded. The kernel gives one
/// only to CAP_SYS_ADMIN.
pub(super) fn program(id: u32) -> io::Result<OwnedFd> {
    descriptor(BPF_PROG_GET_FD_BY_ID, &mut ProgramId { prog_id: id, next_id: 0, open_flags: 0 })
}

fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// A command that makes a file descriptor.
fn descriptor<T>(command: c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One call of bpf(2); gives what it returns.
fn bpf<T>(command: c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of the attributes, and writes only where their
    // pointers point: values that outlive the call and are as large as they say.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>() as c_long)
    };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
