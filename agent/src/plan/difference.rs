//! Two lists of rules -> what opens and closes between them.
//!
//! Destinations are cut into segments at whose every port the same rules apply on both sides; a sweep
//! over the segments costs the number of rules, not the number of ports.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Change, ChangeKind, Whole, networks::Networks};
use crate::ruleset::{Opening, Rule};

/// What kind of destination a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmpv6,
    Protocol,
    EtherType,
    Answers,
}

impl Kind {
    /// Destinations as [`Opening`] writes them.
    fn what(self, lo: u16, hi: u16) -> String {
        let prefix = match self {
            Self::Tcp => "tcp/",
            Self::Udp => "udp/",
            Self::Sctp => "sctp/",
            Self::Icmp => "icmp/",
            Self::Icmpv6 => "icmpv6/",
            Self::Protocol => "ip",
            Self::EtherType => "ethertype/",
            Self::Answers => return Opening::Answers.to_string(),
        };
        let number = |number: u16| match self {
            Self::EtherType => format!("{number:#06x}"),
            _ => number.to_string(),
        };
        let last = if lo == hi { String::new() } else { format!("-{}", number(hi)) };
        format!("{prefix}{}{last}", number(lo))
    }
}

/// A rule where it opens something: fewer ports first, then the order of the rules, as packets are
/// counted.
type Holder = (u32, usize);

/// What opens and closes at one segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Part {
    change: ChangeKind,
    rule: usize,
    networks: Option<Vec<IpNet>>,
    /// All networks before and after, where something was open before and something is afterwards.
    whole: Option<(Vec<IpNet>, Vec<IpNet>)>,
    address: Option<IpAddr>,
    except: Vec<IpAddr>,
}

/// The end of a packet by which the rules are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

impl End {
    /// The networks that a rule is limited to at this end.
    fn of(self, rule: &Rule) -> &[IpNet] {
        match self {
            Self::Source => &rule.sources,
            Self::Destination => &rule.destinations,
        }
    }
}

/// Destinations at whose every port the same rules apply, on each side.
struct Segment {
    kind: Kind,
    lo: u16,
    hi: u16,
    before: Vec<Holder>,
    after: Vec<Holder>,
}

