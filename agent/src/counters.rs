//! Counters: what the slots have counted, told in the words of the documents.
//!
//! A manifest (what each slot stands for) and the kernel's totals go in, a report comes out, the same
//! for the tables of the CLI and for JSON. Every packet that was judged is in exactly one row.

use std::collections::BTreeMap;

use portcullis_common::{
    counter::Counter,
    slot::{self, Slot},
};
use serde::{Deserialize, Serialize};

use crate::{
    datapath::Totals,
    generation::{Manifest, SlotMeaning},
    hits::{Hit, Hits, Window},
    policy::Enforcement,
    ruleset::{Opening, Told, Way},
};

/// Counters of one interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Interface.
    pub interface: String,
    /// Whether drop verdicts drop.
    pub mode: Enforcement,
    /// Generation.
    pub generation: u64,
    /// What rules have accepted, in the order of the policy; retired rules last.
    pub rules: Vec<RuleCount>,
    /// What was accepted or dropped for a fixed reason.
    pub reasons: Vec<ReasonCount>,
    /// Sum over everything that arrived and was accepted.
    pub accepted: Count,
    /// Sum over everything that arrived with a drop verdict; in observe mode it passed.
    pub dropped: Count,
    /// Sum over everything that arrived.
    pub total: Count,
    /// The same of what left; `None` where that is not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound: Option<Outbound>,
}

/// Sums over what left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outbound {
    /// Whether drop verdicts drop.
    pub mode: Enforcement,
    /// Sum over everything that was accepted.
    pub accepted: Count,
    /// Sum over everything with a drop verdict.
    pub dropped: Count,
    /// Sum over both.
    pub total: Count,
}

/// What the rules of a role, or of a service of one, have accepted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// `system/role`; `None` for the allows of the policy.
    pub role: Option<String>,
    /// The service; `None` where all of a role are summed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// How many rules these are.
    pub rules: usize,
    /// What they have accepted.
    #[serde(flatten)]
    pub count: Count,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer headers included.
    pub bytes: u64,
}

/// What a rule has accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleCount {
    /// Identity of the rule.
    pub rule: String,
    /// `system/role`; `None` for an allow of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Text of the service cell, or the name of the allow.
    pub service: String,
    /// `in`, or `out` for packets that leave.
    #[serde(default)]
    pub direction: Way,
    /// What the rule opens.
    pub opens: Vec<String>,
    /// The local address that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The document, or the policy file.
    pub document: String,
    /// The line there.
    pub line: u32,
    /// Whether the rule belongs to an earlier generation.
    pub retired: bool,
    /// Whether every packet that it would accept is counted under a narrower rule.
    pub shadowed: bool,
    /// What it has accepted.
    #[serde(flatten)]
    pub count: Count,
    /// Between which readings of the counters it first counted; `None` where it has not.
    #[serde(default)]
    pub first_hit: Option<Window>,
    /// Between which it last did.
    #[serde(default)]
    pub last_hit: Option<Window>,
}

/// What was decided for a fixed reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReasonCount {
    /// Name of the reason.
    pub reason: &'static str,
    /// One sentence about it.
    pub text: &'static str,
    /// `accept` or `drop`.
    pub verdict: &'static str,
    /// `in`, or `out` for packets that leave.
    pub direction: Way,
    /// How much.
    #[serde(flatten)]
    pub count: Count,
    /// Between which readings of the counters it was first counted; `None` where it was not.
    pub first_hit: Option<Window>,
    /// Between which it last was.
    pub last_hit: Option<Window>,
}

impl Report {
    /// What rules have accepted, summed up by the role and the service that `of` gives for each.
    #[must_use]
    pub fn sums(&self, of: impl Fn(&RuleCount) -> (Option<String>, Option<String>)) -> Vec<Sum> {
        let mut sums: BTreeMap<(Option<String>, Option<String>), (usize, Count)> = BTreeMap::new();
        for rule in &self.rules {
            let (rules, sum) = sums.entry(of(rule)).or_default();
            *rules += 1;
            sum.packets += rule.count.packets;
            sum.bytes += rule.count.bytes;
        }
        let sum = |((role, service), (rules, count))| Sum { role, service, rules, count };
        sums.into_iter().map(sum).collect()
    }

