//! The names by which the kernel programs and userspace find each other.

/// Version of everything in this crate. It is part of the pin directory's name, so that a new
/// agent never opens maps that an older one laid out differently.
pub const VERSION: u32 = CURRENT - if cfg!(feature = "previous-abi") { 1 } else { 0 };

/// The version, unless the one before it is built.
const CURRENT: u32 = 3;

/// Name of the XDP program that judges arriving packets.
pub const INGRESS_PROGRAM: &str = "ingress";
/// Name of the TCX (or clsact) program that learns the conversations this host begins.
pub const EGRESS_PROGRAM: &str = "egress";

/// Names of the constants that userspace writes before loading (`.rodata`).
pub mod constant {
    /// `[u16; class::COUNT]`: the compiled policy.
    pub const CLASSES: &str = "CLASSES";
    /// `u32`: which features the policy needs, [`super::feature`].
    pub const FEATURES: &str = "FEATURES";
    /// `u32`: number of source classes; a column is address class x this + source class.
    pub const SOURCE_CLASSES: &str = "SOURCE_CLASSES";
    /// `u32`: position of the first entry of the trie of IPv4 sources, or [`super::NO_TRIE`].
    pub const SOURCES4: &str = "SOURCES4";
    /// `u32`: likewise for IPv6 sources.
    pub const SOURCES6: &str = "SOURCES6";
    /// `u32`: likewise for local IPv4 addresses.
    pub const ADDRESSES4: &str = "ADDRESSES4";
    /// `u32`: likewise for local IPv6 addresses.
    pub const ADDRESSES6: &str = "ADDRESSES6";
    /// The constants of the second set; see those of the first.
    pub const SECOND_FEATURES: &str = "SECOND_FEATURES";
    /// See [`SOURCE_CLASSES`].
    pub const SECOND_SOURCE_CLASSES: &str = "SECOND_SOURCE_CLASSES";
    /// See [`SOURCES4`].
    pub const SECOND_SOURCES4: &str = "SECOND_SOURCES4";
    /// See [`SOURCES6`].
    pub const SECOND_SOURCES6: &str = "SECOND_SOURCES6";
    /// See [`ADDRESSES4`].
    pub const SECOND_ADDRESSES4: &str = "SECOND_ADDRESSES4";
    /// See [`ADDRESSES6`].
    pub const SECOND_ADDRESSES6: &str = "SECOND_ADDRESSES6";
    /// `u32`: reasons that a packet cannot be read which are accepted, [`crate::slot::unreadable`].
    pub const UNREADABLE: &str = "UNREADABLE";
    /// See [`UNREADABLE`].
    pub const SECOND_UNREADABLE: &str = "SECOND_UNREADABLE";
    /// `u64`: ticks after which a datagram's first fragment is forgotten.
    pub const FRAGMENT_TIMEOUT: &str = "FRAGMENT_TIMEOUT";
    /// `[u64; flow::TIMEOUTS]`: ticks after which a silent flow is over, by [`crate::flow::timeout_index`].
    pub const TIMEOUTS: &str = "TIMEOUTS";
    /// `u64`: ticks that must have passed before a packet refreshes its flow.
    pub const REFRESH: &str = "REFRESH";
    /// `[u16; class::ETHER_TYPES]`: EtherTypes as they stand in the frame that either set of rules names; zero
    /// where there are fewer.
    pub const ETHER_TYPES: &str = "ETHER_TYPES";
    /// `u32`: the ports that this host gives to those who ask without naming one, while it listens before it
    /// enforces: the first in the lower half, the last in the upper half. Zero where it does not listen.
    pub const EPHEMERAL: &str = "EPHEMERAL";
}

/// The position of a trie that does not exist: every address has class 0.
pub const NO_TRIE: u32 = u32::MAX;

/// Values of an element of the arrays of `u32`: the kernel rounds each element up to eight bytes.
pub const PACK: usize = 16;

