//! The commands of bpf(2) that the library does not offer for programs that it has not loaded itself.
//!
//! Each takes and gives plain values and descriptors; the structures are the parts of `union bpf_attr` of
//! include/uapi/linux/bpf.h that the command reads.

use std::{
    ffi::CStr,
    io,
    mem::{offset_of, size_of},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use aya_obj::generated::bpf_insn;
use libc::c_long;

/// Commands of bpf(2) (`enum bpf_cmd`).
const BPF_MAP_UPDATE_ELEM: c_long = 2;
const BPF_PROG_LOAD: c_long = 5;
const BPF_PROG_TEST_RUN: c_long = 10;
const BPF_OBJ_GET_INFO_BY_FD: c_long = 15;
const BPF_BTF_LOAD: c_long = 18;
const BPF_MAP_FREEZE: c_long = 22;

/// How often a load that a signal interrupted is begun anew, as libbpf does.
const INTERRUPTIONS: u32 = 5;
/// What the verifier is to tell: its way, and how far it went (`BPF_LOG_LEVEL1 | BPF_LOG_STATS`).
const LOG_LEVEL: u32 = 1 | 4;
/// Room for what it tells: first, and at most; each time sixteen times as much.
const LOG_ROOM: [usize; 3] = [1 << 16, 1 << 20, 1 << 24];

#[repr(C)]
struct MapElement {
    map_fd: u32,
    _padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct MapHandle {
    map_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct TypesLoad {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    _padding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ProgramLoad {
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
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    _attach_btf_id: u32,
}

const _: () = assert!(size_of::<ProgramLoad>() == 112);

#[repr(C)]
#[derive(Default)]
struct TestRun {
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
    _padding: u32,
}

#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The part of `struct bpf_prog_info` that is asked for: the kernel fills in as much as there is room.
#[repr(C)]
#[derive(Default)]
pub(super) struct ProgramInfo {
    _kind: u32,
    /// Kernel identifier.
    pub(super) id: u32,
    _between: [u64; 26],
    /// Instructions that the verifier followed; 0 before Linux 5.16.
    pub(super) verified: u32,
    _rest: u32,
}

const _: () = assert!(offset_of!(ProgramInfo, verified) == 216);

/// A program as the verifier is to see it.
pub(super) struct Unloaded<'a> {
    /// `enum bpf_prog_type`.
    pub(super) kind: u32,
    /// `enum bpf_attach_type`, where the kind has several.
    pub(super) attach: u32,
    pub(super) flags: u32,
    pub(super) name: &'a str,
    pub(super) license: &'a CStr,
    pub(super) instructions: &'a [bpf_insn],
    /// The object's types, to which the records refer.
    pub(super) types: Option<Types<'a>>,
}

/// Where functions and lines lie, in the words of loaded types.
pub(super) struct Types<'a> {
    pub(super) loaded: BorrowedFd<'a>,
    pub(super) functions: Records,
    pub(super) lines: Records,
}

/// Records as the kernel reads them, one behind the other.
pub(super) struct Records {
    pub(super) bytes: Vec<u8>,
    /// Bytes of a record.
    pub(super) size: usize,
}

impl Records {
    fn count(&self) -> u32 {
        self.bytes.len().checked_div(self.size).map_or(0, length)
    }
}

/// The kernel refuses a program.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: io::Error,
    /// What the verifier tells; empty where it tells nothing.
    pub(super) log: String,
}

/// Loads a program. Where the verifier refuses, it is asked once more to say why.
pub(super) fn load(program: &Unloaded<'_>) -> Result<OwnedFd, Refused> {
    let mut name = [0; 16];
    // The last byte stays zero.
    for (to, from) in name[..15].iter_mut().zip(program.name.bytes()) {
        *to = from;
    }
    let mut attributes = ProgramLoad {
        prog_type: program.kind,
        insn_cnt: length(program.instructions.len()),
        insns: program.instructions.as_ptr().addr() as u64,
        license: program.license.as_ptr().addr() as u64,
        prog_flags: program.flags,
        prog_name: name,
        expected_attach_type: program.attach,
        ..ProgramLoad::default()
    };
    if let Some(Types { loaded, functions, lines }) = &program.types {
        attributes.prog_btf_fd = number(loaded);
        attributes.func_info = functions.bytes.as_ptr().addr() as u64;
        attributes.func_info_cnt = functions.count();
        attributes.func_info_rec_size = length(functions.size);
        attributes.line_info = lines.bytes.as_ptr().addr() as u64;
        attributes.line_info_cnt = lines.count();
        attributes.line_info_rec_size = length(lines.size);
    }
    let error = match load_patiently(attributes) {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    for room in LOG_ROOM {
        let mut log = vec![0_u8; room];
        let told = ProgramLoad {
            log_level: LOG_LEVEL,
            log_size: length(room),
            log_buf: log.as_mut_ptr().addr() as u64,
            ..attributes
        };
        match load_patiently(told) {
            // What was in the way has passed.
            Ok(loaded) => return Ok(loaded),
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {}
            Err(error) => {
                let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
                return Err(Refused { error, log: String::from_utf8_lossy(&log[..end]).into_owned() });
            }
        }
    }
    Err(Refused { error, log: String::new() })
}

fn load_patiently(mut attributes: ProgramLoad) -> io::Result<OwnedFd> {
    let mut interruptions = 0;
    loop {
        match descriptor(BPF_PROG_LOAD, &mut attributes) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && interruptions < INTERRUPTIONS => {
                interruptions += 1;
            }
            other => return other,
        }
    }
}

/// Loads the object's types.
pub(super) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let (btf, btf_size) = (types.as_ptr().addr() as u64, length(types.len()));
    descriptor(BPF_BTF_LOAD, &mut TypesLoad { btf, btf_size, ..TypesLoad::default() })
}

