//! Tables: the compiled form of one interface's rules, exactly as the kernel reads it.
//!
//! [`crate::compile`] makes them from a rule set; the datapath loads them. Plain data: equal rule
//! sets with equal slots give equal tables, byte for byte.

use ipnet::{Ipv4Net, Ipv6Net};
use portcullis_common::{
    abi::feature,
    class,
    slot::{Reason, Slot},
};

/// Everything that a generation's programs look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// What each destination stands for, by class index ([`portcullis_common::class`]).
    pub classes: Vec<u16>,
    /// Slots of the rows whose rules are limited by source or local address.
    pub more: More,
}

/// `[row][address class][source class]` -> slot, and what maps addresses to classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// The cells, rows outermost; empty where no rule is limited.
    pub cells: Vec<Slot>,
    /// What maps a packet's source to its class.
    pub sources: AddressClasses,
    /// What maps a packet's destination to its class.
    pub addresses: AddressClasses,
}

/// Longest-prefix tables from addresses to classes. An address that no prefix covers has class 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressClasses {
    /// Number of classes, class 0 included.
    pub count: u32,
    /// IPv4 prefixes and their classes.
    pub v4: Vec<(Ipv4Net, u32)>,
    /// IPv6 prefixes and their classes.
    pub v6: Vec<(Ipv6Net, u32)>,
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
        let more = if self.more.cells.is_empty() { 0 } else { feature::MORE };
        feature::FLOWS | more
    }
}