/// Bits of the constant `FEATURES`. What a policy does not need is removed by the verifier; the load of a constant is
/// not, so that all that most packets are asked for stands in this one word, and is read once for each of them.
pub mod feature {
    /// Some rule is limited by source or local address: look up its row.
    pub const MORE: u32 = 1 << 0;
    /// Replies to conversations that this host began are accepted.
    pub const FLOWS: u32 = 1 << 1;
    /// Replies to this host's DHCP client are accepted.
    pub const DHCP: u32 = 1 << 2;
    /// Leaving packets are judged and counted.
    pub const OUTBOUND: u32 = 1 << 3;
    /// Leaving packets with a drop verdict are dropped; without, they pass.
    pub const OUTBOUND_DROP: u32 = 1 << 4;
    /// What arrives are requests of clients that pass: what rules accept begins flows.
    pub const GATEWAY: u32 = 1 << 5;
    /// This host forwards packets: what rules accept must be addressed to it.
    pub const ROUTES: u32 = 1 << 6;
    /// Packets with a drop verdict pass: the mode is observe.
    pub const OBSERVE: u32 = 1 << 7;
    /// A second set of rules decides from a deadline on. Of the first set only, as the next one.
    pub const TRIAL: u32 = 1 << 8;
    /// A second set of rules is evaluated next to the first, and what would differ is counted.
    pub const SHADOW: u32 = 1 << 9;
    /// Packets begin with their IP header, without one of the link. Of both sets, as the next one.
    pub const NO_LINK_HEADER: u32 = 1 << 10;
    /// Rules name EtherTypes.
    pub const ETHER_TYPES: u32 = 1 << 11;
}

/// Names of the maps.
pub mod map {
    /// Per-CPU array, slot -> [`crate::counter::Counter`]. Ingress writes, userspace reads. Pinned.
    pub const COUNTERS: &str = "COUNTERS";
    /// Array of [`crate::flow::Set`]: the flows. Egress begins them, both programs change them. Pinned.
    pub const FLOWS: &str = "FLOWS";
    /// Section of one [`crate::flow::Settings`]. Userspace writes it once. Pinned with the flows.
    pub const FLOW_SETTINGS: &str = ".bss.flow_table";
    /// Per-CPU array of one [`crate::flow::FlowCounter`]. Egress writes, userspace reads. Pinned with the
    /// flows.
    pub const FLOW_COUNTERS: &str = "FLOW_COUNTERS";
    /// Section of [`crate::flow::MARKS`] x `u8`, one for each class index: not zero where replies to a flow have that
    /// index, so that a packet with any other needs no flow look-up. Egress writes, on a gateway ingress too, and
    /// ingress reads. Pinned with the flows.
    pub const FLOW_MARKS: &str = ".bss.flow_marks";
    /// Section of [`crate::flow::FORGOTTEN`] x `u64`: the tick at which it was forgotten last who began a
    /// conversation of a local UDP or SCTP port; zero where never. Both programs write it, egress reads it.
    /// Pinned with the flows.
    pub const FLOW_FORGOTTEN: &str = ".bss.flow_forgotten";
    /// Array of [`crate::second::CHUNK`] x `u16`: the class table of a second set of rules; one element
    /// where there is none. Private to a generation.
    pub const SECOND_CLASSES: &str = "SECOND_CLASSES";
    /// Per-CPU array, slot -> [`crate::second::Difference`]; one element where there is no shadow.
    /// Ingress writes, userspace reads. Pinned as long as there is a shadow.
    pub const DIFFERENCES: &str = "DIFFERENCES";
    /// Array of one `u64`: nanoseconds of CLOCK_MONOTONIC_COARSE from which on the second set decides.
    /// Private to a generation.
    pub const DEADLINE: &str = "DEADLINE";
    /// Array of pages of [`crate::class::PAGE`] classes: the compiled policy for leaving packets; behind
    /// it, that of a second set of rules. One page where leaving packets are not judged. Private to a
    /// generation.
    pub const OUTBOUND: &str = "OUTBOUND";
    /// LRU hash, [`crate::fragment::Datagram`] -> [`crate::fragment::First`]. Both programs read and
    /// write it. Private to a generation, whose slots it holds.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// Array of [`crate::more::Row`]. Private to a generation, like all that follow; userspace maps
    /// them into memory to fill them.
    pub const MORE_ROWS: &str = "MORE_ROWS";
    /// Array of [`super::PACK`] x [`crate::more::Cell`].
    pub const MORE_CELLS: &str = "MORE_CELLS";
    /// Array of [`super::PACK`] x `u32`: entries of tries ([`crate::trie`]).
    pub const TRIE_ENTRIES: &str = "TRIE_ENTRIES";
    /// Array of [`crate::trie::Node`].
    pub const TRIE_NODES: &str = "TRIE_NODES";
}
