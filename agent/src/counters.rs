//! Counters: what the slots have counted, told in the words of the documents.
//!
//! A manifest (what each slot stands for) and the kernel's totals go in, a report comes out, the same
//! for the tables of the CLI and for JSON. Every packet that was judged is in exactly one row.

use portcullis_common::{
    counter::Counter,
    slot::{self, Slot},
};
use serde::Serialize;

use crate::{
    datapath::Totals,
    generation::{Manifest, SlotMeaning},
    policy::Enforcement,
    ruleset::{Opening, Told, Way},
};

/// Counters of one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer headers included.
    pub bytes: u64,
}

/// What a rule has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleCount {
    /// Identity of the rule.
    pub rule: String,
    /// `system/role`; `None` for an allow of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Text of the service cell, or the name of the allow.
    pub service: String,
    /// `in`, or `out` for packets that leave.
    pub direction: &'static str,
    /// What the rule opens.
    pub opens: Vec<String>,
    /// The local address that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
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
}

/// What was decided for a fixed reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// Name of the reason.
    pub reason: &'static str,
    /// One sentence about it.
    pub text: &'static str,
    /// `accept` or `drop`.
    pub verdict: &'static str,
    /// `in`, or `out` for packets that leave.
    pub direction: &'static str,
    /// How much.
    #[serde(flatten)]
    pub count: Count,
}

impl Report {
    /// Tells the totals in the words of the manifest.
    #[must_use]
    pub fn new(manifest: &Manifest, totals: &Totals) -> Self {
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
            match meaning {
                SlotMeaning::Rule(rule) => report.rules.push(RuleCount::new(rule, counter, false)),
                SlotMeaning::Retired(rule) => report.rules.push(RuleCount::new(rule, counter, true)),
                SlotMeaning::Reason(reason) => report.reasons.push(ReasonCount {
                    reason: reason.name(),
                    text: reason.text(),
                    verdict: if reason.accepts() { "accept" } else { "drop" },
                    direction: meaning.way().direction(),
                    count: counter.into(),
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

impl RuleCount {
    fn new(slotted: &crate::generation::Slotted, counter: Counter, retired: bool) -> Self {
        let rule = &slotted.rule;
        let Told { role, service, document, line } = rule.origin.told();
        Self {
            rule: rule.identity.to_string(),
            role,
            service: service.to_owned(),
            direction: rule.way.direction(),
            opens: rule.openings.iter().map(Opening::to_string).collect(),
            address: rule.address.map(|address| address.to_string()),
            document: document.to_owned(),
            line,
            retired,
            shadowed: !slotted.reachable,
            count: counter.into(),
        }
    }
}

impl From<Counter> for Count {
    fn from(counter: Counter) -> Self {
        Self { packets: counter.packets, bytes: counter.bytes }
    }
}
