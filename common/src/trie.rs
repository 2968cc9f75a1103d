//! Tries: IP address -> class, in a few loads whatever the number of prefixes.
//!
//! All tries of a generation lie in the same two arrays: entries and nodes. The upper 16 bits of an address
//! select one of the trie's [`ROOTS`] first entries. An entry is a class, or the number of a node. A node
//! first compares bits that all its prefixes share (path compression), then lets as many bits as it has
//! prefixes to tell apart select one of its entries (level compression): Nilsson and Karlsson, "IP-address
//! lookup using LC-tries", IEEE JSAC 1999. No node straddles the upper and the lower half of an IPv6
//! address.

/// First entries of a trie: one for each value of an address's upper 16 bits.
pub const ROOTS: usize = 1 << 16;
/// Least bits that a node with further nodes below it takes.
pub const MIN_STRIDE: u32 = 4;
/// Most nodes on the way to the class of an IPv4 address.
pub const V4_STEPS: u32 = (32 - 16) / MIN_STRIDE;
/// Most nodes on the way to the class of an IPv6 address.
pub const V6_STEPS: u32 = (128 - 16) / MIN_STRIDE;

/// Set in an entry that is a class; clear where it is the number of a node.
pub const IS_CLASS: u32 = 1 << 31;

/// A node: what the next bits of an address lead to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The bits that all prefixes share, left-aligned.
    pub shared: u64,
    /// Ones where `shared` counts.
    pub mask: u64,
    /// Position of the first entry.
    pub first: u32,
    /// The class of an address with other bits.
    pub otherwise: u32,
    /// Number of shared bits, at most 63.
    pub skip: u8,
    /// 64 less the number of bits behind them that select an entry, which is 1 to 16.
    pub shift: u8,
    /// Number of bits that node and entry take together, at most 64.
    pub taken: u8,
    /// Whether those are the last of the upper half: 0 or 1.
    pub ends_upper: u8,
    /// A node is 32 bytes long: Linux 6.1 cannot follow an index that is multiplied by 24 or 28.
    pub padding: u32,
}

/// Where a node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the entry at this position.
    Entry(u32),
    /// To this class.
    Class(u32),
}

impl Node {
    /// Where `bits`, left-aligned, lead.
    #[must_use]
    #[inline(always)]
    pub const fn step(&self, bits: u64) -> Step {
        if (bits ^ self.shared) & self.mask != 0 {
            return Step::Class(self.otherwise);
        }
        let selected = bits.wrapping_shl(self.skip as u32).wrapping_shr(self.shift as u32);
        Step::Entry(self.first.wrapping_add(selected as u32))
    }

    /// The bits behind those that this node has taken of `bits`; `lower` is the lower half of the address.
    #[must_use]
    #[inline(always)]
    pub const fn rest(&self, bits: u64, lower: u64) -> u64 {
        if self.ends_upper != 0 { lower } else { bits.wrapping_shl(self.taken as u32) }
    }
}

const _: () = assert!(size_of::<Node>() == 32);

#[cfg(feature = "user")]
// SAFETY: integers without padding; every bit pattern is valid.
unsafe impl aya::Pod for Node {}

#[cfg(test)]
mod tests {
    use super::{Node, Step};

    #[test]
    fn a_node_compares_what_is_shared_and_selects_by_what_follows() {
        // Eight bits 0xab, then four that select.
        let node = Node {
            shared: 0xab << 56,
            mask: 0xff << 56,
            first: 100,
            otherwise: 7,
            skip: 8,
            shift: 60,
            taken: 12,
            ends_upper: 0,
            padding: 0,
        };
        assert_eq!(node.step(0xab5c << 48), Step::Entry(105));
        assert_eq!(node.step(0xaa5c << 48), Step::Class(7));
        assert_eq!(node.rest(0xab5c << 48, 9), 0xc << 60);
        assert_eq!(Node { ends_upper: 1, ..node }.rest(0xab5c << 48, 9), 9);
        // Nothing shared.
        let node = Node { mask: 0, skip: 0, taken: 4, ..node };
        assert_eq!(node.step(u64::MAX), Step::Entry(115));
    }
}
