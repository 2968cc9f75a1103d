//! Tables, looked up as the kernel does, against the reference model that scans the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use portcullis_common::{
    class,
    slot::{self, Reason, Slot, accepts},
    trie::{IS_CLASS, Step, V6_STEPS},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{CompileError, Compiled, compile, compile_into, trie};
use crate::{
    evaluate::{Evaluator, Verdict},
    policy::Settings,
    requirement::PortRange,
    ruleset::{Identity, Opening, Origin, Rule, RuleSet, Way},
    tables::{Tables, Tries},
};

const SETTINGS: Settings = Settings { dhcp: false, ..Settings::STANDARD };

fn rule(number: usize, openings: Vec<Opening>, sources: Vec<IpNet>, address: Option<IpAddr>) -> Rule {
    let origin = Origin::Policy { name: "test".into(), file: "test.toml".into(), line: 1 };
    Rule {
        identity: Identity(format!("rule-{number}")),
        origin,
        way: Way::Arriving,
        openings,
        sources,
        destinations: Vec::new(),
        address,
    }
}

/// Slots that are not in the order of the rules, so that a rule's number is never taken for its slot.
fn slots(rules: &RuleSet) -> Vec<Slot> {
    (slot::FIRST_RULE + 7..).take(rules.rules.len()).collect::<Vec<_>>().into_iter().rev().collect()
}

fn compiled(rules: &RuleSet) -> Compiled {
    compile(rules, &slots(rules)).expect("few rules fit")
}

/// What the kernel does with a class: it is the slot, or the row of a table.
fn look_up(tables: &Tables, index: usize, source: IpAddr, address: IpAddr) -> Slot {
    let class = tables.classes[index];
    if class & class::MORE == 0 {
        return class;
    }
    let more = &tables.more;
    let (source, address) = match (source, address) {
        (IpAddr::V4(source), IpAddr::V4(address)) => (
            class_of(&more.tries, more.sources.v4, source.into()),
            class_of(&more.tries, more.addresses.v4, address.into()),
        ),
        (IpAddr::V6(source), IpAddr::V6(address)) => (
            class_of(&more.tries, more.sources.v6, source.into()),
            class_of(&more.tries, more.addresses.v6, address.into()),
        ),
        _ => panic!("two versions of IP"),
    };
    let number = class & !class::MORE;
    let row = more.rows[usize::from(number)];
    let position = row.position(address * more.source_classes + source);
    row.slot(number, more.cells[position as usize])
}

/// The class that a trie gives an address.
fn class_of(tries: &Tries, trie: Option<u32>, address: IpAddr) -> u32 {
    let Some(trie) = trie else { return 0 };
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let (upper, lower) = ((bits >> 64) as u64, bits as u64);
    let mut entry = tries.entries[trie as usize + (upper >> 48) as usize];
    let mut rest = upper << 16;
    for _ in 0..=V6_STEPS {
        if entry & IS_CLASS != 0 {
            return entry & !IS_CLASS;
        }
        let node = tries.nodes[entry as usize];
        match node.step(rest) {
            Step::Class(class) => return class,
            Step::Entry(position) => entry = tries.entries[position as usize],
        }
        rest = node.rest(rest, lower);
    }
    panic!("a trie without an end");
}

