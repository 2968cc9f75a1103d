//! Counters: what each slot has seen, per CPU.

/// One slot's totals on one CPU since the map was made.
///
/// Each field is a native `u64` that only its own CPU writes; a reader may see the two fields of a
/// pair one packet apart while traffic flows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the first byte of the link-layer header to the end of the packet.
    pub bytes: u64,
}

impl Counter {
    /// The sum of two counters; it wraps like the kernel's own.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

const _: () = assert!(size_of::<Counter>() == 16);

#[cfg(feature = "user")]
// SAFETY: two `u64` without padding; every bit pattern is valid.
unsafe impl aya::Pod for Counter {}
