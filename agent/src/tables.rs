//! Tables: the compiled form of one interface's rules, exactly as the kernel reads it.
//!
//! [`crate::compile`] makes them from a rule set; the datapath loads them. Plain data: equal rule
//! sets with equal slots give equal tables, byte for byte.

use portcullis_common::{
    abi::feature,
    class,
    more::{Cell, EMPTY, Row},
    slot::{self, Reason},
    trie::{IS_CLASS, Node},
};

/// Everything that a generation's programs look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// What each destination stands for, by class index ([`portcullis_common::class`]).
    pub classes: Vec<u16>,
    /// The same for packets that leave.
    pub outbound: Vec<u16>,
    /// The EtherTypes whose classes stand at [`class::ETHER`], in that order.
    pub ether_types: Vec<u16>,
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
    /// What maps the address of the other side, an arriving packet's source, to its class.
    pub sources: FamilyTries,
    /// What maps the local address, an arriving packet's destination, to its class.
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
/// as RFC 4890 section 4.4.1 asks. IGMP: membership queries (RFC 9776), which are the same for IPv4.
const ALWAYS: &[(usize, std::ops::RangeInclusive<usize>, Reason)] = &[
    (class::ICMP4, 3..=3, Reason::IcmpError),
    (class::ICMP4, 11..=12, Reason::IcmpError),
    (class::ICMP6, 1..=4, Reason::IcmpError),
    (class::ICMP6, 130..=132, Reason::MulticastListener),
    (class::ICMP6, 133..=137, Reason::NeighbourDiscovery),
    (class::ICMP6, 143..=143, Reason::MulticastListener),
    (class::IGMP, 0x11..=0x11, Reason::IgmpQuery),
];

/// IGMP messages that a host sends of its groups: reports of three versions and the leave message (RFC 9776
/// section 4). Switches that snoop stop delivering the groups of a host that does not send them.
const IGMP_REPORTS: [usize; 4] = [0x12, 0x16, 0x17, 0x22];

impl More {
    /// Puts the rows and tries of another set of rules behind these, in the same arrays, and gives how
    /// that set is looked up there. Its classes must be moved as well ([`moved_by`]).
    ///
    /// # Errors
    ///
    /// [`Full`] where both together have more rows than there are numbers.
    pub fn append(&mut self, other: &Self) -> Result<Self, Full> {
        let number = |length: usize| u32::try_from(length).map_err(|_| Full::Rows);
        if self.rows.len() + other.rows.len() > class::MAX_ROWS {
            return Err(Full::Rows);
        }
        let (rows, cells) = (number(self.rows.len())?, number(self.cells.len())?);
        let (entries, nodes) = (number(self.tries.entries.len())?, number(self.tries.nodes.len())?);
        self.rows.extend(other.rows.iter().map(|row| Row { base: row.base.wrapping_add(cells), ..*row }));
        let moved = |cell: &Cell| if *cell == EMPTY { EMPTY } else { *cell + (rows << 16) };
        self.cells.extend(other.cells.iter().map(moved));
        let entry = |entry: &u32| if entry & IS_CLASS == 0 { entry + nodes } else { *entry };
        self.tries.entries.extend(other.tries.entries.iter().map(entry));
        let node = |node: &Node| Node { first: node.first + entries, ..*node };
        self.tries.nodes.extend(other.tries.nodes.iter().map(node));
        let tries = |tries: FamilyTries| FamilyTries {
            v4: tries.v4.map(|position| position + entries),
            v6: tries.v6.map(|position| position + entries),
        };
        Ok(Self {
            source_classes: other.source_classes,
            sources: tries(other.sources),
            addresses: tries(other.addresses),
            ..Self::default()
        })
    }
}

/// Two sets of rules do not fit into one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Their rows have more numbers than there are.
    #[error("two sets of rules with so many sources do not fit beside each other: apply the policy directly")]
    Rows,
    /// They name more EtherTypes than there are classes for.
    #[error(
        "two sets of rules that name more than 16 EtherTypes do not fit beside each other: apply the policy directly"
    )]
    EtherTypes,
}