/// A frame of a destination, and the destination's class index.
fn frame(opening: Opening, source: IpAddr, address: IpAddr) -> (usize, Vec<u8>) {
    let (index, protocol, start) = match opening {
        Opening::Tcp(ports) => (class::TCP + class::port_index(ports.lo()), 6, ports.lo().to_be_bytes()),
        Opening::Udp(ports) => (class::UDP + class::port_index(ports.lo()), 17, ports.lo().to_be_bytes()),
        Opening::Sctp(ports) => (class::SCTP + class::port_index(ports.lo()), 132, ports.lo().to_be_bytes()),
        Opening::Icmp(kind) => (class::ICMP4 + usize::from(kind), 1, [kind, 0]),
        Opening::Icmpv6(kind) => (class::ICMP6 + usize::from(kind), 58, [kind, 0]),
        // The type of an IGMP message is its first byte, here that of a source port.
        Opening::Protocol(2) if source.is_ipv4() => (class::IGMP, 2, [0, 0]),
        Opening::Protocol(number) => (class::PROTOCOL + usize::from(number), number, [0, 0]),
        Opening::EtherType(_) | Opening::Answers => panic!("nothing in the packet says so"),
    };
    // ICMP begins with its type, the others with the source port.
    let transport = if matches!(protocol, 1 | 58) { [start[0], 0, 0, 0] } else { [0, 9, start[0], start[1]] };
    let mut bytes = vec![0; 12];
    match (source, address) {
        (IpAddr::V4(source), IpAddr::V4(address)) => {
            bytes.extend([0x08, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0]);
            bytes.extend(source.octets());
            bytes.extend(address.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(address)) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, protocol, 255]);
            bytes.extend(source.octets());
            bytes.extend(address.octets());
        }
        _ => panic!("two versions of IP"),
    }
    bytes.extend(transport);
    // A SYN, whose flags are in the fourteenth byte; no other header has a meaning there.
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x02, 0, 0, 0, 0, 0, 0]);
    (index, bytes)
}

/// Sources and local addresses of one version each: those at the edges of the rules' prefixes.
fn places(rules: &RuleSet) -> Vec<(IpAddr, IpAddr)> {
    let mut sources: BTreeSet<IpAddr> =
        ["192.0.2.9", "2001:db8:9::9"].map(|text| text.parse().unwrap()).into();
    let mut addresses: BTreeSet<IpAddr> =
        ["203.0.113.9", "2001:db8::9"].map(|text| text.parse().unwrap()).into();
    for rule in &rules.rules {
        addresses.extend(rule.address);
        for net in &rule.sources {
            sources.extend([net.network(), net.broadcast()]);
        }
    }
    let pairs = sources.iter().flat_map(|&source| addresses.iter().map(move |&address| (source, address)));
    pairs.filter(|(source, address)| source.is_ipv4() == address.is_ipv4()).collect()
}

/// Every destination whose frames are judged by it, whichever version of IP carries it.
fn destinations(v4: bool) -> impl Iterator<Item = Opening> {
    let ports = (0..=u16::MAX).flat_map(|port| {
        let port = PortRange::single(port);
        [Opening::Tcp(port), Opening::Udp(port), Opening::Sctp(port)]
    });
    let types = (0..=u8::MAX).map(move |kind| if v4 { Opening::Icmp(kind) } else { Opening::Icmpv6(kind) });
    // The numbers that stand for another kind of destination, or for an extension header.
    let taken: &[u8] =
        if v4 { &[1, 6, 17, 132] } else { &[0, 6, 17, 43, 44, 51, 58, 60, 132, 135, 139, 140] };
    let protocols = (0..=u8::MAX).filter(|number| !taken.contains(number)).map(Opening::Protocol);
    ports.chain(types).chain(protocols)
}

/// Checks one destination for one pair of addresses; gives the rule that it is counted under.
fn check(
    compiled: &Compiled,
    rules: &RuleSet,
    model: &mut Evaluator<'_>,
    destination: Opening,
    (source, address): (IpAddr, IpAddr),
) -> Result<Option<usize>, TestCaseError> {
    let (index, frame) = frame(destination, source, address);
    let slot = look_up(&compiled.tables, index, source, address);
    let verdict = model.arriving(&frame, Duration::ZERO);
    let expected = match verdict {
        Verdict::Rule(number) => slots(rules)[number],
        Verdict::Reason(reason) => reason.slot(),
    };
    prop_assert_eq!(slot, expected, "{} from {} to {}: {:?}", destination, source, address, verdict);
    Ok(if let Verdict::Rule(number) = verdict { Some(number) } else { None })
}

/// Ports of few, so that ranges meet.
fn port() -> impl Strategy<Value = u16> {
    prop_oneof![8 => select(vec![0, 1, 2, 3, 4, 5, 6, 7, 65_534, 65_535]), 1 => any::<u16>()]
}