/// Writes the only value of a map of data.
pub(super) fn write_data(map: &impl AsFd, value: &[u8]) -> io::Result<()> {
    let key = 0_u32;
    let mut element = MapElement {
        map_fd: number(map),
        _padding: 0,
        key: std::ptr::from_ref(&key).addr() as u64,
        value: value.as_ptr().addr() as u64,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut element).map(drop)
}

/// Forbids every later write from userspace: the verifier then knows the values.
pub(super) fn freeze(map: &impl AsFd) -> io::Result<()> {
    bpf(BPF_MAP_FREEZE, &mut MapHandle { map_fd: number(map) }).map(drop)
}

/// Runs a program on a packet, as often as `repeat` says; gives the last action and the mean time of a run.
pub(super) fn run(program: &impl AsFd, packet: &[u8], repeat: u32) -> io::Result<(u32, Duration)> {
    let mut run = TestRun {
        prog_fd: number(program),
        data_size_in: length(packet.len()),
        data_in: packet.as_ptr().addr() as u64,
        repeat,
        ..TestRun::default()
    };
    bpf(BPF_PROG_TEST_RUN, &mut run)?;
    Ok((run.retval, Duration::from_nanos(run.duration.into())))
}

/// What the kernel may fill in with what it knows of a program or a link: plain numbers, of which every bit
/// pattern is one.
pub(super) trait Info: Default {}

impl Info for ProgramInfo {}
impl Info for super::link::LinkInfo {}

/// What the kernel knows of a program or a link.
pub(super) fn info<T: Info>(object: &impl AsFd) -> io::Result<T> {
    let mut info = T::default();
    let mut asked = ObjectInfo {
        bpf_fd: number(object),
        info_len: length(size_of::<T>()),
        info: std::ptr::from_mut(&mut info).addr() as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut asked)?;
    Ok(info)
}

/// A command that makes a file descriptor.
pub(super) fn descriptor<T>(command: c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn number(descriptor: &impl AsFd) -> u32 {
    descriptor.as_fd().as_raw_fd().unsigned_abs()
}

/// A length in memory, as the kernel counts it; none here comes near the end of the numbers.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// One call of bpf(2); gives what it returns.
pub(super) fn bpf<T>(command: c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of the attributes, and writes only where their
    // pointers point: values that outlive the call and are as large as they say.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>() as c_long)
    };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
