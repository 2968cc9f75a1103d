//! The kernel programs against the reference model, on random rules and random packets.

mod shrink;

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context as _, Result};
use portcullis::{
    compile::compile,
    datapath::{LoadOptions, Role, SecondSet},
    evaluate::{Evaluator, Verdict},
    policy::{Deployment, Enforcement, Settings, Unreadable, Wish},
    ruleset::RuleSet,
};
use portcullis_common::slot::Reason;

use crate::{
    judge::{self, Disagreement, Judge},
    random::{Random, Shape, rules, spoiled},
    rules as text,
};

/// All packets arrive at once: how conversations end is tested where the clock can be moved.
const NOW: Duration = Duration::ZERO;
/// Conversations of which a policy's packets remember the last ones.
const REMEMBERED: usize = 64;
/// The kernel does not show the egress program a frame whose IP header is cut short; such a frame is
/// padded to this length, that of Ethernet and IPv6.
const LEAVING: usize = 54;

/// How much to try.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Arriving packets in all.
    pub packets: u64,
    /// Rule sets that share them.
    pub policies: u64,
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
    /// Packets by what became of them; rules together.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// SCTP packets that a rule accepted.
    pub associations: u64,
}

/// Everything that a verdict depends on.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The rules.
    pub rules: RuleSet,
    /// The rules of the second set, where the programs are loaded with one.
    pub beside: Option<RuleSet>,
    /// How the programs are loaded.
    pub options: LoadOptions,
    /// What was before, in its order.
    pub earlier: Vec<Event>,
    /// The packet on which the judges differ.
    pub last: Event,
}

/// A packet that has to do with later ones.
#[derive(Clone, Debug)]
pub enum Event {
    /// The host sent it.
    Left(Vec<u8>),
    /// It arrived at the host.
    Arrived(Vec<u8>),
}

/// A packet on which the two judges differ, made small.
#[derive(Clone, Debug)]
pub struct Difference {
    scenario: Scenario,
    disagreement: Disagreement,
    found: String,
}

/// Compares as many packets as the plan says, until the first difference.
///
/// # Errors
///
/// Where the kernel refuses a program or a packet, or has counted what no verdict explains.
pub fn run(plan: Plan) -> Result<Result<Statistics, Box<Difference>>> {
    let mut statistics = Statistics::default();
    for policy in 0..plan.policies {
        // Each policy has a generator of its own, so that a difference is found again without those
        // before it.
        let mut random = Random::new(plan.seed ^ policy.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let packets = plan.packets * (policy + 1) / plan.policies - plan.packets * policy / plan.policies;
        let one = one_policy(&mut random, packets, &mut statistics);
        if let Some(scenario) = one.with_context(|| format!("seed {} policy {policy}", plan.seed))? {
            let found = format!("seed {} policy {policy}", plan.seed);
            return Ok(Err(Box::new(shrink::smallest(scenario, found)?)));
        }
    }
    Ok(Ok(statistics))
}

/// For half of the policies another set of rules in the same programs, which decides never or, in the
/// place of the first, always.
fn other(random: &mut Random) -> Result<Option<(RuleSet, SecondSet)>> {
    let role = match random.below(4) {
        0 => Role::After(0),
        1 => Role::After(u64::MAX),
        _ => return Ok(None),
    };
    let rules = rules(random);
    let tables = compile(&rules, &judge::slots(&rules)).context("cannot compile the other rules")?.tables;
    let settings = settings(random);
    Ok(Some((rules, SecondSet { tables, settings, role })))
}

/// Compares packets under one random rule set; gives the first on which the judges differ.
fn one_policy(random: &mut Random, packets: u64, statistics: &mut Statistics) -> Result<Option<Scenario>> {
    let rules = rules(random);
    let (beside, second) = other(random)?.unzip();
    let settings = settings(random);
    let outbound = settings.outbound;
    let options = LoadOptions { second, ..LoadOptions::with(settings) };
    let mut kernel = Judge::new(&rules, &options)?;
    let mut model = Evaluator::new(&rules, options.settings);
    let mut begun: Vec<Shape> = Vec::new();
    let mut earlier: Vec<Event> = Vec::new();
    let mut guests: Vec<Shape> = Vec::new();
    let mut firsts: Vec<Shape> = Vec::new();
    for _ in 0..packets {
        if random.percent(if outbound.is_some() { 40 } else { 5 }) {
            let (shape, answer) = leaving(&mut guests, &mut firsts, random);
            let mut frame = spoiled(&shape, random);
            frame.resize(frame.len().max(LEAVING), 0);
            let verdict = model.leaving(&frame, NOW);
            if kernel.leaves(&frame, verdict)?.is_err() {
                return Ok(Some(Scenario { rules, beside, options, earlier, last: Event::Left(frame) }));
            }
            statistics.left += 1;
            statistics.associations += u64::from(shape.is_association() && is_rule(verdict));
            if let Some(verdict) = verdict {
                *statistics.verdicts.entry(name(verdict)).or_default() += 1;
            }
            earlier.push(Event::Left(frame));
            begun.push(answer);
            if begun.len() > REMEMBERED {
                begun.remove(0);
            }
        }
        let mut shape = match begun.len() {
            0 => Shape::arriving(random),
            _ if random.percent(60) => Shape::arriving(random),
            count => begun[random.below(count)].varied(random),
        };
        if random.percent(5) {
            shape = shape.first_fragment(random);
            firsts.push(shape.clone());
            if firsts.len() > REMEMBERED {
                firsts.remove(0);
            }
        } else if random.percent(6) && !firsts.is_empty() {
            shape = firsts[random.below(firsts.len())].later_fragment(random);
        }
        let frame = spoiled(&shape, random);
        let verdict = model.arriving(&frame, NOW);
        if let Err(disagreement) = kernel.arriving(&frame, verdict)? {
            eprintln!("the judges differ, and the case is made smaller: {disagreement}");
            return Ok(Some(Scenario { rules, beside, options, earlier, last: Event::Arrived(frame) }));
        }
        statistics.associations += u64::from(shape.is_association() && is_rule(Some(verdict)));
        if verdict.accepts() {
            guests.push(shape);
            if guests.len() > REMEMBERED {
                guests.remove(0);
            }
        }
        statistics.arrived += 1;
        *statistics.verdicts.entry(name(verdict)).or_default() += 1;
        earlier.push(Event::Arrived(frame));
    }
    kernel.finish()?;
    Ok(None)
}

/// A packet that leaves: a question, an answer to one that was let in, or a fragment; and what would answer
/// it.
fn leaving(guests: &mut [Shape], firsts: &mut Vec<Shape>, random: &mut Random) -> (Shape, Shape) {
    let mut answer = match guests.len() {
        0 => Shape::arriving(random),
        _ if random.percent(50) => Shape::arriving(random),
        count => guests[random.below(count)].varied(random),
    };
    let mut shape = answer.reversed();
    if random.percent(8) {
        shape = shape.first_fragment(random);
        answer = shape.reversed();
        firsts.push(shape.clone());
        if firsts.len() > REMEMBERED {
            firsts.remove(0);
        }
    } else if random.percent(8) && !firsts.is_empty() {
        shape = firsts[random.below(firsts.len())].later_fragment(random);
    }
    (shape, answer)
}

/// What a policy says beside its rules.
fn settings(random: &mut Random) -> Settings {
    Settings {
        mode: if random.percent(10) { Enforcement::Observe } else { Enforcement::Enforce },
        outbound: random.of(&[
            None,
            Some(Enforcement::Enforce),
            Some(Enforcement::Enforce),
            Some(Enforcement::Observe),
        ]),
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

fn is_rule(verdict: Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Rule(_)))
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Rule(_) => "rule",
        Verdict::Reason(reason) => reason.name(),
    }
}