/// What opens, then what closes, each in the order of the rules, which are all for packets of the same way.
///
/// They are compared by their sources; where some name destinations, by those, and only with rules that have
/// the same sources.
pub(super) fn changes<'a>(old: &[&'a Rule], new: &[&'a Rule]) -> Vec<Change> {
    if old.iter().chain(new).all(|rule| rule.destinations.is_empty()) {
        return changes_by(End::Source, old, new);
    }
    let sources: BTreeSet<&[IpNet]> = old.iter().chain(new).map(|rule| rule.sources.as_slice()).collect();
    let mut changes: Vec<Change> = sources
        .into_iter()
        .flat_map(|sources| {
            let of = |rules: &[&'a Rule]| -> Vec<&'a Rule> {
                rules.iter().copied().filter(|rule| rule.sources == sources).collect()
            };
            changes_by(End::Destination, &of(old), &of(new))
        })
        .collect();
    changes.sort_by_key(|change| change.change);
    changes
}

fn changes_by(end: End, old: &[&Rule], new: &[&Rule]) -> Vec<Change> {
    let mut ranges: HashMap<Part, BTreeMap<Kind, Vec<(u16, u16)>>> = HashMap::new();
    for Segment { kind, lo, hi, before, after } in segments(end, old, new) {
        for part in parts(end, old, new, &before, &after) {
            let list = ranges.entry(part).or_default().entry(kind).or_default();
            match list.last_mut() {
                Some((_, end)) if u32::from(*end) + 1 == u32::from(lo) => *end = hi,
                _ => list.push((lo, hi)),
            }
        }
    }
    let mut parts: Vec<_> = ranges.into_iter().collect();
    parts.sort_by(|(a, _), (b, _)| {
        (a.change, a.rule, a.address, &a.networks).cmp(&(b.change, b.rule, b.address, &b.networks))
    });
    let mut changes = Vec::new();
    for (part, kinds) in parts {
        let rule = if part.change == ChangeKind::Closes { old[part.rule] } else { new[part.rule] };
        for (kind, ranges) in kinds {
            changes.extend(ranges.into_iter().map(|range| change(end, rule, &part, kind, range)));
        }
    }
    changes
}

fn change(end: End, rule: &Rule, part: &Part, kind: Kind, (lo, hi): (u16, u16)) -> Change {
    let told = rule.origin.told();
    let own = |end: End| (!end.of(rule).is_empty()).then(|| end.of(rule).to_vec());
    let (sources, destinations) = match end {
        End::Source => (part.networks.clone(), own(End::Destination)),
        End::Destination => (own(End::Source), part.networks.clone()),
    };
    Change {
        change: part.change,
        direction: rule.way,
        what: kind.what(lo, hi),
        sources,
        destinations,
        whole: part.whole.clone().map(|(before, after)| Whole { before, after }),
        address: part.address,
        except: part.except.clone(),
        rule: rule.identity.to_string(),
        role: told.role,
        service: told.service.to_owned(),
        document: told.document.to_owned(),
        line: told.line,
    }
}

/// The segments at which the rules of the two sides are not the same ones, with both, in ascending
/// order.
fn segments(end: End, old: &[&Rule], new: &[&Rule]) -> Vec<Segment> {
    /// Where a rule begins or ends to hold: side, holder.
    #[derive(Default)]
    struct Turn {
        begin: Vec<(bool, Holder)>,
        end: Vec<(bool, Holder)>,
    }
    let mut turns: BTreeMap<(Kind, u32), Turn> = BTreeMap::new();
    for (is_new, rules) in [(false, old), (true, new)] {
        for (number, rule) in rules.iter().enumerate() {
            for opening in &rule.openings {
                let (kind, lo, hi) = range(*opening);
                let holder = (is_new, (u32::from(hi - lo), number));
                turns.entry((kind, lo.into())).or_default().begin.push(holder);
                turns.entry((kind, u32::from(hi) + 1)).or_default().end.push(holder);
            }
        }
    }
    let mut segments = Vec::new();
    // Two openings of a rule may overlap, so holders are counted.
    let mut open: [BTreeMap<Holder, usize>; 2] = Default::default();
    let mut turns = turns.into_iter().peekable();
    while let Some(((kind, at), turn)) = turns.next() {
        for (is_new, holder) in turn.begin {
            *open[usize::from(is_new)].entry(holder).or_default() += 1;
        }
        for (is_new, holder) in turn.end {
            let side = &mut open[usize::from(is_new)];
            if let Some(count) = side.get_mut(&holder) {
                *count -= 1;
                if *count == 0 {
                    side.remove(&holder);
                }
            }
        }
        let Some(((_, next), _)) = turns.peek().filter(|((other, _), _)| *other == kind) else { continue };
        let holders = |side: usize| open[side].keys().copied().collect::<Vec<_>>();
        let (before, after) = (holders(0), holders(1));
        let limits = |rules: &[&Rule], holders: &[Holder]| -> BTreeSet<(Option<IpAddr>, Vec<IpNet>)> {
            holders.iter().map(|(_, rule)| (rules[*rule].address, end.of(rules[*rule]).to_vec())).collect()
        };
        if limits(old, &before) != limits(new, &after) {
            let port = |number: u32| u16::try_from(number).expect("segments lie below 65,536");
            segments.push(Segment { kind, lo: port(at), hi: port(next - 1), before, after });
        }
    }
    segments
}

fn range(opening: Opening) -> (Kind, u16, u16) {
    match opening {
        Opening::Tcp(ports) => (Kind::Tcp, ports.lo(), ports.hi()),
        Opening::Udp(ports) => (Kind::Udp, ports.lo(), ports.hi()),
        Opening::Sctp(ports) => (Kind::Sctp, ports.lo(), ports.hi()),
        Opening::Icmp(kind) => (Kind::Icmp, kind.into(), kind.into()),
        Opening::Icmpv6(kind) => (Kind::Icmpv6, kind.into(), kind.into()),
        Opening::Protocol(number) => (Kind::Protocol, number.into(), number.into()),
        Opening::EtherType(number) => (Kind::EtherType, number, number),
        Opening::Answers => (Kind::Answers, 0, 0),
    }
}

/// What changes at a local address, by rule; and for whom it is open there before and after.
type At = (Vec<(usize, Networks)>, [Networks; 2]);

/// What opens and closes at a segment that these rules hold.
fn parts(end: End, old: &[&Rule], new: &[&Rule], before: &[Holder], after: &[Holder]) -> Vec<Part> {
    let named: BTreeSet<IpAddr> = (before.iter().filter_map(|(_, rule)| old[*rule].address))
        .chain(after.iter().filter_map(|(_, rule)| new[*rule].address))
        .collect();
    let mut parts = Vec::new();
    for (change, rules, holders, others, other_holders) in
        [(ChangeKind::Opens, new, after, old, before), (ChangeKind::Closes, old, before, new, after)]
    {
        // What changes at a local address, by rule; `None` stands for those that no rule names.
        let at = |address: Option<IpAddr>| -> At {
            let mut rest = Networks::default();
            let mut other = Networks::default();
            for rule in applying(rules, holders, address) {
                rest = rest.union(&Networks::of_rule(end.of(rules[rule])));
            }
            let own = rest.clone();
            for rule in applying(others, other_holders, address) {
                other = other.union(&Networks::of_rule(end.of(others[rule])));
            }
            rest = rest.without(&other);
            let mut changed = Vec::new();
            for rule in applying(rules, holders, address) {
                let own = Networks::of_rule(end.of(rules[rule])).common(&rest);
                if !own.is_empty() {
                    rest = rest.without(&own);
                    changed.push((rule, own));
                }
            }
            (changed, if change == ChangeKind::Opens { [other, own] } else { [own, other] })
        };
        let elsewhere = at(None);
        let special: Vec<(IpAddr, At)> = named
            .iter()
            .map(|address| (*address, at(Some(*address))))
            .filter(|(_, (changed, _))| *changed != elsewhere.0)
            .collect();
        let except: Vec<IpAddr> = special.iter().map(|(address, _)| *address).collect();
        let mut add = |(changed, [before, after]): At, address, except: &[IpAddr]| {
            let is_both = !before.is_empty() && !after.is_empty();
            let whole = is_both.then(|| (before.all(), after.all()));
            parts.extend(changed.into_iter().map(|(rule, networks)| Part {
                change,
                rule,
                networks: networks.list(),
                whole: whole.clone(),
                address,
                except: except.to_vec(),
            }));
        };
        add(elsewhere, None, &except);
        for (address, changed) in special {
            add(changed, Some(address), &[]);
        }
    }
    parts
}

/// The rules that apply to a local address, narrowest first.
fn applying<'a>(
    rules: &'a [&Rule],
    holders: &'a [Holder],
    address: Option<IpAddr>,
) -> impl Iterator<Item = usize> + 'a {
    let applies = move |rule: &usize| rules[*rule].address.is_none() || rules[*rule].address == address;
    holders.iter().map(|(_, rule)| *rule).filter(applies)
}
