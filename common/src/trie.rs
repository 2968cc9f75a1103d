//! Tries: IP address -> class, in a few loads whatever the number of prefixes.
//!
//! All tries of a generation lie in the same three arrays. The upper 16 bits of an address select one
//! of the trie's [`ROOTS`] root entries; each node then takes [`STRIDE`] bits more. A node holds no
//! pointers but two bitmaps: its children stand side by side, and so do its leaves, of which a run of
//! equal ones is stored once; counting bits tells how far to go (Asai and Ohara, "Poptrie", SIGCOMM
//! 2015). The first 16 + 48 bits end where an address's upper 64 bits do, so no step straddles them.

/// Root entries of a trie: one for each value of an address's upper 16 bits.
pub const ROOTS: usize = 1 << 16;
/// Bits of the address that a node takes.
pub const STRIDE: u32 = 6;
/// Steps below the root that use up an IPv4 address; the last one is padded with zeros.
pub const V4_STEPS: u32 = (32 - 16_u32).div_ceil(STRIDE);
/// Steps below the root that use up the upper 64 bits of an address.
pub const UPPER_STEPS: u32 = (64 - 16) / STRIDE;
/// Steps that use up the lower 64 bits; the last one is padded with zeros.
pub const LOWER_STEPS: u32 = 64_u32.div_ceil(STRIDE);

/// Set in a root entry that is a class; clear where it is the number of a node.
pub const IS_CLASS: u32 = 1 << 31;

/// A node: what the next [`STRIDE`] bits of an address lead to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Bit i: the bits i lead to another node.
    pub children: u64,
    /// Bit i: with the bits i, which lead to a class, begins a run of equal classes.
    pub runs: u64,
    /// Number of the first child; the others follow it.
    pub first_child: u32,
    /// Position of the first run's class; the others follow it.
    pub first_leaf: u32,
    /// A node is 32 bytes long: Linux 6.1 cannot follow an index that is multiplied by 24.
    pub padding: u64,
}

/// Where a node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To another node, by its number.
    Node(u32),
    /// To a class, by its position among the leaves.
    Leaf(u32),
}

impl Node {
    /// Where the upper [`STRIDE`] bits of `bits` lead.
    #[must_use]
    #[inline(always)]
    pub const fn step(&self, bits: u64) -> Step {
        let bit = 1_u64 << (bits >> (64 - STRIDE));
        // This bit and all below it.
        let upto = bit | (bit - 1);
        if self.children & bit != 0 {
            Step::Node(self.first_child.wrapping_add((self.children & upto).count_ones() - 1))
        } else {
            Step::Leaf(self.first_leaf.wrapping_add((self.runs & upto).count_ones().wrapping_sub(1)))
        }
    }
}

const _: () = assert!(size_of::<Node>() == 32);

#[cfg(feature = "user")]
// SAFETY: integers without padding; every bit pattern is valid.
unsafe impl aya::Pod for Node {}

#[cfg(test)]
mod tests {
    use super::{LOWER_STEPS, Node, STRIDE, Step, UPPER_STEPS, V4_STEPS};

    #[test]
    fn steps_count_the_bits_up_to_their_own() {
        // 0: class, 1: class of the same run, 2: node, 3: class of a new run, 63: node.
        let node = Node {
            children: 1 << 2 | 1 << 63,
            runs: 1 | 1 << 3,
            first_child: 10,
            first_leaf: 20,
            padding: 0,
        };
        let steps = [
            (0, Step::Leaf(20)),
            (1, Step::Leaf(20)),
            (2, Step::Node(10)),
            (3, Step::Leaf(21)),
            (63, Step::Node(11)),
        ];
        for (bits, step) in steps {
            assert_eq!(node.step(bits << (64 - STRIDE)), step, "{bits}");
            assert_eq!(node.step(bits << (64 - STRIDE) | 0x03ff), step, "{bits} with bits behind");
        }
    }

    #[test]
    fn the_steps_use_every_bit() {
        assert_eq!((16 + UPPER_STEPS * STRIDE, LOWER_STEPS, V4_STEPS), (64, 11, 3));
    }
}
