//! A scenario on which the judges differ -> the smallest one around it on which they still do.

use anyhow::{Context as _, Result};

use super::{Difference, Event, LEAVING, Scenario};

/// Smaller scenarios that are tried at most; each loads a program.
const TRIES: u32 = 600;

/// Takes away whatever the difference does not need.
pub(super) fn smallest(mut scenario: Scenario, found: String) -> Result<Difference> {
    let mut tries = 0;
    while let Some(smaller) = next(&scenario, &mut tries)? {
        scenario = smaller;
    }
    let disagreement =
        scenario.difference()?.context("the difference shows only with the packets before it")?;
    Ok(Difference { scenario, disagreement, found })
}

/// The first smaller scenario on which the judges still differ.
fn next(scenario: &Scenario, tries: &mut u32) -> Result<Option<Scenario>> {
    for smaller in smaller(scenario) {
        if *tries == TRIES {
            return Ok(None);
        }
        *tries += 1;
        if smaller.difference()?.is_some() {
            return Ok(Some(smaller));
        }
    }
    Ok(None)
}

/// Scenarios with something less, those with much less first.
fn smaller(scenario: &Scenario) -> impl Iterator<Item = Scenario> {
    let earlier = runs(scenario.earlier.len()).map(|(from, to)| {
        let mut less = scenario.clone();
        less.earlier.drain(from..to);
        less
    });
    let rules = runs(scenario.rules.rules.len()).map(|(from, to)| {
        let mut less = scenario.clone();
        less.rules.rules.drain(from..to);
        less
    });
    let parts = (0..scenario.rules.rules.len()).flat_map(move |number| {
        let rule = &scenario.rules.rules[number];
        let with = move |change: &dyn Fn(&mut portcullis::ruleset::Rule)| {
            let mut less = scenario.clone();
            change(&mut less.rules.rules[number]);
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
    let frame = scenario.last.frame();
    let with = move |frame: Vec<u8>| {
        let mut less = scenario.clone();
        *less.last.frame_mut() = frame;
        less
    };
    // The kernel takes no frame shorter than an Ethernet header, and none that leaves without an IP header.
    let shortest = if matches!(scenario.last, Event::Left(_)) { LEAVING } else { 14 };
    let shorter = (shortest..frame.len()).map(move |end| with(frame[..end].to_vec()));
    let zeroed = (0..frame.len()).filter(|&at| frame[at] != 0).map(move |at| {
        let mut frame = frame.clone();
        frame[at] = 0;
        with(frame)
    });
    earlier.chain(rules).chain(parts).chain(shorter).chain(zeroed)
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
