//! Openings -> claims: which rules stand behind each destination, most specific first.
//!
//! The destinations of all rules are cut into segments at whose every port the same rules apply; a
//! sweep over the segments costs the number of rules, not the number of ports.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_common::class;

use super::{Indexes, indexes};
use crate::{
    requirement::PortRange,
    ruleset::{Opening, Rule, Way},
};

/// Destinations at which the same rules apply.
pub(super) struct Claim {
    /// The rules, by their number, most specific first. Ends with the first that is not limited:
    /// those behind it can never be reached here.
    pub(super) rules: Vec<usize>,
    at: Indexes,
}

impl Claim {
    /// The class indexes of the destinations.
    pub(super) fn indexes(&self) -> impl Iterator<Item = usize> + use<> {
        let (base, ports, types) = match self.at {
            Indexes::Ports(base, ports) => (base, Some(ports.lo()..=ports.hi()), 0..0),
            Indexes::Types(first, count) => (0, None, first..first + count),
        };
        ports.into_iter().flatten().map(move |port| base + class::port_index(port)).chain(types)
    }
}

/// How specific an opening is: fewer ports first, then the order of the rules.
type Specificity = (u32, usize);

/// Every destination that some rule opens to packets of one way, cut into segments.
pub(super) fn claims(
    rules: &[Rule],
    way: Way,
    ether_types: &[u16],
    is_limited: impl Fn(usize) -> bool,
) -> Vec<Claim> {
    let mut ports: BTreeMap<usize, Vec<(PortRange, usize)>> = BTreeMap::new();
    let mut singles: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.way == way) {
        for opening in &rule.openings {
            // A frame without addresses is none that a limited rule admits.
            if matches!(opening, Opening::EtherType(_)) && is_limited(number) {
                continue;
            }
            match indexes(*opening, ether_types) {
                Indexes::Ports(base, range) => ports.entry(base).or_default().push((range, number)),
                Indexes::Types(first, count) => {
                    for index in first..first + count {
                        singles.entry(index).or_default().insert(number);
                    }
                }
            }
        }
    }
    let mut claims = Vec::new();
    for (base, openings) in ports {
        sweep(&openings, |range, active| {
            let rules = reachable(active.iter().map(|(_, rule)| *rule), &is_limited);
            claims.push(Claim { rules, at: Indexes::Ports(base, range) });
        });
    }
    for (index, rules) in singles {
        claims.push(Claim { rules: reachable(rules.into_iter(), &is_limited), at: Indexes::Types(index, 1) });
    }
    claims
}

/// Calls `visit` with each segment and the openings that cover all of it.
fn sweep(openings: &[(PortRange, usize)], mut visit: impl FnMut(PortRange, &BTreeSet<Specificity>)) {
    // At each edge: the openings that begin there and those that ended just before.
    let mut edges: BTreeMap<u32, (Vec<Specificity>, Vec<Specificity>)> = BTreeMap::new();
    for (range, rule) in openings {
        let specificity = (range.width(), *rule);
        edges.entry(range.lo().into()).or_default().0.push(specificity);
        edges.entry(u32::from(range.hi()) + 1).or_default().1.push(specificity);
    }
    // A rule may open the same ports twice with the same width; it then leaves twice.
    let mut count: BTreeMap<Specificity, u32> = BTreeMap::new();
    let mut active = BTreeSet::new();
    let mut start = 0;
    for (edge, (begin, end)) in edges {
        if !active.is_empty() {
            let (lo, hi) = (u16::try_from(start), u16::try_from(edge - 1));
            let range = lo.ok().zip(hi.ok()).and_then(|(lo, hi)| PortRange::new(lo, hi).ok());
            visit(range.expect("edges rise and end one behind the last port"), &active);
        }
        for specificity in begin {
            *count.entry(specificity).or_default() += 1;
            active.insert(specificity);
        }
        for specificity in end {
            let left = count.entry(specificity).or_default();
            *left -= 1;
            if *left == 0 {
                active.remove(&specificity);
            }
        }
        start = edge;
    }
}

/// The rules up to and with the first that is not limited, each once.
fn reachable(rules: impl Iterator<Item = usize>, is_limited: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut list = Vec::new();
    for rule in rules {
        if !list.contains(&rule) {
            list.push(rule);
        }
        if !is_limited(rule) {
            break;
        }
    }
    list
}
