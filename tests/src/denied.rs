//! A kernel that refuses: single system calls of a command fail, as they do for want of memory, space or
//! permission. The command's own seccomp filter says so (seccomp(2)); nobody else is concerned.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use nix::libc;

/// Which calls are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// bpf(2) with this command of `enum bpf_cmd`.
    Bpf(u32),
    /// A system call, whatever its arguments.
    Any(libc::c_long),
}

/// Makes these calls of a command, and of what it starts, fail with this error (`errno`).
pub fn deny(command: &mut Command, call: Call, error: i32) {
    answer(
        command,
        call,
        libc::SECCOMP_RET_ERRNO | u32::try_from(error).expect("error numbers are positive"),
    );
}

/// Ends a command that makes such a call, or what it starts that does: then no exit code is left of it.
pub fn forbid(command: &mut Command, call: Call) {
    answer(command, call, libc::SECCOMP_RET_KILL_PROCESS);
}

fn answer(command: &mut Command, call: Call, answer: u32) {
    let filter = filter(call, answer);
    // SAFETY: between fork and exec only `prctl`, a plain system call, is made; the filter was made before.
    unsafe {
        command.pre_exec(move || install(&filter));
    }
}

/// `answer` is what the kernel does about such a call.
fn filter(call: Call, answer: u32) -> Vec<libc::sock_filter> {
    match call {
        Call::Bpf(command) => of_bpf(&[command], answer),
        Call::Any(call) => {
            [&[load(NUMBER), unless(number(call), 1)][..], &[then(answer), then(libc::SECCOMP_RET_ALLOW)]]
                .concat()
        }
    }
}

/// As [`filter`], for several commands of bpf(2).
pub(crate) fn of_bpf(commands: &[u32], answer: u32) -> Vec<libc::sock_filter> {
    let mut steps = vec![load(NUMBER), unless(number(libc::SYS_bpf), 0), load(ARGUMENT)];
    for command in commands {
        steps.extend([unless(*command, 1), then(answer)]);
    }
    // Over all that comes after it.
    steps[1].jf = u8::try_from(steps.len() - 2).expect("few commands");
    steps.push(then(libc::SECCOMP_RET_ALLOW));
    steps
}

/// Offsets of the number and of the lower half of the first argument in `struct seccomp_data`: number of the call,
/// architecture, instruction pointer, arguments. The filters are classic BPF programs over it.
const NUMBER: u32 = 0;
const ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).expect("numbers of calls are positive")
}

fn step(code: u32, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("operations are small"), jt: 0, jf, k }
}

fn load(from: u32) -> libc::sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, from)
}

/// Passes over as many steps unless what was loaded is `value`.
fn unless(value: u32, over: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, over, value)
}

fn then(answer: u32) -> libc::sock_filter {
    step(libc::BPF_RET | libc::BPF_K, 0, answer)
}

fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the program lives until the call returns; the kernel copies it, and only reads.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
