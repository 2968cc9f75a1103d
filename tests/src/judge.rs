//! The kernel as a judge: each answer must come with the right counter, and nothing else may move.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use portcullis::{
    compile,
    datapath::{Action, Flows, LoadOptions, Programs, Role, SecondSet},
    evaluate::{EvaluateOptions, Verdict},
    ruleset::RuleSet,
};
use portcullis_common::{
    counter::Counter,
    slot::{self, Reason, Slot},
};

/// XDP actions of include/uapi/linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The programs of one rule set in the kernel, attached nowhere, and what they must have counted.
pub struct Judge {
    programs: Programs,
    drop: Action,
    expected: Vec<Counter>,
}

/// What the kernel did instead of what it should have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The verdict that was expected.
    pub expected: Verdict,
    /// The XDP action.
    pub action: u32,
    /// Packets and bytes by which counters moved.
    pub moved: Vec<(Slot, Counter)>,
}

/// Load options for tests: few flows, because their tables are allocated at each load.
#[must_use]
pub fn options() -> LoadOptions {
    LoadOptions { flows: Flows { entries: 4_096, ..Flows::default() }, ..LoadOptions::default() }
}

/// What the reference model must know of the options that a program was loaded with.
#[must_use]
pub fn evaluate_options(options: &LoadOptions) -> EvaluateOptions {
    EvaluateOptions {
        dhcp: options.dhcp,
        tcp_timeout: options.flows.tcp_timeout,
        udp_timeout: options.flows.udp_timeout,
    }
}

/// The slots of a rule set that stands alone: in the order of the rules.
#[must_use]
pub fn slots(rules: &RuleSet) -> Vec<Slot> {
    (slot::FIRST_RULE..).take(rules.rules.len()).collect()
}

/// The slot in which a verdict is counted, by the numbering of [`slots`].
///
/// # Panics
///
/// On a rule beyond the last slot.
#[must_use]
pub fn slot_of(verdict: Verdict) -> Slot {
    match verdict {
        Verdict::Rule(number) => slot::FIRST_RULE + Slot::try_from(number).expect("a rule has a slot"),
        Verdict::Reason(reason) => reason.slot(),
    }
}

impl Judge {
    /// Compiles and loads rules. With a second set that decides from the beginning of time on, these
    /// rules take its place, and its own tables that of the first set: whichever stands first, the other
    /// must make no difference.
    ///
    /// # Errors
    ///
    /// Where the rules do not compile or the kernel refuses the programs.
    pub fn new(rules: &RuleSet, options: &LoadOptions) -> Result<Self> {
        let compiled = compile::compile(rules, &slots(rules)).context("cannot compile the rules")?;
        let programs = match &options.second {
            Some(SecondSet { tables: other, role: Role::After(0), .. }) => {
                let LoadOptions { drop, dhcp, .. } = *options;
                let second = SecondSet { tables: compiled.tables, drop, dhcp, role: Role::After(0) };
                // What the first set would do differently in any case.
                let drop = if drop == Action::Drop { Action::Pass } else { Action::Drop };
                let turned = LoadOptions { drop, dhcp: !dhcp, second: Some(second), ..options.clone() };
                Programs::load(other, &turned, None)?
            }
            _ => Programs::load(&compiled.tables, options, None)?,
        };
        Ok(Self { programs, drop: options.drop, expected: vec![Counter::default(); slot::COUNT as usize] })
    }

    /// The host sends a frame.
    ///
    /// # Errors
    ///
    /// Where the kernel does not take the frame.
    pub fn leaving(&mut self, frame: &[u8]) -> Result<()> {
        self.programs.learn(frame).with_context(|| format!("leaving: {frame:02x?}"))
    }

    /// A frame arrives that must have this verdict. Checks the action and the verdict's counter; that
    /// no other counter moved is what [`Self::finish`] proves, as their sum is then too large.
    ///
    /// # Errors
    ///
    /// Where the kernel does not take the frame. The inner error is its other verdict.
    pub fn arriving(&mut self, frame: &[u8], verdict: Verdict) -> Result<Result<(), Disagreement>> {
        let run = self.programs.judge(frame, 1);
        let (action, _) = run.with_context(|| format!("arriving: {frame:02x?}"))?;
        let slot = slot_of(verdict);
        let counter = &mut self.expected[usize::from(slot)];
        let before = *counter;
        *counter = counter.plus(Counter { packets: 1, bytes: frame.len() as u64 });
        if self.programs.total(slot)? == *counter && action == self.action(verdict) {
            return Ok(Ok(()));
        }
        self.expected[usize::from(slot)] = before;
        Ok(Err(Disagreement { expected: verdict, action, moved: self.differences(slot::COUNT)? }))
    }

    /// As [`Self::arriving`], and checks at once that no counter of a reason or of the first rules
    /// moved beside the verdict's.
    ///
    /// # Errors
    ///
    /// As [`Self::arriving`].
    pub fn alone(&mut self, frame: &[u8], verdict: Verdict) -> Result<Result<(), Disagreement>> {
        let end = u32::from(slot::FIRST_RULE) + 32;
        let answer = self.arriving(frame, verdict)?;
        let moved = self.differences(end)?;
        if answer.is_ok() && !moved.is_empty() {
            let action = self.action(verdict);
            return Ok(Err(Disagreement { expected: verdict, action, moved }));
        }
        Ok(answer)
    }

    /// Checks every counter of the map against the verdicts so far.
    ///
    /// # Errors
    ///
    /// Where one has counted anything else.
    pub fn finish(&self) -> Result<()> {
        let moved = self.differences(slot::COUNT)?;
        ensure!(moved.is_empty(), "counters that no verdict explains: {moved:?}");
        Ok(())
    }

    /// The programs.
    pub fn programs(&mut self) -> &mut Programs {
        &mut self.programs
    }

    fn action(&self, verdict: Verdict) -> u32 {
        if verdict.accepts() || self.drop == Action::Pass { XDP_PASS } else { XDP_DROP }
    }

    /// What the slots below `end` have counted beside what is expected.
    fn differences(&self, end: u32) -> Result<Vec<(Slot, Counter)>> {
        let totals = self.programs.totals(end)?;
        let mut differences = Vec::new();
        for (slot, expected) in (0..).zip(&self.expected).take(end as usize) {
            let counted = totals.of(slot);
            if counted != *expected {
                let packets = counted.packets.wrapping_sub(expected.packets);
                let bytes = counted.bytes.wrapping_sub(expected.bytes);
                differences.push((slot, Counter { packets, bytes }));
            }
        }
        Ok(differences)
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {:?}; the kernel's action is {}, counted:", self.expected, self.action)?;
        for (slot, counter) in &self.moved {
            let name = match Reason::of(*slot) {
                Some(reason) => reason.name().to_owned(),
                None if *slot >= slot::FIRST_RULE => format!("rule {}", slot - slot::FIRST_RULE),
                None => format!("slot {slot}"),
            };
            write!(f, " {name} {} packets {} bytes", counter.packets, counter.bytes)?;
        }
        Ok(())
    }
}