impl Event {
    /// The packet.
    #[must_use]
    pub fn frame(&self) -> &Vec<u8> {
        let (Self::Left(frame) | Self::Arrived(frame)) = self;
        frame
    }

    fn frame_mut(&mut self) -> &mut Vec<u8> {
        let (Self::Left(frame) | Self::Arrived(frame)) = self;
        frame
    }
}

impl Scenario {
    /// What the kernel does instead of what the model says, if it does.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a program or a packet.
    pub fn difference(&self) -> Result<Option<Disagreement>> {
        let mut kernel = Judge::new(&self.rules, &self.options)?;
        let mut model = Evaluator::new(&self.rules, self.options.settings);
        for event in self.earlier.iter().chain([&self.last]) {
            let answer = match event {
                Event::Left(frame) => {
                    let verdict = model.leaving(frame, NOW);
                    kernel.leaves(frame, verdict)?
                }
                Event::Arrived(frame) => {
                    let verdict = model.arriving(frame, NOW);
                    kernel.arriving(frame, verdict)?
                }
            };
            if let Err(disagreement) = answer {
                return Ok(Some(disagreement));
            }
        }
        Ok(None)
    }
}

impl Statistics {
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
        let Self { arrived, left, associations, .. } = self;
        write!(f, "{arrived} packets arrived, {left} left, {associations} of SCTP by a rule:")?;
        for (name, count) in &self.verdicts {
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { rules, beside, options, earlier, last } = &self.scenario;
        writeln!(f, "{}: the kernel and the model differ", self.found)?;
        writeln!(f, "{:?}, rules:", options.settings)?;
        f.write_str(&text::print(rules))?;
        if let (Some(beside), Some(second)) = (beside, &options.second) {
            writeln!(f, "beside them, {:?} {:?}:", second.role, second.settings)?;
            f.write_str(&text::print(beside))?;
        }
        for event in earlier.iter().chain([last]) {
            match event {
                Event::Left(frame) => writeln!(f, "leaves:  {}", hex(frame))?,
                Event::Arrived(frame) => writeln!(f, "arrives: {}", hex(frame))?,
            }
        }
        self.disagreement.fmt(f)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