fn opening() -> impl Strategy<Value = Opening> {
    let range = (port(), port()).prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap());
    let range = prop_oneof![range, port().prop_map(PortRange::single)];
    prop_oneof![
        4 => range.clone().prop_map(Opening::Tcp),
        3 => range.clone().prop_map(Opening::Udp),
        2 => range.prop_map(Opening::Sctp),
        1 => select(vec![0, 3, 8, 13]).prop_map(Opening::Icmp),
        1 => select(vec![2, 128, 135, 143, 200]).prop_map(Opening::Icmpv6),
        1 => select(vec![2, 47, 50, 132]).prop_map(Opening::Protocol),
    ]
}

fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<[bool; 2]>(), 0..=32_u8).prop_map(|(bits, length)| {
        IpNet::new_assert([198, 51, 100, u8::from(bits[0]) | u8::from(bits[1]) << 7].into(), length)
    });
    let v6 = (any::<bool>(), 0..=128_u8).prop_map(|(bit, length)| {
        IpNet::new_assert([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(bit)].into(), length)
    });
    prop_oneof![v4, v6]
}

/// Prefixes of any length whose networks share many of their bits.
fn deep_prefix() -> impl Strategy<Value = IpNet> {
    let flipped = |bits: u32| (0..bits, 0..=bits).prop_map(|(bit, length)| (1_u128 << bit, length));
    let v4 = flipped(32).prop_map(|(flip, length)| {
        let bits = 0x0a01_0203 ^ u32::try_from(flip).expect("32 bits");
        IpNet::new_assert(Ipv4Addr::from_bits(bits).into(), u8::try_from(length).expect("at most 32")).trunc()
    });
    let v6 = flipped(128).prop_map(|(flip, length)| {
        let bits = 0x2001_0db8_0001_0002_0003_0004_0005_0006 ^ flip;
        IpNet::new_assert(Ipv6Addr::from_bits(bits).into(), u8::try_from(length).expect("at most 128"))
            .trunc()
    });
    prop_oneof![v4, v6]
}

/// An address and its neighbours.
fn beside(address: IpAddr) -> [IpAddr; 3] {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            [bits.wrapping_sub(1), bits, bits.wrapping_add(1)].map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [bits.wrapping_sub(1), bits, bits.wrapping_add(1)].map(|bits| Ipv6Addr::from_bits(bits).into())
        }
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    select(vec!["203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8::2"])
        .prop_map(|text| text.parse().unwrap())
}

/// Rules, limited or not.
fn rule_sets() -> impl Strategy<Value = RuleSet> {
    let limits =
        (prop_oneof![2 => Just(Vec::new()), 1 => vec(prefix(), 1..4)], option::weighted(0.25, address()));
    let rules = vec((vec(opening(), 1..4), limits), 0..10);
    rules.prop_map(|rules| RuleSet {
        rules: (0..)
            .zip(rules)
            .map(|(n, (openings, (sources, address)))| rule(n, openings, sources, address))
            .collect(),
    })
}

