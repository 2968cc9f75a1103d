//! A scenario on which the judges differ -> the smallest one around it on which they still do.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use portcullis::{
    policy::Settings,
    ruleset::{Rule, RuleSet},
};

use super::{
    LEAVING,
    policy::{Policy, Set},
    scenario::{Difference, Scenario},
    world::Event,
};
use crate::judge;

/// Smaller scenarios that are tried at most; each loads a program, and another for each change of policy.
const TRIES: u32 = 600;

/// Takes away whatever the difference does not need.
pub(super) fn smallest(mut scenario: Scenario, found: String) -> Result<Difference> {
    let mut tries = 0;
    while let Some(smaller) = next(&scenario, &mut tries)? {
        scenario = smaller;
    }
    let fault = scenario.fault()?.context("the difference shows only with the packets before it")?;
    Ok(Difference { scenario, fault, found })
}

/// The first smaller scenario on which the judges still differ.
fn next(scenario: &Scenario, tries: &mut u32) -> Result<Option<Scenario>> {
    for smaller in smaller(scenario) {
        if *tries == TRIES {
            return Ok(None);
        }
        *tries += 1;
        if smaller.fault()?.is_some() {
            return Ok(Some(smaller));
        }
    }
    Ok(None)
}

/// Scenarios with something less, those with much less first.
fn smaller(scenario: &Scenario) -> impl Iterator<Item = Scenario> {
    let with = move |change: &dyn Fn(&mut Scenario)| {
        let mut less = scenario.clone();
        change(&mut less);
        less
    };
    // What was before a change is only what began then, so often it can go as a whole.
    let later = scenario.earlier.iter().enumerate().rev().filter_map(move |(at, event)| {
        let Event::Changed(policy) = event else { return None };
        Some(with(&|less| {
            less.policy = Policy::clone(policy);
            less.earlier.drain(..=at);
        }))
    });
    let earlier =
        runs(scenario.earlier.len()).map(move |(from, to)| with(&|less| drop(less.earlier.drain(from..to))));
    let changes = scenario.earlier.iter().enumerate().filter_map(|(at, event)| match event {
        Event::Changed(policy) => Some((Some(at), &**policy)),
        _ => None,
    });
    let policies = [(None, &scenario.policy)].into_iter().chain(changes).flat_map(move |(at, policy)| {
        simpler(policy).map(move |simpler| {
            with(&|less| match at {
                Some(at) => less.earlier[at] = Event::Changed(Rc::new(simpler.clone())),
                None => less.policy = simpler.clone(),
            })
        })
    });
    let frames = frames(&scenario.last).map(move |last| with(&|less| less.last = last.clone()));
    later.chain(earlier).chain(policies).chain(frames)
}

/// A policy with something less.
fn simpler(policy: &Policy) -> impl Iterator<Item = Policy> {
    let without = policy.second.as_ref().map(|_| Policy { second: None, ..policy.clone() });
    let first = simpler_sets(&policy.first).map(|first| Policy { first, ..policy.clone() });
    let second = policy.second.iter().flat_map(|(second, part)| {
        simpler_sets(second).map(|second| Policy { second: Some((second, *part)), ..policy.clone() })
    });
    without.into_iter().chain(first).chain(second)
}

fn simpler_sets(set: &Set) -> impl Iterator<Item = Set> {
    let rules = simpler_rules(&set.rules).map(|rules| Set { rules, ..set.clone() });
    let usual = judge::settings();
    let of = move |change: fn(&mut Settings, Settings)| {
        let mut simpler = set.clone();
        change(&mut simpler.settings, usual);
        (simpler.settings != set.settings).then_some(simpler)
    };
    let settings = [
        of(|settings, usual| settings.mode = usual.mode),
        of(|settings, usual| settings.outbound = usual.outbound),
        of(|settings, usual| settings.deployment = usual.deployment),
        of(|settings, usual| settings.dhcp = usual.dhcp),
        of(|settings, usual| settings.unreadable = usual.unreadable),
    ];
    settings.into_iter().flatten().chain(rules)
}

fn simpler_rules(rules: &RuleSet) -> impl Iterator<Item = RuleSet> {
    let fewer = runs(rules.rules.len()).map(|(from, to)| {
        let mut fewer = rules.clone();
        fewer.rules.drain(from..to);
        fewer
    });
    let parts = (0..rules.rules.len()).flat_map(move |number| {
        let rule = &rules.rules[number];
        let with = move |change: &dyn Fn(&mut Rule)| {
            let mut less = rules.clone();
            change(&mut less.rules[number]);
            less
        };
        let mut list = Vec::new();
        if rule.address.is_some() {
            list.push(with(&|rule| rule.address = None));
        }
        for at in 0..rule.sources.len() {
            list.push(with(&|rule| _ = rule.sources.remove(at)));
        }
        for at in 0..rule.destinations.len() {
            list.push(with(&|rule| _ = rule.destinations.remove(at)));
        }
        for at in 0..rule.openings.len() {
            list.push(with(&|rule| _ = rule.openings.remove(at)));
        }
        list
    });
    fewer.chain(parts)
}

/// A frame that is shorter, or holds another zero.
fn frames(event: &Event) -> impl Iterator<Item = Event> {
    // The kernel takes no frame shorter than an Ethernet header, and none that leaves without an IP header.
    let (frame, shortest): (&[u8], usize) = match event {
        Event::Left(frame) => (frame, LEAVING),
        Event::Arrived(frame) => (frame, 14),
        Event::Changed(_) | Event::Deadline => (&[], 0),
    };
    let shorter = (shortest..frame.len()).map(|end| frame[..end].to_vec());
    let zeroed = (0..frame.len()).filter(|&at| frame[at] != 0).map(|at| {
        let mut frame = frame.to_vec();
        frame[at] = 0;
        frame
    });
    shorter.chain(zeroed).map(move |frame| match event {
        Event::Left(_) => Event::Left(frame),
        _ => Event::Arrived(frame),
    })
}

/// Runs of a list to take away: the whole, halves, quarters, down to single elements.
fn runs(length: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut size = length;
    let sizes = std::iter::from_fn(move || {
        let this = size;
        size /= 2;
        (this > 0).then_some(this)
    });
    sizes.flat_map(move |size| (0..length).step_by(size).map(move |from| (from, (from + size).min(length))))
}
