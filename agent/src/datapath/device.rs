//! This network namespace and its interfaces -> the devices that pins and manifests belong to.
//!
//! A name can pass from one interface to another, and a number means something in its network namespace alone. So
//! what outlives a process belongs to a device, which no other can be taken for: the cookie of the namespace, which
//! the kernel gives only once, and the interface's number there. One that is made anew with the number of one that
//! is gone is told by the link, which ends with its interface.

use std::{
    fmt,
    mem::size_of,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
};

use nix::net::if_::{if_indextoname, if_nametoindex};
use serde::{Deserialize, Serialize};

use super::DatapathError;
use crate::policy::is_interface_name;

/// An interface of a network namespace, as long as it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Cookie of the network namespace (`SO_NETNS_COOKIE` of socket(7)).
    pub namespace: u64,
    /// Number of the interface there.
    pub index: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.namespace, self.index)
    }
}

impl Device {
    /// The device that is written so; `None` where none is.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, index) = text.split_once('-')?;
        let device = Self { namespace: namespace.parse().ok()?, index: index.parse().ok()? };
        // Numbers can be written in several ways, names of folders are compared as they stand.
        (device.to_string() == text).then_some(device)
    }
}

/// The cookie of this thread's network namespace.
///
/// # Errors
///
/// Where the kernel does not give one.
pub fn namespace() -> Result<u64, DatapathError> {
    let failed = |error: std::io::Error| DatapathError::bpf("tell this network namespace", &error);
    let socket: OwnedFd = UnixDatagram::unbound().map_err(failed)?.into();
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of the number that it is given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(failed(std::io::Error::last_os_error())) }
}

/// The number of the interface with this name; `None` where there is none.
#[must_use]
pub fn index_of(name: &str) -> Option<u32> {
    if is_interface_name(name) { if_nametoindex(name).ok() } else { None }
}

/// The name of the interface with this number; `None` where there is none.
#[must_use]
pub fn name_of(index: u32) -> Option<String> {
    // The library gives an empty name, and no error, where there is no such interface.
    let name = if_indextoname(index).ok()?.into_string().ok()?;
    is_interface_name(&name).then_some(name)
}

/// The names of the interfaces in this network namespace, loopback left out.
pub(super) fn interfaces() -> Vec<String> {
    let mut names: Vec<String> = nix::net::if_::if_nameindex()
        .map(|list| list.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.retain(|name| name != "lo" && is_interface_name(name));
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_has_no_name() {
        assert_eq!(name_of(0), None);
        assert_eq!(name_of(u32::MAX), None);
        assert_eq!(name_of(index_of("lo").expect("loopback")).as_deref(), Some("lo"));
    }

    #[test]
    fn a_device_is_read_as_it_was_written() {
        let device = Device { namespace: 4097, index: 5 };
        assert_eq!(Device::parse(&device.to_string()), Some(device));
        for text in ["", "5", "4097-", "-5", "4097-05", "+1-5", "4097-5-6", "eth0-1", "../4097-5"] {
            assert_eq!(Device::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_namespace_is_known_by_its_cookie() {
        assert_eq!(namespace().expect("a cookie"), namespace().expect("a cookie"));
    }
}
