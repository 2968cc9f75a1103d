//! bpf(2) as it is, for programs that are no part of Portcullis: the program that does nothing, the
//! generator of floods, and whatever is measured beside them.
//!
//! The only unsafe code of the benchmarks: a plain structure goes in, a number comes out. The layouts
//! are those of `union bpf_attr` in include/uapi/linux/bpf.h; the kernel takes what a shorter
//! structure leaves out for zero.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    time::Duration,
};

/// Commands of bpf(2), `enum bpf_cmd`.
mod command {
    pub(super) const MAP_CREATE: i64 = 0;
    pub(super) const MAP_UPDATE_ELEM: i64 = 2;
    pub(super) const PROG_LOAD: i64 = 5;
    pub(super) const OBJ_GET: i64 = 7;
    pub(super) const PROG_TEST_RUN: i64 = 10;
    pub(super) const PROG_GET_FD_BY_ID: i64 = 13;
    pub(super) const LINK_CREATE: i64 = 28;
}

/// `BPF_PROG_TYPE_XDP`.
const XDP: u32 = 6;
/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_XDP: u32 = 37;
/// `BPF_MAP_TYPE_PROG_ARRAY`.
const PROG_ARRAY: u32 = 3;
/// `BPF_F_XDP_HAS_FRAGS`.
const HAS_FRAGS: u32 = 1 << 5;
/// `BPF_F_TEST_XDP_LIVE_FRAMES`.
const LIVE_FRAMES: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const NATIVE: u32 = 1 << 2;

/// One instruction of BPF, `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the lower four bits, source register in the upper ones (the order of a
    /// little-endian machine).
    pub registers: u8,
    /// Offset.
    pub offset: i16,
    /// Constant.
    pub immediate: i32,
}

/// Loads an XDP program that can live beside Portcullis: frags aware, native attachment.
///
/// # Errors
///
/// As [`load_xdp_as`].
pub fn load_xdp(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    load_xdp_as(instructions, true)
}

/// Loads an XDP program; `frags` says whether it takes packets of several buffers. Programs that call each
/// other must agree on that.
///
/// # Errors
///
/// Where the verifier refuses it; the text holds its log.
pub fn load_xdp_as(instructions: &[Instruction], frags: bool) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
        prog_name: [u8; 16],
        prog_ifindex: u32,
        expected_attach_type: u32,
    }
    let mut log = vec![0_u8; 1 << 16];
    let mut load = Load {
        prog_type: XDP,
        insn_cnt: length(instructions),
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 1,
        log_size: length(&log),
        log_buf: log.as_mut_ptr() as u64,
        kern_version: 0,
        prog_flags: if frags { HAS_FRAGS } else { 0 },
        prog_name: *b"bench\0\0\0\0\0\0\0\0\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: ATTACH_XDP,
    };
    descriptor(command::PROG_LOAD, &mut load).map_err(|error| {
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        io::Error::new(error.kind(), format!("{error}: {}", String::from_utf8_lossy(&log[..end])))
    })
}

/// A handle of a loaded program by its kernel identifier.
///
/// # Errors
///
/// Where there is none.
pub fn program(id: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Get {
        prog_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    descriptor(command::PROG_GET_FD_BY_ID, &mut Get { prog_id: id, next_id: 0, open_flags: 0 })
}

/// A handle of what is pinned at a path.
///
/// # Errors
///
/// Where nothing is.
pub fn pinned(path: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Get {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let pathname = path.as_ptr() as u64;
    descriptor(command::OBJ_GET, &mut Get { pathname, bpf_fd: 0, file_flags: 0 })
}

/// A map that holds one program, for a tail call.
///
/// # Errors
///
/// Where the kernel refuses.
pub fn array_of(program: &OwnedFd) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Create {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    }
    #[repr(C)]
    struct Update {
        map_fd: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut create = Create { map_type: PROG_ARRAY, key_size: 4, value_size: 4, max_entries: 1 };
    let map = descriptor(command::MAP_CREATE, &mut create)?;
    let (key, value) = (0_u32, number(program));
    let mut update = Update {
        map_fd: number(&map),
        padding: 0,
        key: (&raw const key) as u64,
        value: (&raw const value) as u64,
        flags: 0,
    };
    bpf(command::MAP_UPDATE_ELEM, &mut update)?;
    Ok(map)
}

/// Attaches a program to an interface of the calling thread's namespace, in the driver; the link ends
/// when the handle is dropped.
///
/// # Errors
///
/// Where the interface has a program already, or no native XDP.
pub fn attach(program: &OwnedFd, interface: &str) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Link {
        prog_fd: u32,
        target_ifindex: u32,
        attach_type: u32,
        flags: u32,
    }
    let target_ifindex = nix::net::if_::if_nametoindex(interface)?;
    let mut link = Link { prog_fd: number(program), target_ifindex, attach_type: ATTACH_XDP, flags: NATIVE };
    descriptor(command::LINK_CREATE, &mut link)
}

/// Attributes of `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct Run {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// Runs a program `repeat` times on a packet that it may change; gives the last action and the time
/// of one run by the kernel's own measure.
///
/// # Errors
///
/// Where the kernel refuses the packet.
pub fn run(program: &OwnedFd, packet: &[u8], repeat: u32) -> io::Result<(u32, Duration)> {
    let mut run = Run {
        prog_fd: number(program),
        data_size_in: length(packet),
        data_in: packet.as_ptr() as u64,
        repeat,
        ..Run::default()
    };
    bpf(command::PROG_TEST_RUN, &mut run)?;
    Ok((run.retval, Duration::from_nanos(run.duration.into())))
}

/// Runs a program on exactly `count` frames that then really go where it sends them, `batch` at a
/// time.
///
/// # Errors
///
/// Where the kernel refuses.
pub fn send(program: &OwnedFd, packet: &[u8], count: u32, batch: u32) -> io::Result<()> {
    let mut run = Run {
        prog_fd: number(program),
        data_size_in: length(packet),
        data_in: packet.as_ptr() as u64,
        repeat: count,
        flags: LIVE_FRAMES,
        batch_size: batch,
        ..Run::default()
    };
    bpf(command::PROG_TEST_RUN, &mut run).map(drop)
}

fn number(descriptor: &OwnedFd) -> u32 {
    u32::try_from(descriptor.as_raw_fd()).expect("a descriptor is not negative")
}

fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).expect("a list of the benchmarks is short")
}

/// A command that makes a file descriptor.
fn descriptor<T>(command: i64, attributes: &mut T) -> io::Result<OwnedFd> {
    let made = i32::try_from(bpf(command, attributes)?).expect("a descriptor is an int");
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

fn bpf<T>(command: i64, attributes: &mut T) -> io::Result<i64> {
    // SAFETY: `T` is one of the structures above: `repr(C)` without implicit padding, at least as long
    // as what the command reads and writes of it; the addresses inside are those of values that live
    // until the call returns, with the lengths given beside them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
