//! Rules and the previous generation -> slots: a rule that stays keeps its slot, and with it what it
//! has counted.

use std::collections::BTreeMap;

use portcullis_common::slot::{self, FIRST_RULE, Slot};

use super::manifest::{Manifest, Slotted};
use crate::ruleset::{Identity, Rule};

/// The slots do not suffice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{rules} rules are too many: with the counters of the active rules, which must stay, {free} slots are left"
)]
pub struct SlotError {
    /// Rules that need a new slot.
    pub rules: usize,
    /// Slots that are free.
    pub free: usize,
}

/// Slots for a new generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// One for each rule, in their order.
    pub slots: Vec<Slot>,
    /// Rules of earlier generations whose counters stand on.
    pub retired: Vec<Slotted>,
    /// Slots that change hands: their old counts belong to a rule that is gone and must be cleared.
    pub reused: Vec<Slot>,
}

/// Gives each rule a slot: the one that its identity had, else a fresh one, else that of the rule
/// that was retired first. The slots of the active generation are never given to another rule: it
/// still counts there.
///
/// # Errors
///
/// Where there are more rules than slots.
pub fn assign(rules: &[Rule], previous: Option<&Manifest>) -> Result<Assignment, SlotError> {
    let (active, retired) = previous.map_or((&[][..], &[][..]), |old| (&old.rules[..], &old.retired[..]));
    let mut known: BTreeMap<&Identity, &Slotted> = BTreeMap::new();
    for slotted in retired.iter().chain(active) {
        known.insert(&slotted.rule.identity, slotted);
    }
    let kept: BTreeMap<Slot, &Identity> = rules
        .iter()
        .filter_map(|rule| known.get(&rule.identity).map(|old| (old.slot, &rule.identity)))
        .collect();
    let first_fresh = known.values().map(|old| u32::from(old.slot) + 1).max().unwrap_or(FIRST_RULE.into());
    let mut fresh = first_fresh..slot::COUNT;
    let mut reusable = retired.iter().map(|old| old.slot).filter(|slot| !kept.contains_key(slot));

    let mut assignment = Assignment::default();
    for rule in rules {
        let slot = match known.get(&rule.identity) {
            Some(old) => old.slot,
            None => match fresh.next() {
                Some(slot) => Slot::try_from(slot).expect("slots are counted below 32,768"),
                None => {
                    let slot = reusable.next().ok_or_else(|| shortage(rules, &known, retired.len()))?;
                    assignment.reused.push(slot);
                    slot
                }
            },
        };
        assignment.slots.push(slot);
    }
    let gone = |old: &&Slotted| !kept.contains_key(&old.slot) && !assignment.reused.contains(&old.slot);
    assignment.retired = retired.iter().chain(active).filter(gone).cloned().collect();
    Ok(assignment)
}

fn shortage(rules: &[Rule], known: &BTreeMap<&Identity, &Slotted>, retired: usize) -> SlotError {
    let new = rules.iter().filter(|rule| !known.contains_key(&rule.identity)).count();
    SlotError { rules: new, free: slot::MAX_RULES - known.len() + retired }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        datapath::{Device, Mode},
        policy::Settings,
        ruleset::{Origin, Way},
    };

    fn rule(name: &str) -> Rule {
        Rule {
            identity: Identity(name.to_owned()),
            origin: Origin::Policy { name: name.to_owned(), file: "policy.toml".to_owned(), line: 1 },
            way: Way::Arriving,
            openings: Vec::new(),
            sources: Vec::new(),
            destinations: Vec::new(),
            address: None,
        }
    }

    fn manifest(rules: &[(&str, Slot)], retired: &[(&str, Slot)]) -> Manifest {
        let slotted = |list: &[(&str, Slot)]| {
            list.iter()
                .map(|(name, slot)| Slotted { slot: *slot, reachable: true, rule: rule(name) })
                .collect()
        };
        Manifest {
            schema: 1,
            abi: portcullis_common::abi::VERSION,
            generation: 1,
            revision: 1,
            interface: "eth0".to_owned(),
            device: Device::default(),
            settings: Settings::STANDARD,
            routes: false,
            xdp: Mode::Native,
            fallback: None,
            policy: String::new(),
            policy_sha256: String::new(),
            applied: 0,
            fingerprint: String::new(),
            egress: 0,
            rules: slotted(rules),
            retired: slotted(retired),
            reasons: BTreeMap::default(),
            carried: BTreeMap::default(),
            heritage: Vec::new(),
            beside: None,
        }
    }

    fn names(slotted: &[Slotted]) -> Vec<(&str, Slot)> {
        slotted.iter().map(|old| (old.rule.identity.0.as_str(), old.slot)).collect()
    }

    #[test]
    fn the_first_generation_counts_from_the_first_rule_slot() {
        let assignment = assign(&[rule("a"), rule("b")], None).expect("room");
        assert_eq!(assignment.slots, [512, 513]);
        assert!(assignment.retired.is_empty());
    }

    #[test]
    fn a_rule_that_stays_keeps_its_slot_wherever_it_moves() {
        let old = manifest(&[("a", 512), ("b", 513)], &[]);
        let assignment = assign(&[rule("new"), rule("b"), rule("a")], Some(&old)).expect("room");
        assert_eq!(assignment.slots, [514, 513, 512]);
    }

    #[test]
    fn a_rule_that_goes_keeps_its_count_and_takes_it_up_again_when_it_returns() {
        let old = manifest(&[("a", 512), ("b", 513)], &[]);
        let without = assign(&[rule("a")], Some(&old)).expect("room");
        assert_eq!(names(&without.retired), [("b", 513)]);
        let old = manifest(&[("a", 512)], &[("b", 513)]);
        let again = assign(&[rule("a"), rule("b")], Some(&old)).expect("room");
        assert_eq!(again.slots, [512, 513]);
        assert!(again.retired.is_empty());
    }

    #[test]
    fn full_slots_are_taken_from_retired_rules_but_never_from_active_ones() {
        let last = Slot::try_from(slot::COUNT - 1).expect("fits");
        let old = manifest(&[("active", last)], &[("first", 512), ("second", 513)]);
        let assignment = assign(&[rule("x")], Some(&old)).expect("a retired slot");
        assert_eq!((assignment.slots, assignment.reused), (vec![512], vec![512]));
        assert_eq!(names(&assignment.retired), [("second", 513), ("active", last)]);
        let error =
            assign(&[rule("x"), rule("y"), rule("z")], Some(&old)).expect_err("two retired, three new");
        assert_eq!(error.rules, 3);
    }
}
