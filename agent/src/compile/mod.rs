//! Rule set -> tables: pure and deterministic.
//!
//! Every destination a packet can have is resolved here, so that the kernel looks up one class and
//! its cost does not depend on the number of rules. Where several rules open a destination, the
//! packet is counted under the most specific one: the narrowest range of ports, then the order of the
//! rules. Compile knows nothing of documents, interfaces or the kernel.

mod address;
mod rows;
mod segment;
#[cfg(test)]
mod tests;
mod trie;

use std::{borrow::Cow, collections::BTreeSet};

use ipnet::IpNet;
use portcullis_common::{
    class,
    slot::{Reason, Slot, accepts},
};

use crate::{
    ruleset::{Opening, Rule, RuleSet, Way},
    tables::Tables,
};
use address::Grouping;
use rows::{Context, MAX_CELLS, Rows};

/// Why rules cannot be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// Too many different lists of limited rules share a destination.
    #[error(
        "rules that are limited by source or address overlap at more than 32,768 ports in different ways: \
         use fewer ranges of ports"
    )]
    TooManyRows,
    /// Too many different combinations of rules limited by source or local address.
    #[error(
        "rules are limited by source and address in more than 4,194,304 different ways: use fewer distinct \
         peer groups"
    )]
    TooManyCombinations,
    /// Too many EtherTypes.
    #[error("the rules name more than 16 EtherTypes: name fewer, or accept all with `unreadable.non-ip`")]
    TooManyEtherTypes,
    /// Too many prefixes.
    #[error("the rules name more prefixes than fit: use fewer, or wider ones")]
    TooManyPrefixes,
}

/// The tables of a rule set, and which of its rules can never match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What the kernel reads.
    pub tables: Tables,
    /// For each rule, whether some packet can be counted under it. A rule without is shadowed: every
    /// packet it would accept is counted under a more specific rule.
    pub reachable: Vec<bool>,
}

/// Compiles `rules`, of which the n-th is counted in `slots[n]`.
///
/// # Errors
///
/// Where the rules need larger tables than the kernel program has.
///
/// # Panics
///
/// If there are fewer slots than rules.
pub fn compile(rules: &RuleSet, slots: &[Slot]) -> Result<Compiled, CompileError> {
    compile_into(rules, slots, MAX_CELLS)
}

/// [`compile`] with room for another number of cells.
fn compile_into(rules: &RuleSet, slots: &[Slot], room: usize) -> Result<Compiled, CompileError> {
    assert!(slots.len() >= rules.rules.len(), "each rule needs a slot");
    let ends: Vec<Ends<'_>> = rules.rules.iter().map(Ends::of).collect();
    let sources = Grouping::new(ends.iter().map(|ends| ends.remote));
    let addresses = Grouping::new(ends.iter().map(|ends| ends.local.as_ref()));

    let mut compiled = Compiled { tables: Tables::deny_all(), reachable: vec![false; rules.rules.len()] };
    compiled.tables.ether_types = ether_types(rules, &ends)?;
    let ether_types = &compiled.tables.ether_types;
    let mut rows = Rows::default();
    for way in [Way::Arriving, Way::Leaving] {
        let (classes, limited) = match way {
            Way::Arriving => (&mut compiled.tables.classes, Reason::Source),
            Way::Leaving => (&mut compiled.tables.outbound, Reason::Destination),
        };
        for claim in segment::claims(&rules.rules, way, ether_types, |rule| ends[rule].are_limited()) {
            let class = match claim.rules.as_slice() {
                [rule] if !ends[*rule].are_limited() => {
                    compiled.reachable[*rule] = true;
                    slots[*rule]
                }
                _ => {
                    // All destinations of a claim are alike before the rules: closed, or always safe.
                    let first = claim.indexes().next().map_or(0, |index| classes[index]);
                    let otherwise = if accepts(first) { first } else { limited.slot() };
                    class::MORE | rows.row(&claim.rules, otherwise)?
                }
            };
            for index in claim.indexes() {
                classes[index] = class;
            }
        }
    }
    let reachable = &mut compiled.reachable;
    compiled.tables.more =
        rows.more(&mut Context { sources: &sources, addresses: &addresses, slots, reachable }, room)?;
    Ok(compiled)
}

/// The addresses that a rule is limited to, as the kernel looks them up: those of the other side and those
/// of this one, whichever way a packet goes. An empty list means any.
struct Ends<'a> {
    remote: &'a [IpNet],
    local: Cow<'a, [IpNet]>,
}

impl<'a> Ends<'a> {
    fn of(rule: &'a Rule) -> Self {
        let (remote, local) = match rule.way {
            Way::Arriving => (&rule.sources, &rule.destinations),
            Way::Leaving => (&rule.destinations, &rule.sources),
        };
        let local = match rule.address {
            // A rule has either.
            Some(address) => Cow::Owned(vec![address.into()]),
            None => Cow::Borrowed(local.as_slice()),
        };
        Self { remote, local }
    }

    fn are_limited(&self) -> bool {
        !self.remote.is_empty() || !self.local.is_empty()
    }
}

/// The EtherTypes that rules of either way open, in ascending order: the first has the first class.
fn ether_types(rules: &RuleSet, ends: &[Ends<'_>]) -> Result<Vec<u16>, CompileError> {
    let unlimited = rules.rules.iter().zip(ends).filter(|(_, ends)| !ends.are_limited());
    let openings = unlimited.flat_map(|(rule, _)| &rule.openings);
    let named: BTreeSet<u16> = openings
        .filter_map(|opening| if let Opening::EtherType(number) = opening { Some(*number) } else { None })
        .collect();
    if named.len() > class::ETHER_TYPES {
        return Err(CompileError::TooManyEtherTypes);
    }
    Ok(named.into_iter().collect())
}

/// The class indexes of an opening: first and last. An EtherType's is its place in `ether_types`.
fn indexes(opening: Opening, ether_types: &[u16]) -> Indexes {
    match opening {
        Opening::Tcp(ports) => Indexes::Ports(class::TCP, ports),
        Opening::Udp(ports) => Indexes::Ports(class::UDP, ports),
        Opening::Sctp(ports) => Indexes::Ports(class::SCTP, ports),
        Opening::Icmp(kind) => Indexes::Types(class::ICMP4 + usize::from(kind), 1),
        Opening::Icmpv6(kind) => Indexes::Types(class::ICMP6 + usize::from(kind), 1),
        // Its protocol number in IPv6 means nothing, and nothing opens it.
        Opening::Protocol(IGMP) => Indexes::Types(class::IGMP, 0x100),
        Opening::Protocol(number) => Indexes::Types(class::PROTOCOL + usize::from(number), 1),
        Opening::Answers => Indexes::Types(class::ANSWERS, 1),
        Opening::EtherType(number) => {
            Indexes::Types(class::ETHER + ether_types.partition_point(|other| *other < number), 1)
        }
    }
}

/// Where an opening stands in the class table.
#[derive(Clone, Copy)]
enum Indexes {
    /// Ports of the transport whose part of the table begins here.
    Ports(usize, crate::requirement::PortRange),
    /// So many entries from this one on: types, or a protocol.
    Types(usize, usize),
}

/// The protocol number of IGMP (RFC 9776 section 4).
const IGMP: u8 = 2;
