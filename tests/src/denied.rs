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
    let filter = filter(call, u32::try_from(error).expect("error numbers are positive"));
    // SAFETY: between fork and exec only `prctl`, a plain system call, is made; the filter was made before.
    unsafe {
        command.pre_exec(move || install(&filter));
    }
}

/// A classic BPF program over `struct seccomp_data`: number of the call, architecture, instruction pointer,
/// arguments.
fn filter(call: Call, error: u32) -> Vec<libc::sock_filter> {
    /// Offsets of the number and of the lower half of the first argument.
    const NUMBER: u32 = 0;
    const ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).expect("operations are small"),
        jt,
        jf,
        k,
    };
    let load = |from| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, from);
    let unless = |value, over| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, over, value);
    let answer = |what| step(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    let number = |number: libc::c_long| u32::try_from(number).expect("numbers of calls are positive");
    let end = [answer(ERRNO | error), answer(ALLOW)];
    match call {
        Call::Bpf(command) => {
            let calls = [load(NUMBER), unless(number(libc::SYS_bpf), 3), load(ARGUMENT), unless(command, 1)];
            [&calls[..], &end].concat()
        }
        Call::Any(call) => [&[load(NUMBER), unless(number(call), 1)][..], &end].concat(),
    }
}

fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the program lives until the call returns; the kernel copies it, and only reads.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
