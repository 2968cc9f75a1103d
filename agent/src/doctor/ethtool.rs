//! ethtool's old requests, which every driver answers: features by their flags, and the driver's name.

use std::{ffi::CStr, io, mem::size_of, os::fd::AsRawFd as _};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Requests of include/uapi/linux/ethtool.h and include/uapi/linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
/// `ETH_FLAG_RXVLAN`: VLAN tags of arriving packets are taken out.
pub(super) const STRIPS_TAGS: u32 = 1 << 8;
/// `ETH_FLAG_LRO`: arriving packets are merged by the card.
pub(super) const MERGES: u32 = 1 << 15;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct Driver {
    command: u32,
    driver: [u8; 32],
    _rest: [u8; 160],
}

const _: () = assert!(size_of::<Value>() == 8 && size_of::<Driver>() == 196);

/// The features that have flags; `None` where the driver does not tell.
pub(super) fn flags(interface: &str) -> Option<u32> {
    let mut value = Value { command: ETHTOOL_GFLAGS, data: 0 };
    request(interface, &mut value).ok().map(|()| value.data)
}

/// Switches features off.
///
/// # Errors
///
/// Where the driver refuses.
pub(super) fn switch_off(interface: &str, features: u32) -> io::Result<()> {
    let flags = flags(interface).ok_or_else(|| io::Error::other("the driver does not tell its features"))?;
    request(interface, &mut Value { command: ETHTOOL_SFLAGS, data: flags & !features })?;
    // Some drivers say yes and do nothing.
    match self::flags(interface) {
        Some(now) if now & features == 0 => Ok(()),
        _ => Err(io::Error::other("the driver left it on")),
    }
}

/// The driver's name.
pub(super) fn driver(interface: &str) -> Option<String> {
    let mut driver = Driver { command: ETHTOOL_GDRVINFO, driver: [0; 32], _rest: [0; 160] };
    request(interface, &mut driver).ok()?;
    let name = CStr::from_bytes_until_nul(&driver.driver).ok()?.to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// One request; `value` begins with its command, and the kernel writes the answer into it.
fn request<T>(interface: &str, value: &mut T) -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut name = [0; libc::IFNAMSIZ];
    // The last byte stays zero.
    for (to, from) in name.iter_mut().zip(interface.bytes()).take(libc::IFNAMSIZ - 1) {
        *to = from.cast_signed();
    }
    let ifru_data = std::ptr::from_mut(value).cast();
    let mut request = libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data } };
    // SAFETY: the kernel reads and writes `request` and, through its pointer, as many bytes as the command
    // says: no more than `value` has, which is laid out as that command's structure; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
