//! The kernel programs against the reference model, on random rules and random packets.

mod shrink;

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context as _, Result};
use portcullis::{
    datapath::{Action, LoadOptions},
    evaluate::{Evaluator, Verdict},
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
}

/// Everything that a verdict depends on.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The rules.
    pub rules: RuleSet,
    /// How the programs are loaded.
    pub options: LoadOptions,
    /// What the host sent before.
    pub leaving: Vec<Vec<u8>>,
    /// What arrives.
    pub arriving: Vec<u8>,
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

/// Compares packets under one random rule set; gives the first on which the judges differ.
fn one_policy(random: &mut Random, packets: u64, statistics: &mut Statistics) -> Result<Option<Scenario>> {
    let rules = rules(random);
    let drop = if random.percent(10) { Action::Pass } else { Action::Drop };
    let options = LoadOptions { drop, dhcp: random.percent(50), ..judge::options() };
    let mut kernel = Judge::new(&rules, &options)?;
    let mut model = Evaluator::new(&rules, judge::evaluate_options(&options));
    let mut begun: Vec<Shape> = Vec::new();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for _ in 0..packets {
        if sent.len() < 4 * REMEMBERED && random.percent(10) {
            let answer = Shape::arriving(random);
            let mut frame = spoiled(&answer.reversed(), random);
            frame.resize(frame.len().max(LEAVING), 0);
            model.leaving(&frame, NOW);
            kernel.leaving(&frame)?;
            statistics.left += 1;
            sent.push(frame);
            begun.push(answer);
            if begun.len() > REMEMBERED {
                begun.remove(0);
            }
        }
        let shape = match begun.len() {
            0 => Shape::arriving(random),
            _ if random.percent(60) => Shape::arriving(random),
            count => begun[random.below(count)].varied(random),
        };
        let frame = spoiled(&shape, random);
        let verdict = model.arriving(&frame, NOW);
        if let Err(disagreement) = kernel.arriving(&frame, verdict)? {
            eprintln!("the judges differ, and the case is made smaller: {disagreement}");
            return Ok(Some(Scenario { rules, options, leaving: sent, arriving: frame }));
        }
        statistics.arrived += 1;
        *statistics.verdicts.entry(name(verdict)).or_default() += 1;
    }
    kernel.finish()?;
    Ok(None)
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Rule(_) => "rule",
        Verdict::Reason(reason) => reason.name(),
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
        let mut model = Evaluator::new(&self.rules, judge::evaluate_options(&self.options));
        for frame in &self.leaving {
            kernel.leaving(frame)?;
            model.leaving(frame, NOW);
        }
        let verdict = model.arriving(&self.arriving, NOW);
        Ok(kernel.arriving(&self.arriving, verdict)?.err())
    }
}

impl Statistics {
    /// Reasons that no packet had.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let names =
            Reason::ALL.iter().filter(|reason| **reason != Reason::Internal).map(|reason| reason.name());
        names.filter(|name| !self.verdicts.contains_key(name)).collect()
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets arrived, {} left:", self.arrived, self.left)?;
        for (name, count) in &self.verdicts {
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { rules, options, leaving, arriving } = &self.scenario;
        writeln!(f, "{}: the kernel and the model differ", self.found)?;
        writeln!(f, "drop {:?}, dhcp {}, rules:", options.drop, options.dhcp)?;
        f.write_str(&text::print(rules))?;
        for frame in leaving {
            writeln!(f, "leaves:  {}", hex(frame))?;
        }
        writeln!(f, "arrives: {}", hex(arriving))?;
        self.disagreement.fmt(f)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
