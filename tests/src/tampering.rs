//! Somebody with root's rights who takes away what enforces an interface, as `bpftool link detach` does.

use std::{
    ffi::CString,
    io,
    mem::size_of,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result};

/// Commands of bpf(2) (`enum bpf_cmd` of include/uapi/linux/bpf.h).
const OBJ_GET: libc::c_long = 7;
const LINK_DETACH: libc::c_long = 34;

/// Ends a pinned link for all who hold it; its pin stays.
///
/// # Errors
///
/// Where nothing is pinned there, or the kernel refuses.
pub fn end_link(pin: &Path) -> Result<()> {
    let name = CString::new(pin.as_os_str().as_bytes())?;
    // The parts of `union bpf_attr` that the commands read: path, descriptor, flags; and a descriptor.
    let fd = bpf(OBJ_GET, &mut (name.as_ptr().addr() as u64, 0_u64))
        .with_context(|| format!("cannot open {}", pin.display()))?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    bpf(LINK_DETACH, &mut link.as_raw_fd()).with_context(|| format!("cannot end {}", pin.display()))?;
    Ok(())
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as the attributes have; the string that they may point to outlives the
    // call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>() as libc::c_long)
    };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