/// The same rules twice.
fn in_two_orders() -> impl Strategy<Value = (RuleSet, RuleSet)> {
    rule_sets().prop_flat_map(|rules| {
        let shuffled = Just(rules.rules.clone()).prop_shuffle().prop_map(|rules| RuleSet { rules });
        (Just(rules), shuffled)
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    // Few cases: each looks at all 196,608 ports, twice.
    #![proptest_config(cases(10))]

    #[test]
    fn tables_equal_the_rules_for_every_destination(rules in rule_sets()) {
        let compiled = compiled(&rules);
        let mut model = Evaluator::new(&rules, SETTINGS);
        let places = places(&rules);
        for v4 in [true, false] {
            let places: Vec<_> = places.iter().copied().filter(|(source, _)| source.is_ipv4() == v4).collect();
            for (destination, place) in destinations(v4).zip(places.iter().cycle()) {
                check(&compiled, &rules, &mut model, destination, *place)?;
            }
        }
    }
}

/// Whether an opening is one of few ports, or no port.
fn is_near_an_edge(opening: &Opening) -> bool {
    match opening {
        Opening::Tcp(ports) | Opening::Udp(ports) | Opening::Sctp(ports) => {
            matches!(ports.lo(), 0..10 | 65_533..)
        }
        Opening::Icmp(_) | Opening::Icmpv6(_) | Opening::Protocol(_) => true,
        Opening::EtherType(_) | Opening::Answers => false,
    }
}

/// Holds: policy 2.
#[test]
fn the_order_of_the_rules_never_changes_a_verdict() {
    proptest!(cases(10), |((rules, other) in in_two_orders())| {
        let (first, second) = (compiled(&rules), compiled(&other));
        for (source, address) in places(&rules) {
            for destination in destinations(source.is_ipv4()).filter(is_near_an_edge) {
                let (index, _) = frame(destination, source, address);
                let verdict = |compiled: &Compiled| accepts(look_up(&compiled.tables, index, source, address));
                prop_assert_eq!(verdict(&first), verdict(&second), "{} from {} to {}", destination, source, address);
            }
        }
    });
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn tables_equal_the_rules_for_every_source_and_address(rules in rule_sets()) {
        let compiled = compiled(&rules);
        let mut model = Evaluator::new(&rules, SETTINGS);
        let mut counted = vec![false; rules.rules.len()];
        for place in places(&rules) {
            for destination in destinations(place.0.is_ipv4()).filter(is_near_an_edge) {
                if let Some(number) = check(&compiled, &rules, &mut model, destination, place)? {
                    counted[number] = true;
                }
            }
        }
        for (number, (counted, reachable)) in counted.iter().zip(&compiled.reachable).enumerate() {
            prop_assert!(!counted || *reachable, "rule {} counts, but is said to be unreachable", number);
        }
    }

    #[test]
    fn a_rule_that_is_not_limited_is_reachable_exactly_if_it_counts(openings in vec(vec(opening(), 1..4), 0..10)) {
        let rules = (0..).zip(openings).map(|(n, openings)| rule(n, openings, Vec::new(), None));
        let rules = RuleSet { rules: rules.collect() };
        let compiled = compiled(&rules);
        let slots = slots(&rules);
        let used: BTreeSet<Slot> = compiled.tables.classes.iter().copied().collect();
        for (slot, reachable) in slots.iter().zip(&compiled.reachable) {
            prop_assert_eq!(used.contains(slot), *reachable);
        }
        prop_assert!(compiled.tables.more.rows.is_empty());
    }

    #[test]
    fn tries_give_the_class_of_the_longest_prefix(prefixes in vec(deep_prefix(), 1..40)) {
        let classes: BTreeMap<IpNet, u32> = (1..).zip(prefixes).map(|(class, net)| (net, class)).collect();
        for v4 in [true, false] {
            let own: Vec<_> = classes.iter().filter(|(net, _)| net.addr().is_ipv4() == v4).collect();
            let mut tries = Tries::default();
            let trie = trie::add(&mut tries, own.iter().map(|(net, class)| (*net, **class))).unwrap();
            let edges = own.iter().flat_map(|(net, _)| [net.network(), net.broadcast()]);
            for address in edges.flat_map(beside) {
                let covering = own.iter().filter(|(net, _)| net.contains(&address));
                let longest = covering.max_by_key(|(net, _)| net.prefix_len()).map_or(0, |(_, class)| **class);
                prop_assert_eq!(class_of(&tries, trie, address), longest, "{}", address);
            }
        }
    }

    #[test]
    fn one_more_rule_never_closes_anything(rules in rule_sets(), more in rule_sets()) {
        let before = compiled(&rules);
        let mut all = rules.clone();
        all.rules.extend(more.rules);
        let after = compiled(&all);
        for (source, address) in places(&all) {
            for index in (0..class::COUNT).step_by(251).chain(class::ICMP4..class::PROTOCOL + 0x100) {
                let open = accepts(look_up(&before.tables, index, source, address));
                prop_assert!(!open || accepts(look_up(&after.tables, index, source, address)), "{} {}", index, source);
            }
        }
    }

    #[test]
    fn equal_rules_give_equal_tables(rules in rule_sets()) {
        prop_assert_eq!(compiled(&rules), compiled(&rules.clone()));
    }
}

/// Holds: policy 5.
#[test]
fn the_more_specific_rule_shadows_the_wider_one() {
    let tcp = |lo, hi| vec![Opening::Tcp(PortRange::new(lo, hi).unwrap())];
    let cases = [
        ("equal ranges: the first", vec![tcp(5, 9), tcp(5, 9)], vec![true, false]),
        ("a wide range with room", vec![tcp(5, 9), tcp(6, 7)], vec![true, true]),
        ("a wide range in pieces", vec![tcp(5, 8), tcp(5, 6), tcp(7, 8)], vec![false, true, true]),
        ("all ports", vec![tcp(0, 65_535), tcp(65_535, 65_535), tcp(0, 0)], vec![true, true, true]),
        ("no opening", vec![Vec::new(), tcp(1, 1)], vec![false, true]),
    ];
    for (says, openings, reachable) in cases {
        let rules = (0..).zip(openings).map(|(n, openings)| rule(n, openings, Vec::new(), None));
        assert_eq!(compiled(&RuleSet { rules: rules.collect() }).reachable, reachable, "{says}");
    }
}

#[test]
fn an_empty_rule_set_is_the_deny_all_policy() {
    let none = compiled(&RuleSet { rules: Vec::new() });
    assert_eq!(none.tables, Tables::deny_all());
    assert_eq!(none.tables.classes[class::ICMP6 + 135], Reason::NeighbourDiscovery.slot());
}

/// `count` rules of two ports each, all limited by a source of their own if `limited`.
fn many(count: u16, limited: bool) -> RuleSet {
    let rules = (0..count).map(|n| {
        let source = IpNet::new_assert([10, n.to_be_bytes()[0], n.to_be_bytes()[1], 0].into(), 24);
        let port = PortRange::single(20_000 + n);
        let openings = vec![Opening::Tcp(port), Opening::Udp(port)];
        rule(n.into(), openings, if limited { vec![source] } else { Vec::new() }, None)
    });
    RuleSet { rules: rules.collect() }
}

#[test]
fn ten_times_the_rules_take_about_ten_times_as_long() {
    let time = |count| {
        let rules = many(count, false);
        let slots = slots(&rules);
        let start = Instant::now();
        compile(&rules, &slots).expect("ports are not limited");
        start.elapsed()
    };
    // In turns, so that both meet the same load of the machine.
    let rounds: Vec<(Duration, Duration)> = (0..5).map(|_| (time(1_000), time(10_000))).collect();
    let few = rounds.iter().map(|round| round.0).min().expect("five rounds");
    let many = rounds.iter().map(|round| round.1).min().expect("five rounds");
    println!("1,000 rules compile in {few:?}, 10,000 in {many:?}");
    // What grows with the square would take a hundred times as long.
    assert!(many < few * 40, "1,000 rules: {few:?}, 10,000 rules: {many:?}");
}

#[test]
fn thousands_of_ports_may_each_have_sources_of_their_own() {
    let rules = many(10_000, true);
    let compiled = compiled(&rules);
    assert!(compiled.reachable.iter().all(|reachable| *reachable));
    let more = &compiled.tables.more;
    assert_eq!((more.rows.len(), more.cells.len()), (10_000, 10_001), "a cell for each rule, and no gap");
}

#[test]
fn too_many_combinations_are_an_error() {
    let rules = many(100, true);
    // A cell for each port and source, and one for all other sources.
    assert!(compile_into(&rules, &slots(&rules), 101).is_ok());
    for room in [100, 50, 0] {
        let error = compile_into(&rules, &slots(&rules), room).unwrap_err();
        assert_eq!(error, CompileError::TooManyCombinations, "room for {room}");
    }
    // A rule that no packet can meet has no cell, but each column needs its place.
    let port = vec![Opening::Tcp(PortRange::single(1))];
    let v6 = vec!["2001:db8::/32".parse().unwrap()];
    let never = RuleSet { rules: vec![rule(0, port, v6, Some("203.0.113.1".parse().unwrap()))] };
    assert!(compile_into(&never, &slots(&never), 4).is_ok());
    let error = compile_into(&never, &slots(&never), 3).unwrap_err();
    assert_eq!(error, CompileError::TooManyCombinations);
}