    /// Tells the totals in the words of the manifest; `hits` is when they were counted.
    #[must_use]
    pub fn new(manifest: &Manifest, totals: &Totals, hits: &Hits) -> Self {
        let mut report = Self {
            interface: manifest.interface.clone(),
            mode: manifest.settings.mode,
            generation: manifest.generation,
            rules: Vec::new(),
            reasons: Vec::new(),
            accepted: Count::default(),
            dropped: Count::default(),
            total: Count::default(),
            outbound: None,
        };
        let none = Count::default();
        let mut outbound = Outbound {
            mode: manifest.settings.outbound.unwrap_or_default(),
            accepted: none,
            dropped: none,
            total: none,
        };
        for (slot, meaning) in manifest.meanings() {
            let counter = totals.of(slot);
            let (accepted, dropped, total) = match meaning.way() {
                Way::Arriving => (&mut report.accepted, &mut report.dropped, &mut report.total),
                Way::Leaving => (&mut outbound.accepted, &mut outbound.dropped, &mut outbound.total),
            };
            accepted_or(accepted, dropped, slot).add(counter);
            total.add(counter);
            let hit = hits.of(&meaning.name()).copied();
            match meaning {
                SlotMeaning::Rule(rule) => report.rules.push(RuleCount::new(rule, counter, hit, false)),
                SlotMeaning::Retired(rule) => report.rules.push(RuleCount::new(rule, counter, hit, true)),
                SlotMeaning::Reason(reason) => report.reasons.push(ReasonCount {
                    reason: reason.name(),
                    text: reason.text(),
                    verdict: if reason.accepts() { "accept" } else { "drop" },
                    direction: meaning.way(),
                    count: counter.into(),
                    first_hit: hit.map(|hit| hit.first),
                    last_hit: hit.map(|hit| hit.last),
                }),
            }
        }
        if manifest.settings.outbound.is_some() || outbound.total.packets > 0 {
            report.outbound = Some(outbound);
        }
        report
    }
}

/// The sum that a slot adds to.
fn accepted_or<'a>(accepted: &'a mut Count, dropped: &'a mut Count, slot: Slot) -> &'a mut Count {
    if slot::accepts(slot) { accepted } else { dropped }
}

impl Count {
    fn add(&mut self, counter: Counter) {
        self.packets += counter.packets;
        self.bytes += counter.bytes;
    }
}

impl Report {
    /// Between which readings something was last counted on the interface.
    #[must_use]
    pub fn last_hit(&self) -> Option<Window> {
        let rules = self.rules.iter().filter_map(|rule| rule.last_hit);
        let reasons = self.reasons.iter().filter_map(|reason| reason.last_hit);
        rules.chain(reasons).max_by(|one, other| one.before.total_cmp(&other.before))
    }
}

impl RuleCount {
    fn new(slotted: &crate::generation::Slotted, counter: Counter, hit: Option<Hit>, retired: bool) -> Self {
        let rule = &slotted.rule;
        let Told { role, service, document, line } = rule.origin.told();
        Self {
            rule: rule.identity.to_string(),
            role,
            service: service.to_owned(),
            direction: rule.way,
            opens: rule.openings.iter().map(Opening::to_string).collect(),
            address: rule.address.map(|address| address.to_string()),
            document: document.to_owned(),
            line,
            retired,
            shadowed: !slotted.reachable,
            count: counter.into(),
            first_hit: hit.map(|hit| hit.first),
            last_hit: hit.map(|hit| hit.last),
        }
    }
}

impl From<Counter> for Count {
    fn from(counter: Counter) -> Self {
        Self { packets: counter.packets, bytes: counter.bytes }
    }
}
