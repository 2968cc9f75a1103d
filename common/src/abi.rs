//! The names by which the kernel programs and userspace find each other.

/// Version of everything in this crate. It is part of the pin directory's name, so that a new
/// agent never opens maps that an older one laid out differently.
pub const VERSION: u32 = 1;

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
    /// `u32`: XDP action of a drop verdict: `XDP_DROP`, or `XDP_PASS` where the mode is observe.
    pub const DROP_ACTION: &str = "DROP_ACTION";
    /// `u32`: number of source classes, the row stride of [`super::map::MORE`].
    pub const SOURCE_CLASSES: &str = "SOURCE_CLASSES";
    /// `u32`: number of local address classes.
    pub const ADDRESS_CLASSES: &str = "ADDRESS_CLASSES";
    /// `u64`: nanoseconds after which an idle TCP flow no longer admits replies.
    pub const TCP_TIMEOUT: &str = "TCP_TIMEOUT";
    /// `u64`: nanoseconds after which an idle UDP or ICMP echo flow no longer admits replies.
    pub const UDP_TIMEOUT: &str = "UDP_TIMEOUT";
}

/// Bits of the constant `FEATURES`. What a policy does not need is removed by the verifier.
pub mod feature {
    /// Some rule is limited by source or local address: look up `MORE`.
    pub const MORE: u32 = 1 << 0;
    /// Replies to conversations that this host began are accepted.
    pub const FLOWS: u32 = 1 << 1;
    /// Replies to this host's DHCP client are accepted.
    pub const DHCP: u32 = 1 << 2;
}

/// Names of the maps.
pub mod map {
    /// Per-CPU array, slot -> [`crate::counter::Counter`]. Ingress writes, userspace reads. Pinned.
    pub const COUNTERS: &str = "COUNTERS";
    /// LRU hash, [`crate::flow::FlowKey4`] -> [`crate::flow::Flow`]. Egress writes, ingress reads
    /// and refreshes. Pinned.
    pub const FLOWS4: &str = "FLOWS4";
    /// LRU hash, [`crate::flow::FlowKey6`] -> [`crate::flow::Flow`]. As `FLOWS4`. Pinned.
    pub const FLOWS6: &str = "FLOWS6";
    /// Array of one value, a byte for each class index of a TCP or UDP port: not zero where a flow
    /// uses the local port, so that a packet to any other needs no flow look-up. Egress writes,
    /// ingress reads. Pinned with the flows.
    pub const FLOW_PORTS: &str = "FLOW_PORTS";
    /// Array of `u16`: `[class id][address class][source class]` -> slot. Private to a generation.
    pub const MORE: &str = "MORE";
    /// LPM trie, IPv4 prefix -> source class. Private to a generation.
    pub const SOURCES4: &str = "SOURCES4";
    /// LPM trie, IPv6 prefix -> source class. Private to a generation.
    pub const SOURCES6: &str = "SOURCES6";
    /// LPM trie, IPv4 local address -> address class. Private to a generation.
    pub const ADDRESSES4: &str = "ADDRESSES4";
    /// LPM trie, IPv6 local address -> address class. Private to a generation.
    pub const ADDRESSES6: &str = "ADDRESSES6";
}
