//! Random rule sets: overlaps, duplicates, limits, and rules that can never match.

use std::net::IpAddr;

use ipnet::IpNet;
use portcullis::{
    requirement::PortRange,
    ruleset::{Opening, RuleSet, Way},
};

use super::{ETHER_TYPES, Random, address, kind, port, protocol};
use crate::rules;

/// A rule set of up to 16 rules, now and then of up to 200.
#[must_use]
pub fn rules(random: &mut Random) -> RuleSet {
    let most = if random.percent(5) { 200 } else { 16 };
    let count = random.below(most + 1);
    let mut set = RuleSet { rules: Vec::with_capacity(count) };
    for number in 0..count {
        let openings: Vec<Opening> = (0..=random.below(4)).map(|_| opening(random)).collect();
        let mut rule = rules::open(u32::try_from(number).unwrap_or(0), &openings);
        if random.percent(10) && number > 0 {
            let earlier = random.below(number);
            rule.openings.clone_from(&set.rules[earlier].openings);
        }
        if random.percent(40) {
            rule.sources = (0..=random.below(3)).map(|_| prefix(random)).collect();
        }
        if random.percent(25) {
            rule.address = Some(ip(random));
        }
        if random.percent(30) {
            rule.way = Way::Leaving;
            rule.destinations = std::mem::take(&mut rule.sources);
        } else if rule.address.is_none() && random.percent(10) {
            // As on a gateway.
            rule.destinations = vec![prefix(random)];
        }
        set.rules.push(rule);
    }
    set
}

/// The rules as an operator may change them: a few are gone, or one is limited otherwise, or all are others.
#[must_use]
pub fn changed(rules: &RuleSet, random: &mut Random) -> RuleSet {
    let mut set = rules.clone();
    if set.rules.is_empty() || random.percent(15) {
        return self::rules(random);
    }
    match random.below(3) {
        0 => {
            for _ in 0..=random.below(set.rules.len()) / 2 {
                let gone = random.below(set.rules.len());
                set.rules.remove(gone);
            }
        }
        1 => {
            let at = random.below(set.rules.len());
            let rule = &mut set.rules[at];
            let peers = if rule.way == Way::Arriving { &mut rule.sources } else { &mut rule.destinations };
            match peers.is_empty() {
                true => *peers = (0..=random.below(2)).map(|_| prefix(random)).collect(),
                false => peers.clear(),
            }
        }
        _ => {
            let at = random.below(set.rules.len());
            set.rules[at].openings = vec![opening(random)];
        }
    }
    set
}

fn opening(random: &mut Random) -> Opening {
    match random.below(14) {
        13 => Opening::Answers,
        12 => Opening::EtherType(random.of(ETHER_TYPES)),
        0 => Opening::Icmp(kind(random)),
        1 => Opening::Icmpv6(kind(random)),
        2 => Opening::Protocol(protocol(random)),
        3..=6 => Opening::Tcp(range(random)),
        7 | 8 => Opening::Sctp(range(random)),
        _ => Opening::Udp(range(random)),
    }
}

fn range(random: &mut Random) -> PortRange {
    let (one, other) = (port(random), port(random));
    match random.below(4) {
        0 => PortRange::new(one.min(other), one.max(other)).unwrap_or(PortRange::ALL),
        1 => PortRange::new(one, one.saturating_add(2)).unwrap_or(PortRange::ALL),
        _ => PortRange::single(one),
    }
}

fn ip(random: &mut Random) -> IpAddr {
    let v4 = random.percent(50);
    let bytes = address(random, v4);
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => v4.into(),
        Err(_) => <[u8; 16]>::try_from(bytes.as_slice()).map_or(IpAddr::V4([0; 4].into()), IpAddr::from),
    }
}

/// A prefix around one of the addresses, of any length; its host bits may be set.
fn prefix(random: &mut Random) -> IpNet {
    let ip = ip(random);
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let length = if random.percent(40) { longest - random.below(4) } else { random.below(longest + 1) };
    IpNet::new_assert(ip, u8::try_from(length).unwrap_or(0))
}
