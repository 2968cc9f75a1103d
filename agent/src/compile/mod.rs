//! Rule set -> tables: pure and deterministic.
//!
//! Every destination a packet can have is resolved here, so that the kernel looks up one class and
//! its cost does not depend on the number of rules. Where several rules open a destination, the
//! packet is counted under the most specific one: the narrowest range of ports, then the order of the
//! rules. Compile knows nothing of documents, interfaces or the kernel.

mod address;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use ipnet::IpNet;
use portcullis_common::{
    class,
    slot::{Reason, Slot, accepts},
};

use crate::{
    ruleset::{Opening, Rule, RuleSet},
    tables::{More, Tables},
};
use address::Grouping;
use segment::Claim;

/// Most cells of `MORE`: 32 MiB, as the kernel gives each cell eight bytes.
const MAX_CELLS: usize = 1 << 22;

/// Why rules cannot be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// Too many different combinations of rules limited by source or local address.
    #[error(
        "the policy limits rules by source and address in {rows} x {addresses} x {sources} different ways, \
         more than the {MAX_CELLS} that fit: use fewer distinct peer groups"
    )]
    TooManyCombinations {
        /// Different lists of rules that share a destination.
        rows: usize,
        /// Classes of local addresses.
        addresses: usize,
        /// Classes of sources.
        sources: usize,
    },
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
    assert!(slots.len() >= rules.rules.len(), "each rule needs a slot");
    let sources = Grouping::new(rules.rules.iter().map(|rule| rule.sources.as_slice()));
    let locals: Vec<Vec<IpNet>> =
        rules.rules.iter().map(|rule| rule.address.map(IpNet::from).into_iter().collect()).collect();
    let addresses = Grouping::new(locals.iter().map(Vec::as_slice));

    let mut compiled = Compiled { tables: Tables::deny_all(), reachable: vec![false; rules.rules.len()] };
    let mut rows = Rows::default();
    for claim in segment::claims(&rules.rules, |rule| is_limited(&rules.rules[rule])) {
        let class = match claim.rules.as_slice() {
            [rule] if !is_limited(&rules.rules[*rule]) => {
                compiled.reachable[*rule] = true;
                slots[*rule]
            }
            _ => {
                // All destinations of a claim are alike before the rules: closed, or always safe.
                let first = claim.indexes().next().map_or(0, |index| compiled.tables.classes[index]);
                class::MORE | rows.row(&claim, if accepts(first) { first } else { Reason::Source.slot() })
            }
        };
        for index in claim.indexes() {
            compiled.tables.classes[index] = class;
        }
    }
    compiled.tables.more = rows.more(&sources, &addresses, slots, &mut compiled.reachable)?;
    Ok(compiled)
}

fn is_limited(rule: &Rule) -> bool {
    !rule.sources.is_empty() || rule.address.is_some()
}

/// The distinct lists of rules that share a destination; each becomes a row of `MORE`.
#[derive(Default)]
struct Rows {
    lists: Vec<Row>,
    known: HashMap<Row, u16>,
}

/// Rules that open the same destinations, most specific first, and the slot where none applies.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Row {
    rules: Vec<usize>,
    otherwise: Slot,
}

impl Rows {
    fn row(&mut self, claim: &Claim, otherwise: Slot) -> u16 {
        let row = Row { rules: claim.rules.clone(), otherwise };
        if let Some(&known) = self.known.get(&row) {
            return known;
        }
        let number = u16::try_from(self.lists.len()).expect("fewer rows than segments of the class table");
        self.known.insert(row.clone(), number);
        self.lists.push(row);
        number
    }

    fn more(
        &self,
        sources: &Grouping,
        addresses: &Grouping,
        slots: &[Slot],
        reachable: &mut [bool],
    ) -> Result<More, CompileError> {
        if self.lists.is_empty() {
            return Ok(More::default());
        }
        let (source_count, address_count) = (sources.count(), addresses.count());
        let size = self.lists.len() * address_count * source_count;
        if size > MAX_CELLS || self.lists.len() > class::MAX_ROWS {
            let rows = self.lists.len();
            return Err(CompileError::TooManyCombinations {
                rows,
                addresses: address_count,
                sources: source_count,
            });
        }
        let mut cells = Vec::with_capacity(size);
        for row in &self.lists {
            for address in 0..address_count {
                for source in 0..source_count {
                    let first = row
                        .rules
                        .iter()
                        .find(|&&rule| sources.holds(source, rule) && addresses.holds(address, rule));
                    cells.push(match first {
                        Some(&rule) => {
                            reachable[rule] = true;
                            slots[rule]
                        }
                        None => row.otherwise,
                    });
                }
            }
        }
        Ok(More { cells, sources: sources.classes(), addresses: addresses.classes() })
    }
}

/// The class indexes of an opening: first and last.
fn indexes(opening: Opening) -> Indexes {
    match opening {
        Opening::Tcp(ports) => Indexes::Ports(class::TCP, ports),
        Opening::Udp(ports) => Indexes::Ports(class::UDP, ports),
        Opening::Icmp(kind) => Indexes::One(class::ICMP4 + usize::from(kind)),
        Opening::Icmpv6(kind) => Indexes::One(class::ICMP6 + usize::from(kind)),
        Opening::Protocol(number) => Indexes::One(class::PROTOCOL + usize::from(number)),
    }
}

/// Where an opening stands in the class table.
#[derive(Clone, Copy)]
enum Indexes {
    /// Ports of the transport whose part of the table begins here.
    Ports(usize, crate::requirement::PortRange),
    /// A single entry.
    One(usize),
}
