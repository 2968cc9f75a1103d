//! What opens and closes, case by case. Rules are written as `name: openings [from networks] [at
//! address]`.

use crate::{
    requirement::PortRange,
    ruleset::{Identity, Opening, Origin, Rule, Way},
};

use super::{ChangeKind, difference};

fn rule(text: &str) -> Rule {
    let (name, rest) = text.split_once(": ").expect("a name");
    let (rest, address) = rest.split_once(" at ").map_or((rest, None), |(rest, at)| (rest, Some(at)));
    let (openings, sources) = rest.split_once(" from ").unwrap_or((rest, ""));
    let opening = |word: &str| {
        let Some((kind, value)) = word.split_once('/') else {
            return Opening::Protocol(
                word.strip_prefix("ip").expect("a protocol").parse().expect("a number"),
            );
        };
        let ports = || {
            let (lo, hi) = value.split_once('-').unwrap_or((value, value));
            PortRange::new(lo.parse().expect("a port"), hi.parse().expect("a port")).expect("a range")
        };
        match kind {
            "tcp" => Opening::Tcp(ports()),
            "udp" => Opening::Udp(ports()),
            "sctp" => Opening::Sctp(ports()),
            "icmp" => Opening::Icmp(value.parse().expect("a type")),
            "ethertype" => {
                let digits = value.strip_prefix("0x").expect("hexadecimal digits");
                Opening::EtherType(u16::from_str_radix(digits, 16).expect("an EtherType"))
            }
            other => panic!("unknown: {other}"),
        }
    };
    Rule {
        identity: Identity(name.to_owned()),
        origin: Origin::Policy { name: name.to_owned(), file: "policy.toml".to_owned(), line: 1 },
        way: Way::Arriving,
        openings: openings.split(' ').map(opening).collect(),
        sources: sources.split_whitespace().map(|net| net.parse().expect("a network")).collect(),
        destinations: Vec::new(),
        address: address.map(|address| address.parse().expect("an address")),
    }
}

/// The changes as text: `+` opens, `-` closes.
fn told(old: &[&str], new: &[&str]) -> Vec<String> {
    let (old, new): (Vec<Rule>, Vec<Rule>) =
        (old.iter().map(|text| rule(text)).collect(), new.iter().map(|text| rule(text)).collect());
    let changes = difference::changes(&old.iter().collect::<Vec<_>>(), &new.iter().collect::<Vec<_>>());
    let line = |change: &super::Change| {
        let sign = if change.change == ChangeKind::Closes { '-' } else { '+' };
        let mut text = format!("{sign} {} {}", change.rule, change.what);
        for network in change.sources.iter().flatten() {
            text.push_str(&format!(" {network}"));
        }
        if let Some(address) = change.address {
            text.push_str(&format!(" at {address}"));
        }
        for address in &change.except {
            text.push_str(&format!(" except {address}"));
        }
        text
    };
    changes.iter().map(line).collect()
}

#[test]
fn what_opens_and_closes() {
    type Case = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);
    let cases: &[Case] = &[
        // Nothing changes: equal, moved, renamed, split.
        (&["a: tcp/443"], &["a: tcp/443"], &[]),
        (&["a: tcp/443", "b: udp/53"], &["b: udp/53", "a: tcp/443"], &[]),
        (&["a: tcp/443"], &["b: tcp/443"], &[]),
        (&["a: tcp/10-20"], &["b: tcp/10-15", "c: tcp/16-20"], &[]),
        (&["a: tcp/1-100"], &["a: tcp/1-100", "b: tcp/50"], &[]),
        (&["a: tcp/5 from 10.0.0.0/8"], &["b: tcp/5 from 10.0.0.0/9 10.128.0.0/9"], &[]),
        // Whole rules.
        (&[], &["a: tcp/443 udp/443"], &["+ a tcp/443", "+ a udp/443"]),
        (&["a: icmp/8 ip47"], &[], &["- a icmp/8", "- a ip47"]),
        (&["a: tcp/0-65535"], &[], &["- a tcp/0-65535"]),
        // Parts of ranges, merged again.
        (&["a: tcp/10-20"], &["a: tcp/15-30"], &["+ a tcp/21-30", "- a tcp/10-14"]),
        (&["a: tcp/10-20"], &["b: tcp/14"], &["- a tcp/10-13", "- a tcp/15-20"]),
        (
            &["b: tcp/14"],
            &["a: tcp/10-20", "c: tcp/12-16"],
            &["+ a tcp/10-11", "+ a tcp/17-20", "+ c tcp/12-13", "+ c tcp/15-16"],
        ),
        // The narrowest rule is the one that will count.
        (
            &[],
            &["wide: tcp/1-100", "narrow: tcp/50"],
            &["+ wide tcp/1-49", "+ wide tcp/51-100", "+ narrow tcp/50"],
        ),
        // Sources.
        (
            &["a: tcp/22 from 10.0.0.0/8"],
            &["a: tcp/22 from 10.0.0.0/9 192.0.2.0/24"],
            &["+ a tcp/22 192.0.2.0/24", "- a tcp/22 10.128.0.0/9"],
        ),
        (
            &["a: tcp/22 from 2001:db8::/32"],
            &["a: tcp/22"],
            &[
                "+ a tcp/22 0.0.0.0/0 ::/3 2000::/16 2001::/21 2001:800::/22 2001:c00::/24 2001:d00::/25 2001:d80::/27 \
             2001:da0::/28 2001:db0::/29 2001:db9::/32 2001:dba::/31 2001:dbc::/30 2001:dc0::/26 2001:e00::/23 \
             2001:1000::/20 2001:2000::/19 2001:4000::/18 2001:8000::/17 2002::/15 2004::/14 2008::/13 2010::/12 \
             2020::/11 2040::/10 2080::/9 2100::/8 2200::/7 2400::/6 2800::/5 3000::/4 4000::/2 8000::/1",
            ],
        ),
        // SCTP has ports of its own.
        (&["a: udp/36412 sctp/36412-36422"], &["a: udp/36412 sctp/36412"], &["- a sctp/36413-36422"]),
        (&["a: tcp/36412"], &["a: sctp/36412"], &["+ a sctp/36412", "- a tcp/36412"]),
        // EtherTypes, by the digits that standards have.
        (
            &["a: ethertype/0x88f7"],
            &["a: ethertype/0x8892 ethertype/0x0842"],
            &["+ a ethertype/0x0842", "+ a ethertype/0x8892", "- a ethertype/0x88f7"],
        ),
        // Local addresses.
        (
            &["a: tcp/80 at 203.0.113.1"],
            &["a: tcp/80 at 203.0.113.2"],
            &["+ a tcp/80 at 203.0.113.2", "- a tcp/80 at 203.0.113.1"],
        ),
        (&["a: tcp/80 at 203.0.113.1"], &["a: tcp/80"], &["+ a tcp/80 except 203.0.113.1"]),
        (&["a: tcp/80"], &["a: tcp/80", "b: tcp/80 at 203.0.113.1"], &[]),
    ];
    for (old, new, expected) in cases {
        assert_eq!(told(old, new), *expected, "{old:?} -> {new:?}");
    }
}