/// The EtherTypes of two sets of rules in one list, which the programs of both share: those of the first, then those
/// that only the second names.
///
/// # Errors
///
/// [`Full`] where both together name more than there are classes for.
pub fn joined(first: &[u16], second: &[u16]) -> Result<Vec<u16>, Full> {
    let more = second.iter().filter(|number| !first.contains(number));
    let joined: Vec<u16> = first.iter().chain(more).copied().collect();
    if joined.len() > class::ETHER_TYPES { Err(Full::EtherTypes) } else { Ok(joined) }
}

/// Classes, their rows moved by a number of other rows before them.
///
/// # Panics
///
/// Where there are more rows than there are numbers, which [`More::append`] has refused.
#[must_use]
pub fn moved_by(classes: &[u16], rows: usize) -> Vec<u16> {
    let rows = u16::try_from(rows).expect("rows are numbered below 32,768");
    let moved = |class: &u16| if class & class::MORE == 0 { *class } else { class + rows };
    classes.iter().map(moved).collect()
}

impl Tables {
    /// The tables of a policy without rules: only what keeps the host on its link is accepted.
    #[must_use]
    pub fn deny_all() -> Self {
        let mut classes = vec![Reason::Internal.slot(); class::COUNT];
        classes[class::TCP..class::UDP].fill(Reason::UndocumentedTcp.slot());
        classes[class::UDP..class::ICMP4].fill(Reason::UndocumentedUdp.slot());
        classes[class::ICMP4..class::PROTOCOL].fill(Reason::UndocumentedIcmp.slot());
        classes[class::PROTOCOL..class::PROTOCOL + 0x100].fill(Reason::UndocumentedProtocol.slot());
        classes[class::IGMP..class::IGMP + 0x100].fill(Reason::UndocumentedProtocol.slot());
        classes[class::ETHER..class::ETHER + class::ETHER_TYPES].fill(Reason::NonIp.slot());
        classes[class::ANSWERS] = Reason::GroupAnswer.slot();
        classes[class::SCTP..class::COUNT].fill(Reason::UndocumentedSctp.slot());
        for (base, types, reason) in ALWAYS {
            classes[base + types.start()..=base + types.end()].fill(reason.slot());
        }
        let mut outbound: Vec<u16> = classes.iter().map(|class| slot::leaving(*class)).collect();
        for kind in IGMP_REPORTS {
            outbound[class::IGMP + kind] = Reason::OutboundIgmp.slot();
        }
        Self { classes, outbound, ether_types: Vec::new(), more: More::default() }
    }

    /// The same tables with the classes of EtherTypes in the order of another list, which holds all of theirs.
    #[must_use]
    pub fn with_ether_types(&self, list: &[u16]) -> Self {
        let mut tables = self.clone();
        let reason = Reason::NonIp.slot();
        for (classes, closed) in
            [(&mut tables.classes, reason), (&mut tables.outbound, slot::leaving(reason))]
        {
            let own = classes[class::ETHER..][..class::ETHER_TYPES].to_vec();
            let of = |number| self.ether_types.iter().position(|other| other == number);
            for place in 0..class::ETHER_TYPES {
                let own = list.get(place).and_then(of).map(|place| own[place]);
                classes[class::ETHER + place] = own.unwrap_or(closed);
            }
        }
        tables.ether_types = list.to_vec();
        tables
    }

    /// The features that the programs need for these tables ([`portcullis_common::abi::feature`]).
    #[must_use]
    pub fn features(&self) -> u32 {
        let more = if self.more.rows.is_empty() { 0 } else { feature::MORE };
        let ether_types = if self.ether_types.is_empty() { 0 } else { feature::ETHER_TYPES };
        feature::FLOWS | more | ether_types
    }
}
