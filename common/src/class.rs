//! Classes: the compiled policy, one `u16` for everything a packet can be addressed to.
//!
//! A class answers at once for most packets: it *is* the counter slot, and the slot says accept or
//! drop ([`crate::slot`]). Only where a rule is limited by source or local address is it the number
//! of a row to look up further.
//!
//! ```text
//! 0 s s s s s s s s s s s s s s s   final: slot s
//! 1 i i i i i i i i i i i i i i i   row i ([`crate::more`]), looked up by address class and source class
//! ```
//!
//! The table is indexed by what a packet carries, without conversion:
//!
//! | index | meaning |
//! | --- | --- |
//! | [`TCP`] + port | TCP destination port, the two bytes as they stand in the packet read as a native `u16` |
//! | [`UDP`] + port | UDP destination port, likewise |
//! | [`ICMP4`] + type | ICMP type (RFC 792) |
//! | [`ICMP6`] + type | ICMPv6 type (RFC 4443) |
//! | [`PROTOCOL`] + number | any other IP protocol, by its number |
//! | [`IGMP`] + type | IGMP type (RFC 9776 section 4), so that queries pass where no rule opens IGMP |
//! | [`ETHER`] + number | an EtherType that a rule names, by its number in the list of those |
//! | [`ANSWERS`] | whatever answers a question of this host from elsewhere than it was sent to |
//! | [`SCTP`] + port | SCTP destination port, as those of TCP and UDP |

/// First TCP port.
pub const TCP: usize = 0;
/// First UDP port.
pub const UDP: usize = 0x1_0000;
/// First ICMP type.
pub const ICMP4: usize = 0x2_0000;
/// First ICMPv6 type.
pub const ICMP6: usize = ICMP4 + 0x100;
/// First IP protocol number.
pub const PROTOCOL: usize = ICMP6 + 0x100;
/// First IGMP type.
pub const IGMP: usize = PROTOCOL + 0x100;
/// First EtherType.
pub const ETHER: usize = IGMP + 0x100;
/// EtherTypes that rules may name.
pub const ETHER_TYPES: usize = 16;
/// The one class of datagrams that answer what this host asked a group, or a TFTP server (RFC 1350 section 4), from an
/// address or a port of their own.
pub const ANSWERS: usize = ETHER + ETHER_TYPES;
/// First SCTP port; after the others and some that are free.
pub const SCTP: usize = 0x2_0800;
/// Number of entries.
pub const COUNT: usize = SCTP + 0x1_0000;

/// Classes on a page of the table for leaving packets; a power of two.
pub const PAGE: usize = 0x200;
/// Its pages.
pub const PAGES: u32 = (COUNT / PAGE) as u32;

/// Set where a class is a row ([`crate::more`]), clear where it is a slot.
pub const MORE: u16 = 0x8000;

/// Largest number of rows.
pub const MAX_ROWS: usize = 0x8000;

/// Index of a port's class relative to [`TCP`], [`UDP`] or [`SCTP`]: the port as it stands in a
/// packet (network byte order) read as a native integer.
#[must_use]
pub const fn port_index(port: u16) -> usize {
    u16::from_ne_bytes(port.to_be_bytes()) as usize
}
