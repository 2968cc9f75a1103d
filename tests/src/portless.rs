//! Sockets that read an IP protocol themselves (raw(7)).

use std::{fs::File, io, os::fd::FromRawFd as _};

use nix::libc;

/// A socket for an IP protocol over IPv4, which gives what has arrived and does not wait.
///
/// # Errors
///
/// Where the kernel refuses, as without CAP_NET_RAW.
pub fn socket(number: u8) -> io::Result<File> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain numbers go in.
    let socket = unsafe { libc::socket(libc::AF_INET, kind, number.into()) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(socket) })
}
