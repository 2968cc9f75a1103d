//! Interfaces whose other end is a file: what is written there arrives, and what leaves is read there.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
};

use nix::libc;

/// What a packet of such an interface begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An Ethernet header.
    Tap,
    /// Its IP header.
    Tun,
}

nix::ioctl_write_ptr_bad!(
    /// `TUNSETIFF` of include/uapi/linux/if_tun.h.
    set_interface,
    libc::TUNSETIFF,
    libc::ifreq
);

nix::ioctl_write_int_bad!(
    /// `TUNSETLINK` of include/uapi/linux/if_tun.h.
    set_link,
    libc::TUNSETLINK
);

/// Makes an interface in the calling thread's namespace, which vanishes with the file.
///
/// # Errors
///
/// Where the kernel has none of the kind, or there is one of that name.
pub fn open(name: &str, kind: Kind) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: a structure of numbers and arrays of them, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed();
    }
    let kind = match kind {
        Kind::Tap => libc::IFF_TAP,
        Kind::Tun => libc::IFF_TUN,
    };
    request.ifr_ifru.ifru_flags = i16::try_from(kind | libc::IFF_NO_PI).expect("two low bits");
    // SAFETY: the structure lives until the call returns, and is the one that this request reads.
    unsafe { set_interface(file.as_raw_fd(), &raw const request) }?;
    Ok(file)
}

/// Gives an interface that is down another hardware type (ARPHRD).
///
/// # Errors
///
/// Where it is up.
pub fn call(file: &File, hardware: u16) -> io::Result<()> {
    // SAFETY: a plain number goes in.
    unsafe { set_link(file.as_raw_fd(), hardware.into()) }?;
    Ok(())
}