proptest::proptest! {
    /// Port by port and source by source: a change is told exactly where the two sides differ.
    #[test]
    fn every_difference_is_told_and_nothing_else(
        old in proptest::collection::vec(any_rule(), 0..5),
        new in proptest::collection::vec(any_rule(), 0..5),
    ) {
        let refs = |rules: &[Rule]| -> Vec<Rule> { rules.to_vec() };
        let (old, new) = (refs(&old), refs(&new));
        let changes = difference::changes(&old.iter().collect::<Vec<_>>(), &new.iter().collect::<Vec<_>>());
        for port in 0..20_u16 {
            for source in ["10.0.0.1", "10.0.1.1", "192.0.2.1", "2001:db8::1"] {
                for local in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
                    let source = source.parse().expect("an address");
                    let local = local.parse().expect("an address");
                    let is_open = |rules: &[Rule]| rules.iter().any(|rule| admits(rule, port, source, local));
                    let expected = match (is_open(&old), is_open(&new)) {
                        (false, true) => Some(ChangeKind::Opens),
                        (true, false) => Some(ChangeKind::Closes),
                        _ => None,
                    };
                    let hits: Vec<ChangeKind> = changes
                        .iter()
                        .filter(|change| concerns(change, port, source, local))
                        .map(|change| change.change)
                        .collect();
                    proptest::prop_assert_eq!(hits, expected.into_iter().collect::<Vec<_>>());
                }
            }
        }
    }
}

fn any_rule() -> impl proptest::strategy::Strategy<Value = Rule> {
    use proptest::prelude::*;
    let sources = proptest::sample::subsequence(vec!["10.0.0.0/24", "10.0.0.0/16", "2001:db8::/64"], 0..3);
    let address = proptest::option::of(proptest::sample::select(vec!["203.0.113.1", "203.0.113.2"]));
    (0..16_u16, 0..4_u16, 0..1000_u32, sources, address).prop_map(|(lo, width, name, sources, address)| {
        let from = if sources.is_empty() { String::new() } else { format!(" from {}", sources.join(" ")) };
        let at = address.map(|address| format!(" at {address}")).unwrap_or_default();
        rule(&format!("rule-{name}: tcp/{lo}-{}{from}{at}", lo + width))
    })
}

fn admits(rule: &Rule, port: u16, source: std::net::IpAddr, local: std::net::IpAddr) -> bool {
    let holds = |opening: &Opening| matches!(opening, Opening::Tcp(ports) if ports.lo() <= port && port <= ports.hi());
    rule.openings.iter().any(holds)
        && (rule.sources.is_empty() || rule.sources.iter().any(|net| net.contains(&source)))
        && rule.address.is_none_or(|address| address == local)
}

fn concerns(change: &super::Change, port: u16, source: std::net::IpAddr, local: std::net::IpAddr) -> bool {
    let ports = change.what.strip_prefix("tcp/").expect("only TCP");
    let (lo, hi) = ports.split_once('-').unwrap_or((ports, ports));
    let (lo, hi): (u16, u16) = (lo.parse().expect("a port"), hi.parse().expect("a port"));
    lo <= port
        && port <= hi
        && change.sources.as_ref().is_none_or(|list| list.iter().any(|net| net.contains(&source)))
        && change.address.is_none_or(|address| address == local)
        && !change.except.contains(&local)
}
