//! Findings: what an operator should know of a policy that is valid.
//!
//! Policy and catalog go in, findings come out; nothing here looks at the machine, and what depends on the host
//! ([`of_host`], [`unjudged`]) is given what was seen there. A finding never stops a policy from being applied.

mod groups;
mod limits;
mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use portcullis_common::slot::{FIRST_RULE, Slot};
use serde::Serialize;

pub use self::groups::{drops_vrrp, of_host};
use self::limits::{Cancelled, End};
pub use self::links::unjudged;
use crate::{
    catalog::Catalog,
    compile::{CompileError, compile},
    policy::{Deployment, Enforcement, InterfacePolicy, Place, Policy, protocol_name},
    requirement::{Direction, PortRange},
    ruleset::{Opening, Origin, Rule, RuleSet, Silence, Way, rule_set},
};

/// A row that opens this many ports or more is worth a word.
const WIDE: u32 = 1024;
/// The port whose absence locks most operators out.
const SSH: u16 = 22;
/// The port without which nothing is found by name.
const DNS: u16 = 53;

/// Something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Interface.
    pub interface: String,
    /// Where the policy speaks of it.
    pub place: Place,
    /// A name for programs to go by.
    pub kind: Kind,
    /// The sentence.
    pub message: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Probably not what was meant.
    Warning,
    /// Good to know.
    Note,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A rule opens a large part of all ports.
    Wide,
    /// What a rule is limited to, another one opens to anybody.
    Unlimited,
    /// Every packet that a rule accepts is counted under a narrower one.
    NeverMatches,
    /// Nothing opens the port that operators come in by.
    NoSsh,
    /// The interface lets nothing in.
    Empty,
    /// Documented rows open nothing.
    OpensNothing,
    /// A document limits a row to peers that the policy does not name.
    AnySource,
    /// Leaving packets are judged, and nothing lets this host ask for names.
    NoDns,
    /// This host has joined groups whose traffic no rule admits.
    Groups,
    /// This host speaks VRRP, and no rule lets it in or out.
    Vrrp,
    /// Packets of an interface that is here cannot be judged.
    Unjudged,
}

/// What to know of a policy, interface by interface, warnings first.
///
/// # Errors
///
/// Where an interface's rules do not fit into tables; then they cannot be applied either.
pub fn findings(policy: &Policy, catalog: &Catalog) -> Result<Vec<Finding>, CompileError> {
    let mut all = Vec::new();
    for interface in &policy.interfaces {
        let (rules, silent) = rule_set(&policy.file, interface, catalog);
        let mut finder = Finder { interface, found: Vec::new() };
        finder.wide(&rules);
        finder.unlimited(&rules);
        finder.never_matching(&rules)?;
        finder.entrance(&rules);
        finder.any_source(catalog);
        finder.exit(&rules);
        let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut unread: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        for row in &silent {
            let at = format!("{}:{}", row.origin.document, row.origin.line);
            let reason = match row.why {
                Silence::Outbound => "are outbound: the role itself connects, and replies come back by flow",
                Silence::Inbound => {
                    "are inbound: others connect to the role, whose clients are behind this gateway"
                }
                Silence::NoPort => "name no port that could be opened (dynamic, or stated elsewhere)",
                Silence::NoProtocol => "name no protocol",
                Silence::UnreadPorts(number) => {
                    unread.entry(number).or_default().push(at);
                    continue;
                }
            };
            reasons.entry(reason).or_default().push(at);
        }
        for (number, rows) in unread {
            let (name, rows) = (protocol_name(number), rows.join(", "));
            let how =
                if matches!(number, 1 | 58) { "with `types`" } else { "opens all of it, whatever the port" };
            let message = format!(
                "rows that open nothing of `{name}`: {rows} name ports, which are read of TCP, UDP and SCTP alone; \
                 where it is needed, add an `[[interface.allow]]` by hand: `protocol = \"{name}\"` {how}"
            );
            finder.add(Severity::Warning, interface.place, Kind::OpensNothing, message);
        }
        for (reason, rows) in reasons {
            let severity = if reason.starts_with("are ") { Severity::Note } else { Severity::Warning };
            finder.add(
                severity,
                interface.place,
                Kind::OpensNothing,
                format!("rows that open nothing: {} {reason}", rows.join(", ")),
            );
        }
        finder.found.sort_by_key(|finding| finding.severity);
        all.append(&mut finder.found);
    }
    Ok(all)
}

