//! Fragments: what is remembered of a datagram's first fragment, so that the later ones, which do not
//! name their port, follow its verdict.

use crate::slot::Slot;

/// Datagrams that are remembered on an interface; the oldest gives way.
pub const DATAGRAMS: u32 = 8_192;

/// Bytes behind which a later fragment may begin that came before its first: no transport header is
/// longer (TCP's is at most 60, RFC 9293 section 3.1), and no honest sender cuts a datagram so short.
pub const UNSEEN_HEADERS: u16 = 64;

/// Bit of [`Datagram::version`].
pub const LEAVING: u16 = 0x100;

/// A fragmented datagram. Addresses and identification as they stand in the packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Datagram {
    /// Source; of an IPv4 address the first four bytes, zeros behind it.
    pub source: [u8; 16],
    /// Destination, likewise.
    pub destination: [u8; 16],
    /// Identification: two bytes of IPv4 (RFC 791), four of IPv6 (RFC 8200 section 4.5).
    pub identification: u32,
    /// Version of IP; [`LEAVING`] besides where the packet leaves.
    pub version: u16,
    /// IPv4: protocol, which RFC 791 makes part of a datagram's identity. IPv6: zero, because only
    /// the first fragment's next header counts (RFC 8200 section 4.5).
    pub protocol: u16,
}

/// What the first fragment of a datagram decided.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct First {
    /// Tick at which it came.
    pub seen: u64,
    /// Its slot, and with it its verdict.
    pub slot: Slot,
    /// Bytes of the fragmented part that its headers take: no later fragment may begin among them.
    pub headers: u16,
    /// Zero, so that the value has no padding.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Datagram>() == 40);
const _: () = assert!(size_of::<First>() == 16);

#[cfg(feature = "user")]
// SAFETY: integers and byte arrays without padding; every bit pattern is valid.
unsafe impl aya::Pod for Datagram {}
#[cfg(feature = "user")]
// SAFETY: as above.
unsafe impl aya::Pod for First {}
