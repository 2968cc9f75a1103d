//! The kernel programs against the reference model, on random rules and random packets, while policies change.

mod beginners;
mod policy;
mod scenario;
mod shrink;
mod world;

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result};
use portcullis::evaluate::Verdict;
use portcullis_common::slot::Reason;

pub use self::{
    beginners::Stranger,
    policy::{Part, Policy, Set},
    scenario::{Difference, Scenario},
    world::{Event, Fault},
};
use self::{policy::course, world::World};
use crate::random::{Random, Shape, spoiled};

/// Conversations that a policy's packets come back to.
const REMEMBERED: usize = 64;
/// The kernel does not show the egress program a frame whose IP header is cut short; such a frame is
/// padded to this length, that of Ethernet and IPv6.
const LEAVING: usize = 54;

/// Packets after which a host begins anew: the flow table has room for all their conversations.
const FULL: usize = 20_000;

/// How much to try.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Arriving packets in all.
    pub packets: u64,
    /// Policies that share them.
    pub policies: u64,
    /// Changes in the middle of each policy's packets.
    pub changes: u64,
    /// What all choices follow from.
    pub seed: u64,
}

/// What was tried.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Packets that arrived.
    pub arrived: u64,
    /// Packets that left.
    pub left: u64,
    /// Changes in the middle of packets, by what they were.
    pub changes: BTreeMap<&'static str, u64>,
    /// Packets by what became of them; rules together.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// SCTP packets that a rule accepted.
    pub associations: u64,
    /// Datagrams that were dropped although earlier ones of their conversation had come in.
    pub shut_out: u64,
    /// Hosts that began anew in the middle of a policy's packets.
    pub renewed: u64,
}

/// Compares as many packets as the plan says, until the first difference. Tells `progress` what was tried so far.
///
/// # Errors
///
/// Where the kernel refuses a program or a packet, or has counted what no verdict explains.
pub fn run(
    plan: Plan,
    mut progress: impl FnMut(u64, &Statistics),
) -> Result<Result<Statistics, Box<Difference>>> {
    let mut statistics = Statistics::default();
    for policy in 0..plan.policies {
        progress(policy, &statistics);
        let found = format!("seed {} policy {policy}", plan.seed);
        if let Err(scenario) = one_policy(plan, policy, &mut statistics).with_context(|| found.clone())? {
            return Ok(Err(Box::new(shrink::smallest(*scenario, found)?)));
        }
    }
    Ok(Ok(statistics))
}

/// Compares the packets of one policy; gives the first on which the judges differ, with all that was before it.
fn one_policy(plan: Plan, number: u64, all: &mut Statistics) -> Result<Result<(), Box<Scenario>>> {
    let packets = plan.packets * (number + 1) / plan.policies - plan.packets * number / plan.policies;
    // Each policy has a generator of its own, so that a difference is found again without those before it.
    let mut random = Random::new(plan.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let first = Policy::random(&mut random);
    let course = course(&first, packets, plan.changes, &mut random);
    let mut run = Run::new(&first, random)?;
    let difference = run.packets(packets, &course)?;
    all.add(run.statistics);
    let Some((fault, last)) = difference else { return Ok(Ok(())) };
    eprintln!("the judges differ, and the case is made smaller: {fault}");
    Ok(Err(Box::new(Scenario { policy: run.first.clone(), earlier: run.earlier, last })))
}

/// The packets of one policy.
struct Run<'a> {
    world: World<'a>,
    random: Random,
    statistics: Statistics,
    /// With what the world began.
    first: &'a Policy,
    /// What happened since then.
    earlier: Vec<Event>,
    /// What would answer packets that left.
    begun: Vec<Shape>,
    /// Packets that were let in.
    guests: Vec<Shape>,
    /// First fragments.
    firsts: Vec<Shape>,
}

impl<'a> Run<'a> {
    fn new(first: &'a Policy, random: Random) -> Result<Self> {
        Ok(Self {
            world: World::new(first)?,
            random,
            statistics: Statistics::default(),
            first,
            earlier: Vec::new(),
            begun: Vec::new(),
            guests: Vec::new(),
            firsts: Vec::new(),
        })
    }

    /// Lets packets come and go; gives the first on which the judges differ.
    fn packets(&mut self, packets: u64, course: &'a [(u64, Event)]) -> Result<Option<(Fault, Event)>> {
        let mut course = course.iter().peekable();
        for number in 0..packets {
            while let Some((_, event)) = course.next_if(|(moment, _)| *moment == number) {
                self.changes(event)?;
            }
            if self.world.is_late() || self.earlier.len() > FULL {
                self.begin_anew()?;
            }
            let share = if self.world.judges_leaving() { 40 } else { 15 };
            if self.random.percent(share)
                && let Some(difference) = self.one_leaves()?
            {
                return Ok(Some(difference));
            }
            if let Some(difference) = self.one_arrives()? {
                return Ok(Some(difference));
            }
        }
        self.finish()?;
        Ok(None)
    }

    fn finish(&mut self) -> Result<()> {
        self.statistics.shut_out += self.world.shut_out();
        self.world.finish()
    }

    /// Another host under the policy that decides now, and on it no conversation.
    fn begin_anew(&mut self) -> Result<()> {
        self.finish()?;
        let (policy, is_trial_over) = self.world.policy();
        (self.world, self.first) = (World::new(policy)?, policy);
        self.earlier.clear();
        if is_trial_over {
            self.world.ends_trial()?;
            self.earlier.push(Event::Deadline);
        }
        self.statistics.renewed += 1;
        Ok(())
    }