struct Finder<'a> {
    interface: &'a InterfacePolicy,
    found: Vec<Finding>,
}

impl Finder<'_> {
    fn add(&mut self, severity: Severity, place: Place, kind: Kind, message: String) {
        let interface = self.interface.name.clone();
        self.found.push(Finding { severity, interface, place, kind, message });
    }

    /// Where the policy brings a rule in.
    fn place(&self, rule: &Rule) -> Place {
        match &rule.origin {
            Origin::Policy { name, .. } => {
                let allow = self.interface.allows.iter().find(|allow| &allow.name == name);
                allow.map_or(self.interface.place, |allow| allow.place)
            }
            Origin::Document(origin) => {
                let own = |role: &str| role.rsplit('/').next() == Some(origin.role.as_str());
                let bindings = &self.interface.bindings;
                let binding = bindings.iter().find(|binding| own(&binding.role)).or_else(|| bindings.first());
                binding.map_or(self.interface.place, |binding| binding.place)
            }
        }
    }

    fn wide(&mut self, rules: &RuleSet) {
        for rule in &rules.rules {
            // TCP and UDP ports of one row are told once, as documents do.
            let ranges: BTreeSet<PortRange> = rule.openings.iter().copied().filter_map(ports).collect();
            let width: u32 = ranges.iter().map(|range| range.width()).sum();
            if width >= WIDE && rule.sources.is_empty() && rule.way == Way::Arriving {
                let message = format!(
                    "{} opens {} ports to any source: {}",
                    rule.origin,
                    thousands(width),
                    listed(&rule.openings)
                );
                self.add(Severity::Warning, self.place(rule), Kind::Wide, message);
            }
        }
    }

    /// Limits that keep nobody out: all rules accept, and another one opens the same without the limit.
    fn unlimited(&mut self, rules: &RuleSet) {
        for Cancelled { rule, end, by } in limits::cancelled(rules) {
            let what: BTreeSet<String> =
                by.iter().flat_map(|(_, openings)| openings).map(Opening::to_string).collect();
            let what = what.into_iter().collect::<Vec<_>>().join(", ");
            let (is_so, key) = match end {
                End::From => ("is open to anybody", "from"),
                End::To => ("may go anywhere", "to"),
            };
            let at = match by.as_slice() {
                [(other, _)] if rule.address.is_none() => other.address,
                _ => None,
            };
            let at = at.map(|address| format!(" at {address}")).unwrap_or_default();
            let whose = match &rule.origin {
                Origin::Policy { name, .. } => format!("the `{key}` of `{name}`"),
                origin @ Origin::Document(_) => format!("the limit of {origin}"),
            };
            let others: BTreeSet<String> = by
                .iter()
                .map(|(other, _)| match &other.origin {
                    Origin::Policy { name, line, .. } => format!("`{name}` (line {line})"),
                    origin @ Origin::Document(_) => origin.to_string(),
                })
                .collect();
            let (verb, others) = (
                if others.len() == 1 { "opens" } else { "open" },
                others.into_iter().collect::<Vec<_>>().join(", "),
            );
            let message = format!("{what} {is_so}{at}, whatever {whose} says: {others} {verb} it too");
            self.add(Severity::Warning, self.place(rule), Kind::Unlimited, message);
        }
    }

    fn never_matching(&mut self, rules: &RuleSet) -> Result<(), CompileError> {
        let slots: Vec<Slot> = (FIRST_RULE..).take(rules.rules.len()).collect();
        let compiled = compile(rules, &slots)?;
        for (rule, _) in rules.rules.iter().zip(&compiled.reachable).filter(|(_, reachable)| !**reachable) {
            let by: BTreeSet<String> = rules
                .rules
                .iter()
                .filter(|other| other.identity != rule.identity && overlaps(other, rule))
                .map(|other| other.origin.to_string())
                .collect();
            let by: Vec<String> = by.into_iter().collect();
            let message = format!(
                "{} never counts: {} is opened by narrower or earlier rows as well ({})",
                rule.origin,
                listed(&rule.openings),
                by.join(", ")
            );
            self.add(Severity::Note, self.place(rule), Kind::NeverMatches, message);
        }
        Ok(())
    }

    fn entrance(&mut self, rules: &RuleSet) {
        let place = self.interface.place;
        let arriving = || rules.rules.iter().filter(|rule| rule.way == Way::Arriving);
        if arriving().next().is_none() {
            let message = "the interface lets nothing in: no role and no allow opens a port".to_owned();
            self.add(Severity::Warning, place, Kind::Empty, message);
            return;
        }
        let opens_ssh = |opening: &Opening| matches!(opening, Opening::Tcp(ports) if ports.contains(SSH));
        let enforced = self.interface.settings.mode == Enforcement::Enforce;
        if enforced && !arriving().any(|rule| rule.openings.iter().any(opens_ssh)) {
            let message = "nothing opens tcp/22: an SSH session through this interface would be cut; \
                           add an `[[interface.allow]]` for it, or ignore this if you come in another way";
            self.add(Severity::Warning, place, Kind::NoSsh, message.to_owned());
        }
    }

    fn exit(&mut self, rules: &RuleSet) {
        let opens_dns = |opening: &Opening| matches!(opening, Opening::Udp(ports) if ports.contains(DNS));
        let has_dns =
            rules.rules.iter().any(|rule| rule.way == Way::Leaving && rule.openings.iter().any(opens_dns));
        if self.interface.settings.outbound == Some(Enforcement::Enforce) && !has_dns {
            let message = "leaving packets are judged, and nothing lets udp/53 out: this host could not ask for \
                           names; add an `[[interface.allow]]` with `direction = \"out\"`, also for the time \
                           (udp/123) and whatever else no document covers, or ignore this if it needs none";
            self.add(Severity::Warning, self.interface.place, Kind::NoDns, message.to_owned());
        }
    }

    fn any_source(&mut self, catalog: &Catalog) {
        for binding in &self.interface.bindings {
            let Ok(role) = catalog.role(&binding.role) else { continue };
            let mut rows: BTreeMap<(String, Option<String>), Vec<u32>> = BTreeMap::new();
            for row in role.requirements() {
                let source = &row.requirement.source;
                let peer = row.source_peer().map(str::to_owned);
                let filled = peer.as_ref().is_some_and(|peer| binding.peers.contains_key(peer));
                let inbound = row.requirement.direction != Direction::Outbound
                    && self.interface.settings.deployment == Deployment::Host;
                if inbound && !source.is_empty() && !filled {
                    rows.entry((source.clone(), peer)).or_default().push(row.requirement.line);
                }
            }
            for ((source, peer), lines) in rows {
                let lines: Vec<String> = lines.iter().map(u32::to_string).collect();
                let hint = peer
                    .map(|peer| format!("; `[peers] {peer} = [\"…\"]` would limit them"))
                    .unwrap_or_default();
                let message = format!(
                    "{}: lines {} are documented for the source `{source}`, and apply to any source{hint}",
                    binding.role,
                    lines.join(", ")
                );
                self.add(Severity::Note, binding.place, Kind::AnySource, message);
            }
        }
    }
}

fn ports(opening: Opening) -> Option<PortRange> {
    match opening {
        Opening::Tcp(ports) | Opening::Udp(ports) | Opening::Sctp(ports) => Some(ports),
        Opening::Icmp(_)
        | Opening::Icmpv6(_)
        | Opening::Protocol(_)
        | Opening::EtherType(_)
        | Opening::Answers => None,
    }
}

fn overlaps(a: &Rule, b: &Rule) -> bool {
    let meet = |a: PortRange, b: PortRange| a.lo() <= b.hi() && b.lo() <= a.hi();
    let openings_meet = a.openings.iter().any(|x| {
        b.openings.iter().any(|y| match (*x, *y) {
            (Opening::Tcp(x), Opening::Tcp(y))
            | (Opening::Udp(x), Opening::Udp(y))
            | (Opening::Sctp(x), Opening::Sctp(y)) => meet(x, y),
            (x, y) => x == y,
        })
    });
    a.way == b.way && openings_meet
}

/// Openings as a list: `tcp/443, udp/3478`.
fn listed(openings: &[Opening]) -> String {
    openings.iter().map(Opening::to_string).collect::<Vec<_>>().join(", ")
}

/// A number with a comma between thousands.
fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}
