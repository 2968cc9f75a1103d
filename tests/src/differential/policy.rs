//! What decides about packets, and how it changes in the middle of them.

use std::{fmt, rc::Rc};

use anyhow::{Context as _, Result};
use portcullis::{
    compile::compile,
    datapath::{LoadOptions, Pins, Programs, Role, SecondSet},
    policy::{Deployment, Enforcement, Settings, Unreadable, Wish},
    ruleset::RuleSet,
};
use portcullis_common::slot::Slot;

use super::world::Event;
use crate::{
    judge,
    random::{Random, changed, rules},
    rules as text,
};

/// Rules, and what a policy says in addition to them.
#[derive(Clone, Debug)]
pub struct Set {
    /// The rules. One without openings stands for nothing: its number is left to another set's rule.
    pub rules: RuleSet,
    /// How packets are judged.
    pub settings: Settings,
}

/// What decides from the moment on at which it is put in place.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The first set.
    pub first: Set,
    /// The second set, where the programs are loaded with one.
    pub second: Option<(Set, Part)>,
}

/// What a second set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It decides alone from the beginning: whichever set stands first, the other must make no difference.
    Instead,
    /// The first set is tried; this one decides once the trial is over.
    Before,
    /// It decides nothing.
    Shadow,
}

impl Policy {
    /// A random one.
    pub(super) fn random(random: &mut Random) -> Self {
        let first = Set::random(random);
        let second = match random.below(4) {
            0 => Some((Set::random(random).after(&first), Part::Instead)),
            1 => Some((Set::random(random).after(&first), Part::Before)),
            _ => None,
        };
        Self { first, second }
    }

    /// What decides: before or after the trial, if there is one.
    pub(super) fn deciding(&self, is_trial_over: bool) -> &Set {
        match &self.second {
            Some((set, Part::Instead)) => set,
            Some((set, Part::Before)) if is_trial_over => set,
            _ => &self.first,
        }
    }

    /// Whether the first set is only tried.
    pub(super) fn is_trial(&self) -> bool {
        matches!(self.second, Some((_, Part::Before)))
    }

    /// What it is called in statistics.
    pub(super) fn name(&self) -> &'static str {
        match self.second {
            None => "policies",
            Some((_, Part::Instead)) => "second-sets",
            Some((_, Part::Before)) => "trials",
            Some((_, Part::Shadow)) => "shadows",
        }
    }

    /// Loads the programs, whose rule with number 0 is counted in the slot `first`.
    pub(super) fn load(&self, first: Slot, pins: &Pins) -> Result<Programs> {
        let tables = |set: &Set| {
            let compiled = compile(&set.rules, &judge::slots_from(first, &set.rules));
            compiled.map(|compiled| compiled.tables).context("cannot compile the rules")
        };
        let second = self.second.as_ref().map(|(set, part)| -> Result<SecondSet> {
            let role = match part {
                Part::Instead => Role::After(0),
                Part::Before => Role::After(u64::MAX),
                Part::Shadow => Role::Shadow(u32::from(first) + SLOTS),
            };
            Ok(SecondSet { tables: tables(set)?, settings: set.settings, role })
        });
        let options = LoadOptions { second: second.transpose()?, ..LoadOptions::with(self.first.settings) };
        let loaded = Programs::load(&tables(&self.first)?, &options, Some(pins));
        loaded.with_context(|| format!("cannot load {self}"))
    }

    /// What takes this policy's place.
    fn next(&self, is_trial_over: bool, random: &mut Random) -> Self {
        let alone = |set: &Set| Self { first: set.alone(), second: None };
        let active = self.deciding(is_trial_over);
        match (random.below(10), &self.second) {
            // A trial that is confirmed, a shadow that ends.
            (0 | 1, Some(_)) => alone(&self.first),
            // A shadow that is put in place, a trial that is taken back.
            (2 | 3, Some((second, _))) => alone(second),
            (0 | 4 | 5, _) => {
                let first = active.alone().changed(random);
                let second = active.alone().after(&first);
                Self { first, second: Some((second, Part::Before)) }
            }
            (1 | 6, _) => {
                let first = active.alone();
                let second = first.changed(random).after(&first);
                Self { first, second: Some((second, Part::Shadow)) }
            }
            (2, _) => {
                let first = Set::random(random);
                let second = active.alone().changed(random).after(&first);
                Self { first, second: Some((second, Part::Instead)) }
            }
            _ => alone(&active.changed(random)),
        }
    }
}

