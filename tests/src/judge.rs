//! The kernel as a judge: each answer must come with the right counter, and nothing else may move.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, ensure};
use portcullis::{
    compile,
    datapath::{LoadOptions, Programs},
    evaluate::Verdict,
    policy::{Enforcement, Flows, Settings},
    ruleset::RuleSet,
};
use portcullis_common::{
    counter::Counter,
    slot::{self, Reason, Slot},
};

/// XDP actions of include/uapi/linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// Actions of the egress program: `TCX_NEXT` (include/uapi/linux/bpf.h), `TC_ACT_SHOT`.
const TCX_NEXT: u32 = u32::MAX;
const SHOT: u32 = 2;

/// The programs of one rule set in the kernel, attached nowhere, and what they must have counted; one generation
/// after the other where they share pins.
pub struct Judge {
    programs: Programs,
    settings: Settings,
    /// The slot of the rule with number 0.
    first: Slot,
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
    /// The slot of the rule with number 0.
    pub first: Slot,
}

/// Settings for tests: few flows, because their table is allocated at each load.
#[must_use]
pub fn settings() -> Settings {
    // No time passes for the model: what is soonest forgotten outlives a test.
    let flows = Flows { entries: 4_096, answers: Duration::from_secs(60), ..Flows::STANDARD };
    Settings { flows, ..Settings::STANDARD }
}

/// Load options for tests.
#[must_use]
pub fn options() -> LoadOptions {
    LoadOptions::with(settings())
}

/// The slots of a rule set that stands alone: in the order of the rules.
#[must_use]
pub fn slots(rules: &RuleSet) -> Vec<Slot> {
    slots_from(slot::FIRST_RULE, rules)
}

/// The slots of a rule set whose first rule has the slot `first`.
#[must_use]
pub fn slots_from(first: Slot, rules: &RuleSet) -> Vec<Slot> {
    (first..).take(rules.rules.len()).collect()
}

impl Judge {
    /// Compiles and loads rules.
    ///
    /// # Errors
    ///
    /// Where the rules do not compile or the kernel refuses the programs.
    pub fn new(rules: &RuleSet, options: &LoadOptions) -> Result<Self> {
        let compiled = compile::compile(rules, &slots(rules)).context("cannot compile the rules")?;
        let programs = Programs::load(&compiled.tables, options, None)?;
        Ok(Self::of(programs, options.settings, slot::FIRST_RULE))
    }

    /// Programs that have counted nothing yet, judge by `settings` and count the first rule in the slot `first`.
    #[must_use]
    pub fn of(programs: Programs, settings: Settings, first: Slot) -> Self {
        let expected = vec![Counter::default(); slot::COUNT as usize];
        Self { programs, settings, first, expected }
    }

    /// The next generation takes over, which shares the counters with the one before. Gives that one back.
    pub fn succeeded_by(&mut self, programs: Programs, settings: Settings, first: Slot) -> Programs {
        (self.settings, self.first) = (settings, first);
        std::mem::replace(&mut self.programs, programs)
    }

    /// The programs judge by other settings from now on, as a trial is over.
    pub fn decided_by(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The host sends a frame.
    ///
    /// # Errors
    ///
    /// Where the kernel does not take the frame.
    pub fn leaving(&mut self, frame: &[u8]) -> Result<()> {
        self.programs.learn(frame).with_context(|| format!("leaving: {frame:02x?}"))
    }

    /// The host sends a frame that must have this verdict, or none where leaving frames are not judged.
    ///
    /// # Errors
    ///
    /// Where the kernel does not take the frame. The inner error is its other verdict.
    pub fn leaves(&mut self, frame: &[u8], verdict: Option<Verdict>) -> Result<Result<(), Disagreement>> {
        let run = self.programs.leaving(frame);
        let action = run.with_context(|| format!("leaving: {frame:02x?}"))?.cast_unsigned();
        let Some(verdict) = verdict else {
            ensure!(action == TCX_NEXT, "a frame that is not judged: {action}");
            return Ok(Ok(()));
        };
        let passes = verdict.accepts() || self.settings.outbound == Some(Enforcement::Observe);
        self.counted(frame, verdict, action, if passes { TCX_NEXT } else { SHOT })
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
        self.counted(frame, verdict, action, self.action(verdict))
    }

    /// Whether the verdict's counter and the action are right.
    fn counted(
        &mut self,
        frame: &[u8],
        verdict: Verdict,
        action: u32,
        right: u32,
    ) -> Result<Result<(), Disagreement>> {
        let slot = self.slot_of(verdict);
        let counter = &mut self.expected[usize::from(slot)];
        let before = *counter;
        *counter = counter.plus(Counter { packets: 1, bytes: frame.len() as u64 });
        if self.programs.total(slot)? == *counter && action == right {
            return Ok(Ok(()));
        }
        self.expected[usize::from(slot)] = before;
        let moved = self.differences(slot::COUNT)?;
        Ok(Err(Disagreement { expected: verdict, action, moved, first: self.first }))
    }

    /// The slot in which a verdict is counted.
    fn slot_of(&self, verdict: Verdict) -> Slot {
        match verdict {
            Verdict::Rule(number) => self.first + Slot::try_from(number).expect("a rule has a slot"),
            Verdict::Reason(reason) => reason.slot(),
        }
    }

    /// As [`Self::arriving`], and checks at once that no counter of a reason or of the first rules
    /// moved beside the verdict's.
    ///
    /// # Errors
    ///
    /// As [`Self::arriving`].
    pub fn alone(&mut self, frame: &[u8], verdict: Verdict) -> Result<Result<(), Disagreement>> {
        let end = u32::from(self.first) + 32;
        let answer = self.arriving(frame, verdict)?;
        let moved = self.differences(end)?;
        if answer.is_ok() && !moved.is_empty() {
            let action = self.action(verdict);
            return Ok(Err(Disagreement { expected: verdict, action, moved, first: self.first }));
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
        if verdict.accepts() || self.settings.mode == Enforcement::Observe { XDP_PASS } else { XDP_DROP }
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
                None if *slot >= self.first => format!("rule {}", slot - self.first),
                None => format!("slot {slot}"),
            };
            write!(f, " {name} {} packets {} bytes", counter.packets, counter.bytes)?;
        }
        Ok(())
    }
}
