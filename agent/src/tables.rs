//! Tables: the compiled form of one interface's rules, exactly as the kernel reads it.
//!
//! [`crate::compile`] makes them from a rule set; the datapath loads them. Plain data: equal rule
//! sets with equal slots give equal tables, byte for byte.

use portcullis_common::{
    abi::feature,
    class,
    more::{Cell, Row},
    slot::Reason,
    trie::Node,
};

/// Everything that a generation's programs look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// What each destination stands for, by class index ([`portcullis_common::class`]).
    pub classes: Vec<u16>,
    /// The destinations whose rules are limited by source or local address.
    pub more: More,
}

/// Rows of destinations whose rules are limited, and what maps addresses to classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// The rows; none where no rule is limited.
    pub rows: Vec<Row>,
    /// The cells of all rows, overlaid.
    pub cells: Vec<Cell>,
    /// Number of source classes; a column is address class x this + source class.
    pub source_classes: u32,
    /// What maps a packet's source to its class.
    pub sources: FamilyTries,
    /// What maps a packet's local address to its class.
    pub addresses: FamilyTries,
    /// The tries that those two name.
    pub tries: Tries,
}

/// The position of the first entry of a trie for each version of IP. Without a trie every address has
/// class 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyTries {
    /// For IPv4.
    pub v4: Option<u32>,
    /// For IPv6.
    pub v6: Option<u32>,
}

/// Tries from addresses to classes, as [`portcullis_common::trie`] lays them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Entries of all tries.
    pub entries: Vec<u32>,
    /// Nodes of all tries.
    pub nodes: Vec<Node>,
}

/// What is accepted on every interface unless the policy says otherwise: without it a host loses its
/// link, its addresses or its path MTU, whatever its rules.
///
/// ICMP: destination unreachable, time exceeded, parameter problem (RFC 792). ICMPv6: the four errors
/// (RFC 4443), neighbour discovery (RFC 4861) and multicast listener discovery (RFC 2710, RFC 3810),
/// as RFC 4890 section 4.4.1 asks.
const ALWAYS: &[(usize, std::ops::RangeInclusive<usize>, Reason)] = &[
    (class::ICMP4, 3..=3, Reason::IcmpError),
    (class::ICMP4, 11..=12, Reason::IcmpError),
    (class::ICMP6, 1..=4, Reason::IcmpError),
    (class::ICMP6, 130..=132, Reason::MulticastListener),
    (class::ICMP6, 133..=137, Reason::NeighbourDiscovery),
    (class::ICMP6, 143..=143, Reason::MulticastListener),
];

impl Tables {
    /// The tables of a policy without rules: only what keeps the host on its link is accepted.
    #[must_use]
    pub fn deny_all() -> Self {
        let mut classes = vec![Reason::Internal.slot(); class::COUNT];
        classes[class::TCP..class::UDP].fill(Reason::UndocumentedTcp.slot());
        classes[class::UDP..class::ICMP4].fill(Reason::UndocumentedUdp.slot());
        classes[class::ICMP4..class::PROTOCOL].fill(Reason::UndocumentedIcmp.slot());
        classes[class::PROTOCOL..class::PROTOCOL + 0x100].fill(Reason::UndocumentedProtocol.slot());
        for (base, types, reason) in ALWAYS {
            classes[base + types.start()..=base + types.end()].fill(reason.slot());
        }
        Self { classes, more: More::default() }
    }

    /// The features that the programs need for these tables ([`portcullis_common::abi::feature`]).
    #[must_use]
    pub fn features(&self) -> u32 {
        let more = if self.more.rows.is_empty() { 0 } else { feature::MORE };
        feature::FLOWS | more
    }
}
