//! The small XDP programs of the benchmarks and floods, instruction by instruction, so that they need
//! no compiler and hold nothing that is not measured.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::raw::{Instruction, attach, load_xdp, load_xdp_as, send};

/// `XDP_DROP`, `XDP_PASS` and `XDP_ABORTED` of include/uapi/linux/bpf.h.
const DROP: i32 = 1;
const PASS: i32 = 2;
const ABORTED: i32 = 0;
/// Numbers of the helpers `bpf_tail_call` and `bpf_redirect`.
const TAIL_CALL: i32 = 12;
const REDIRECT: i32 = 23;

/// What does nothing: `return XDP_DROP`. Every figure is compared with it.
///
/// # Errors
///
/// Where the kernel refuses it.
pub fn nothing() -> io::Result<OwnedFd> {
    load_xdp(&[set(0, DROP), exit()])
}

/// What lets everything pass: `return XDP_PASS`.
///
/// # Errors
///
/// Where the kernel refuses it.
pub fn everything() -> io::Result<OwnedFd> {
    load_xdp(&[set(0, PASS), exit()])
}

/// A sender of floods.
pub struct Generator {
    program: OwnedFd,
    /// Keeps the program attached to a dummy: otherwise each run begins with an update of the kernel's
    /// dispatcher, which takes tens of milliseconds.
    _link: OwnedFd,
}

impl Generator {
    /// What sends out of `interface`, in the calling thread's namespace, to which it adds the dummy.
    ///
    /// # Errors
    ///
    /// Where there is no such interface, or the kernel refuses.
    pub fn new(interface: &str) -> Result<Self> {
        let index = nix::net::if_::if_nametoindex(interface).context("cannot find the interface")?;
        let program = load_xdp(&[set(1, i32::try_from(index)?), set(2, 0), call(REDIRECT), exit()])?;
        // One for each: a namespace may have several.
        let dummy = format!("generator{index}");
        let made = Command::new("ip").args(["link", "add", &dummy, "type", "veth"]).status();
        ensure!(made.context("cannot run ip")?.success(), "cannot make {dummy}");
        let link = attach(&program, &dummy).context("cannot attach the generator")?;
        Ok(Self { program, _link: link })
    }

    /// Sends exactly `count` copies of a frame; the caller is in the generator's namespace.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn send(&self, frame: &[u8], count: u32) -> Result<()> {
        // veth queues 256; the receiver runs between batches.
        send(&self.program, frame, count, 64).context("cannot send")
    }
}

/// A field of a packet that is different at each run: a linear congruential generator whose state is
/// the field itself, so that repeated runs on one packet see a long sequence of different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Two bytes: every value once in 65,536 runs.
    Port {
        /// Where they are.
        at: i16,
    },
    /// Four bytes in network byte order: those bits of the next value that `vary` has, `keep` besides.
    Address {
        /// Where they are.
        at: i16,
        /// Bits that vary; all bits below the highest one.
        vary: i32,
        /// Bits that do not.
        keep: i32,
    },
}

/// Changes a field, then hands the packet to the program in `array`, which takes packets of several
/// buffers or not (`frags`). Its cost is the same whatever the program is.
///
/// # Errors
///
/// Where the kernel refuses it.
pub fn vary(field: Field, array: &OwnedFd, frags: bool) -> io::Result<OwnedFd> {
    let change = match field {
        // Full period modulo 65,536: the factor is 1 modulo 4, the increment is odd.
        Field::Port { at } => vec![read16(5, 2, at), multiply(5, 25_173), add(5, 13_849), write16(2, at, 5)],
        // Likewise modulo every power of two.
        Field::Address { at, vary, keep } => vec![
            read32(5, 2, at),
            big_endian32(5),
            multiply(5, 1_664_525),
            add(5, 1_013_904_223),
            and32(5, vary),
            or32(5, keep),
            big_endian32(5),
            write32(2, at, 5),
        ],
    };
    // Data and its end; 62 bytes must be there.
    let mut program = vec![copy(6, 1), read32(2, 1, 0), read32(3, 1, 4), copy(4, 2), add(4, 62)];
    let call_out = [copy(1, 6)];
    let [low, high] = map(2, array);
    let rest = change.len() + call_out.len() + 4;
    program.push(jump_if_greater(4, 3, i16::try_from(rest).map_err(io::Error::other)?));
    program.extend(change);
    program.extend(call_out);
    program.extend([low, high, set(3, 0), call(TAIL_CALL), set(0, ABORTED), exit()]);
    load_xdp_as(&program, frags)
}

const fn plain(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: source << 4 | destination, offset, immediate }
}

const fn set(register: u8, value: i32) -> Instruction {
    plain(0xb7, register, 0, 0, value)
}

const fn copy(to: u8, from: u8) -> Instruction {
    plain(0xbf, to, from, 0, 0)
}

const fn add(register: u8, value: i32) -> Instruction {
    plain(0x07, register, 0, 0, value)
}

const fn multiply(register: u8, value: i32) -> Instruction {
    plain(0x27, register, 0, 0, value)
}

const fn and32(register: u8, value: i32) -> Instruction {
    plain(0x54, register, 0, 0, value)
}

const fn or32(register: u8, value: i32) -> Instruction {
    plain(0x44, register, 0, 0, value)
}

const fn big_endian32(register: u8) -> Instruction {
    plain(0xdc, register, 0, 0, 32)
}

const fn read16(to: u8, from: u8, at: i16) -> Instruction {
    plain(0x69, to, from, at, 0)
}

const fn read32(to: u8, from: u8, at: i16) -> Instruction {
    plain(0x61, to, from, at, 0)
}

const fn write16(to: u8, at: i16, from: u8) -> Instruction {
    plain(0x6b, to, from, at, 0)
}

const fn write32(to: u8, at: i16, from: u8) -> Instruction {
    plain(0x63, to, from, at, 0)
}

const fn jump_if_greater(left: u8, right: u8, over: i16) -> Instruction {
    plain(0x2d, left, right, over, 0)
}

const fn call(helper: i32) -> Instruction {
    plain(0x85, 0, 0, 0, helper)
}

const fn exit() -> Instruction {
    plain(0x95, 0, 0, 0, 0)
}

/// The address of a map, which takes two instructions (`BPF_PSEUDO_MAP_FD`).
fn map(register: u8, map: &OwnedFd) -> [Instruction; 2] {
    [plain(0x18, register, 1, 0, map.as_raw_fd()), plain(0, 0, 0, 0, 0)]
}
