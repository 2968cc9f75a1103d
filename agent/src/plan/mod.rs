//! What is enforced now + what is wanted -> what would open and close, and under which rule.
//!
//! Pure: rules go in, changes come out, each with the documented row behind it. The comparison is exact:
//! a port that another rule opens as well does not change, and of sources and local addresses only those
//! are told for which the answer differs.

mod difference;
mod networks;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use serde::Serialize;

pub use self::networks::others;
use crate::{
    generation::{Manifest, Wanted, WantedInterface},
    policy::Settings,
    ruleset::{Rule, Way},
};

/// What a change of policy means for one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfacePlan {
    /// Interface.
    pub interface: String,
    /// What is enforced now; `None` where nothing is, and everything passes.
    pub before: Option<Terms>,
    /// What would be enforced; `None` where the policy does not name the interface, and it is detached.
    pub after: Option<Terms>,
    /// What opens and closes.
    pub changes: Vec<Change>,
    /// Rules that come; most of them open something.
    pub rules_added: Vec<String>,
    /// Rules that go.
    pub rules_removed: Vec<String>,
}

/// What holds for a whole interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// How its packets are judged, beside the rules.
    #[serde(flatten)]
    pub settings: Settings,
    /// Number of rules.
    pub rules: usize,
}

/// Something that opens or closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which of them.
    pub change: ChangeKind,
    /// `in`, or `out` for packets that leave.
    pub direction: Way,
    /// What, as `tcp/5061`, `udp/50000-51000`, `icmp/8` or `ip47`.
    pub what: String,
    /// The sources for which it changes; `None` for every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<IpNet>>,
    /// The destinations for which it changes, of what leaves or passes a gateway; `None` for every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<IpNet>>,
    /// For whom it is open before and after as a whole, where that is neither nobody: of the ends that the
    /// change is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Whole>,
    /// The local address for which it changes; `None` for every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Local addresses for which it does not change, or differently.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<IpAddr>,
    /// Identity of the rule that opens it, or that opened it until now.
    pub rule: String,
    /// `system/role`; `None` for an allow of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Text of the service cell, or the name of the allow.
    pub service: String,
    /// The document, or the policy file.
    pub document: String,
    /// The line there.
    pub line: u32,
}

/// For whom something is open: every address is `0.0.0.0/0` and `::/0`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Whole {
    /// Until now.
    pub before: Vec<IpNet>,
    /// Then.
    pub after: Vec<IpNet>,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was closed, and opens.
    Opens,
    /// It was open, and closes.
    Closes,
    /// Everything was open; this stays so while the rest closes.
    StaysOpen,
}

/// What a change of policy means, interface by interface: those that are wanted, in their order, then
/// those that are enforced and not wanted any more.
#[must_use]
pub fn plan(active: &[Manifest], wanted: &Wanted) -> Vec<InterfacePlan> {
    let before = |name: &str| active.iter().find(|manifest| manifest.interface == name);
    let mut plans: Vec<InterfacePlan> = wanted
        .interfaces
        .iter()
        .map(|interface| InterfacePlan::new(&interface.name, before(&interface.name), Some(interface)))
        .collect();
    let gone = active.iter().filter(|manifest| !wanted.names(&manifest.interface));
    plans.extend(gone.map(|manifest| InterfacePlan::new(&manifest.interface, Some(manifest), None)));
    plans
}

impl InterfacePlan {
    fn new<'a>(interface: &str, before: Option<&'a Manifest>, after: Option<&'a WantedInterface>) -> Self {
        let old: Vec<&'a Rule> = before
            .map(|manifest| manifest.rules.iter().map(|slotted| &slotted.rule).collect())
            .unwrap_or_default();
        let new: Vec<&'a Rule> = after.map(|wanted| wanted.rules.rules.iter().collect()).unwrap_or_default();
        let is_judged = |settings: Option<Settings>, way| match way {
            Way::Arriving => settings.is_some(),
            Way::Leaving => settings.is_some_and(|settings| settings.outbound.is_some()),
        };
        let settings = (before.map(|old| old.settings), after.map(|new| new.settings));
        let mut changes = Vec::new();
        for way in [Way::Arriving, Way::Leaving] {
            let of = |rules: &[&'a Rule]| -> Vec<&'a Rule> {
                rules.iter().copied().filter(|rule| rule.way == way).collect()
            };
            changes.extend(match (is_judged(settings.0, way), is_judged(settings.1, way)) {
                (true, true) => difference::changes(&of(&old), &of(&new)),
                (false, true) => {
                    let mut changes = difference::changes(&[], &of(&new));
                    for change in &mut changes {
                        change.change = ChangeKind::StaysOpen;
                    }
                    changes
                }
                (_, false) => Vec::new(),
            });
        }
        let identities = |rules: &[&Rule]| -> BTreeSet<String> {
            rules.iter().map(|rule| rule.identity.0.clone()).collect()
        };
        let (known, wanted) = (identities(&old), identities(&new));
        Self {
            interface: interface.to_owned(),
            before: before.map(|old| Terms { settings: old.settings, rules: old.rules.len() }),
            after: after.map(|new| Terms { settings: new.settings, rules: new.rules.rules.len() }),
            changes,
            rules_added: wanted.difference(&known).cloned().collect(),
            rules_removed: known.difference(&wanted).cloned().collect(),
        }
    }

    /// Whether anything would be different.
    #[must_use]
    pub fn is_different(&self) -> bool {
        let terms = |terms: Option<Terms>| terms.map(|terms| terms.settings);
        terms(self.before) != terms(self.after)
            || !(self.changes.is_empty() && self.rules_added.is_empty() && self.rules_removed.is_empty())
    }
}