    fn changes(&mut self, event: &'a Event) -> Result<()> {
        let name = match event {
            Event::Changed(policy) => policy.name(),
            _ => "trials-over",
        };
        *self.statistics.changes.entry(name).or_default() += 1;
        match event {
            Event::Changed(policy) => self.world.changes(policy)?,
            _ => self.world.ends_trial()?,
        }
        self.earlier.push(event.clone());
        Ok(())
    }

    fn one_leaves(&mut self) -> Result<Option<(Fault, Event)>> {
        let (shape, answer) = leaving(&self.guests, &mut self.firsts, &mut self.random);
        let mut frame = spoiled(&shape, &mut self.random);
        frame.resize(frame.len().max(LEAVING), 0);
        let verdict = match self.world.leaves(&frame)? {
            Ok(verdict) => verdict,
            Err(fault) => return Ok(Some((fault, Event::Left(frame)))),
        };
        self.statistics.left += 1;
        if let Some(verdict) = verdict {
            self.statistics.count(&shape, verdict);
        }
        self.earlier.push(Event::Left(frame));
        remember(&mut self.begun, answer, &mut self.random);
        Ok(None)
    }

    fn one_arrives(&mut self) -> Result<Option<(Fault, Event)>> {
        let random = &mut self.random;
        let origin = random.below(100);
        let mut shape = match origin {
            0..25 if !self.begun.is_empty() => self.begun[random.below(self.begun.len())].varied(random),
            25..60 if !self.guests.is_empty() => self.guests[random.below(self.guests.len())].varied(random),
            _ => Shape::arriving(random),
        };
        if random.percent(5) {
            shape = shape.first_fragment(random);
            remember(&mut self.firsts, shape.clone(), random);
        } else if random.percent(6) && !self.firsts.is_empty() {
            shape = self.firsts[random.below(self.firsts.len())].later_fragment(random);
        }
        let frame = spoiled(&shape, random);
        let verdict = match self.world.arrives(&frame)? {
            Ok(verdict) => verdict,
            Err(fault) => return Ok(Some((fault, Event::Arrived(frame)))),
        };
        self.statistics.arrived += 1;
        self.statistics.count(&shape, verdict);
        // Whoever comes again is there already.
        if origin >= 60 && self.world.passes(verdict) && shape.has_ports() {
            remember(&mut self.guests, shape, &mut self.random);
        }
        self.earlier.push(Event::Arrived(frame));
        Ok(None)
    }
}

/// Adds a shape, in the place of any other where there are many: some are still there when the policy changes.
fn remember(shapes: &mut Vec<Shape>, shape: Shape, random: &mut Random) {
    if shapes.len() < REMEMBERED {
        shapes.push(shape);
    } else {
        shapes[random.below(REMEMBERED)] = shape;
    }
}

/// A packet that leaves: a question, an answer to one that was let in, or a fragment; and what would answer
/// it.
fn leaving(guests: &[Shape], firsts: &mut Vec<Shape>, random: &mut Random) -> (Shape, Shape) {
    let mut answer = match guests.len() {
        0 => Shape::arriving(random),
        _ if random.percent(50) => Shape::arriving(random),
        count => guests[random.below(count)].varied(random),
    };
    let mut shape = answer.reversed();
    if random.percent(10) {
        shape = shape.to_group(random);
    }
    if random.percent(8) {
        shape = shape.first_fragment(random);
        answer = shape.reversed();
        remember(firsts, shape.clone(), random);
    } else if random.percent(8) && !firsts.is_empty() {
        shape = firsts[random.below(firsts.len())].later_fragment(random);
    }
    (shape, answer)
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Rule(_) => "rule",
        Verdict::Reason(reason) => reason.name(),
    }
}

impl Statistics {
    fn count(&mut self, shape: &Shape, verdict: Verdict) {
        let is_rule = matches!(verdict, Verdict::Rule(_));
        self.associations += u64::from(shape.is_association() && is_rule);
        *self.verdicts.entry(name(verdict)).or_default() += 1;
    }

    fn add(&mut self, one: Self) {
        self.arrived += one.arrived;
        self.left += one.left;
        self.associations += one.associations;
        self.shut_out += one.shut_out;
        self.renewed += one.renewed;
        for (name, count) in one.changes {
            *self.changes.entry(name).or_default() += count;
        }
        for (name, count) in one.verdicts {
            *self.verdicts.entry(name).or_default() += count;
        }
    }

    /// Reasons that no packet had.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        // What would be routed depends on the routes of this machine.
        let never = [Reason::Internal, Reason::OutboundInternal, Reason::Routed];
        let names = Reason::ALL.iter().filter(|reason| !never.contains(reason)).map(|reason| reason.name());
        names.filter(|name| !self.verdicts.contains_key(name)).collect()
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arrived, left, associations, shut_out, renewed, .. } = self;
        write!(f, "{arrived} packets arrived, {left} left, {associations} of SCTP by a rule, ")?;
        write!(
            f,
            "{shut_out} were of conversations that had been let in and were not any more, {renewed} hosts began anew;"
        )?;
        for (name, count) in &self.changes {
            write!(f, " {name} {count}")?;
        }
        f.write_str(";")?;
        for (name, count) in &self.verdicts {
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}
