//! The second set of rules in a program: a trial's way back, or a shadow.
//!
//! Its rows and tries stand behind those of the first set in the same maps; only its class table and
//! its constants are its own. Where there is no second set, the verifier removes all that looks at it.

use crate::{class, counter::Counter};

/// Classes of an element of the map `SECOND_CLASSES`: one element is what the map costs where there is
/// no second set.
pub const CHUNK: usize = 1024;

/// Elements of a whole class table.
pub const CHUNKS: usize = class::COUNT / CHUNK;

const _: () = assert!(CHUNKS * CHUNK == class::COUNT);

/// What a shadow would decide otherwise, on one CPU since it began. It belongs to the slot that accepts:
/// a rule of the shadow where it opens, a rule of the active set where it closes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Packets that are dropped and would be accepted.
    pub opens: Counter,
    /// Packets that are accepted and would be dropped.
    pub closes: Counter,
    /// The last packet of either kind.
    pub last: Example,
}

/// A packet that the shadow would have decided otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// When it came: `bpf_ktime_get_coarse_ns`; zero where there was none.
    pub seen: u64,
    /// Source address; of an IPv4 address the first four bytes, zeros behind it.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// What it was addressed to: its class index ([`crate::class`]).
    pub index: u32,
    /// Source port as it stands in the packet; the identifier of an echo; zero where there is neither.
    pub source_port: u16,
    /// Version of IP: 4 or 6.
    pub version: u16,
}

const _: () = assert!(size_of::<Example>() == 48);
const _: () = assert!(size_of::<Difference>() == 80);

#[cfg(feature = "user")]
// SAFETY: integers and byte arrays without padding; every bit pattern is valid.
unsafe impl aya::Pod for Difference {}