/// More slots than the rules of a policy's two sets take.
pub(super) const SLOTS: u32 = 0x200;

impl Set {
    fn random(random: &mut Random) -> Self {
        Self { rules: rules(random), settings: settings(random) }
    }

    /// The same with numbers behind those of another set, so that each rule of either has a slot of its own.
    fn after(mut self, first: &Self) -> Self {
        let nothing = (0..).map(|number| text::open(number, &[])).take(first.rules.rules.len());
        self.rules.rules.splice(0..0, nothing);
        self
    }

    /// The same with numbers from 0 on.
    fn alone(&self) -> Self {
        let mut set = self.clone();
        set.rules.rules.retain(|rule| !rule.openings.is_empty());
        set
    }

    /// As an operator may change it: at least one thing.
    fn changed(&self, random: &mut Random) -> Self {
        let mut set = self.clone();
        let settings = &mut set.settings;
        for _ in 0..=random.below(3) {
            match random.below(10) {
                0 | 1 => settings.mode = opposite(settings.mode),
                2 => settings.outbound = random.of(&OUTBOUND),
                3 => {
                    settings.deployment = match settings.deployment {
                        Deployment::Host => Deployment::Gateway,
                        Deployment::Gateway => Deployment::Host,
                    }
                }
                4 => settings.dhcp = !settings.dhcp,
                5 => settings.unreadable = unreadable(random),
                _ => set.rules = changed(&set.rules, random),
            }
        }
        set
    }
}

/// What happens in the middle of a policy's packets: each before the packet with its number, in their order.
pub(super) fn course(first: &Policy, packets: u64, changes: u64, random: &mut Random) -> Vec<(u64, Event)> {
    let below = usize::try_from(packets).unwrap_or(usize::MAX);
    let mut moments: Vec<u64> = (0..changes).map(|_| random.below(below) as u64).collect();
    moments.sort_unstable();
    let (mut policy, mut is_trial_over) = (Rc::new(first.clone()), false);
    let mut course = Vec::new();
    for moment in moments {
        let event = if policy.is_trial() && !is_trial_over && random.percent(60) {
            is_trial_over = true;
            Event::Deadline
        } else {
            policy = Rc::new(policy.next(is_trial_over, random));
            is_trial_over = false;
            Event::Changed(Rc::clone(&policy))
        };
        course.push((moment, event));
    }
    course
}

const OUTBOUND: [Option<Enforcement>; 4] =
    [None, Some(Enforcement::Enforce), Some(Enforcement::Enforce), Some(Enforcement::Observe)];

fn opposite(mode: Enforcement) -> Enforcement {
    match mode {
        Enforcement::Enforce => Enforcement::Observe,
        Enforcement::Observe => Enforcement::Enforce,
    }
}

/// What a policy says in addition to its rules.
fn settings(random: &mut Random) -> Settings {
    Settings {
        mode: if random.percent(15) { Enforcement::Observe } else { Enforcement::Enforce },
        outbound: random.of(&OUTBOUND),
        dhcp: random.percent(50),
        deployment: if random.percent(25) { Deployment::Gateway } else { Deployment::Host },
        unreadable: unreadable(random),
        ..judge::settings()
    }
}

/// What a policy says of packets that cannot be judged; mostly nothing.
fn unreadable(random: &mut Random) -> Unreadable {
    let mut wish = || if random.percent(25) { Wish::Accept } else { Wish::Drop };
    Unreadable {
        non_ip: wish(),
        vlan_depth: wish(),
        header_limit: wish(),
        truncated: wish(),
        malformed: wish(),
        fragment: wish(),
        undocumented_protocol: wish(),
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |f: &mut fmt::Formatter<'_>, set: &Set| {
            writeln!(f, "{:?}, rules:", set.settings)?;
            let rules = text::print(&set.rules);
            rules
                .lines()
                .enumerate()
                .filter(|(_, rule)| !rule.is_empty())
                .try_for_each(|(number, rule)| writeln!(f, "  {number}: {rule}"))
        };
        set(f, &self.first)?;
        if let Some((second, part)) = &self.second {
            let what = match part {
                Part::Instead => "in its place decides",
                Part::Before => "after the trial decides",
                Part::Shadow => "its shadow is",
            };
            write!(f, "{what} ")?;
            set(f, second)?;
        }
        Ok(())
    }
}
