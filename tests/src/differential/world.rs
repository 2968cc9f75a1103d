//! The kernel and the model as one host, on which packets come and go and policies change.

use std::{
    fmt, fs,
    path::PathBuf,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use portcullis::{
    datapath::{Device, Pins},
    evaluate::{Evaluator, Verdict},
    policy::{Deployment, Enforcement, Settings},
};
use portcullis_common::{
    abi::{self, map},
    slot::{self, Slot},
};

use super::{
    beginners::{Beginners, Stranger},
    policy::{Policy, SLOTS},
};
use crate::{
    judge::{Disagreement, Judge},
    lab::Lab,
};

/// All packets come and go at once: how conversations end is tested where the clock can be moved.
const NOW: Duration = Duration::ZERO;
/// What passed without a rule is remembered by the kernel for 30 seconds, whose clock does not stand still.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that has to do with what comes later.
#[derive(Clone, Debug)]
pub enum Event {
    /// The host sent a frame.
    Left(Vec<u8>),
    /// A frame arrived at the host.
    Arrived(Vec<u8>),
    /// Another policy was put in place.
    Changed(Rc<Policy>),
    /// The time of a trial was over.
    Deadline,
}

/// What must not be.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The kernel does something else than what the model says.
    Kernel(Disagreement),
    /// Both let somebody in who must not come in.
    Stranger(Stranger),
}

/// The programs of one policy after the other, which share flows and counters, and the model.
pub(super) struct World<'a> {
    judge: Judge,
    model: Evaluator<'a>,
    beginners: Beginners,
    policy: &'a Policy,
    is_trial_over: bool,
    generation: u64,
    folder: Folder,
    since: Instant,
}

/// A folder of pins, which vanishes with this.
struct Folder {
    shared: PathBuf,
    pins: Pins,
    own: PathBuf,
}

impl<'a> World<'a> {
    /// A host that has begun no conversation yet.
    pub(super) fn new(policy: &'a Policy) -> Result<Self> {
        let folder = Folder::new()?;
        let programs = policy.load(first_slot(0), &folder.pins)?;
        let set = policy.deciding(false);
        Ok(Self {
            judge: Judge::of(programs, set.settings, first_slot(0)),
            model: Evaluator::new(&set.rules, set.settings),
            beginners: Beginners::default(),
            policy,
            is_trial_over: false,
            generation: 0,
            folder,
            since: Instant::now(),
        })
    }

    /// Something happens. Gives the verdict of a packet, if there must be one.
    pub(super) fn meets(&mut self, event: &'a Event) -> Result<Result<Option<Verdict>, Fault>> {
        match event {
            Event::Left(frame) => self.leaves(frame),
            Event::Arrived(frame) => Ok(self.arrives(frame)?.map(Some)),
            Event::Changed(policy) => self.changes(policy).map(|()| Ok(None)),
            Event::Deadline => self.ends_trial().map(|()| Ok(None)),
        }
    }

    /// The host sends a frame.
    pub(super) fn leaves(&mut self, frame: &[u8]) -> Result<Result<Option<Verdict>, Fault>> {
        let verdict = self.model.leaving(frame, NOW);
        if let Err(disagreement) = self.judge.leaves(frame, verdict)? {
            return Ok(Err(Fault::Kernel(disagreement)));
        }
        let outbound = self.settings().outbound;
        if outbound != Some(Enforcement::Enforce) || verdict.is_none_or(Verdict::accepts) {
            self.beginners.left(frame, self.is_gateway());
        }
        Ok(Ok(verdict))
    }

    /// A frame arrives at the host.
    pub(super) fn arrives(&mut self, frame: &[u8]) -> Result<Result<Verdict, Fault>> {
        let verdict = self.model.arriving(frame, NOW);
        if let Err(disagreement) = self.judge.arriving(frame, verdict)? {
            return Ok(Err(Fault::Kernel(disagreement)));
        }
        let (passes, is_gateway) = (self.passes(verdict), self.is_gateway());
        let answer = self.beginners.arrived(frame, verdict, passes, is_gateway);
        Ok(answer.map(|()| verdict).map_err(Fault::Stranger))
    }

    /// Another policy is put in place.
    pub(super) fn changes(&mut self, policy: &'a Policy) -> Result<()> {
        self.folder.end_shadow()?;
        (self.policy, self.is_trial_over, self.generation) = (policy, false, self.generation + 1);
        let first = first_slot(self.generation);
        let programs = policy.load(first, &self.folder.pins)?;
        let set = policy.deciding(false);
        drop(self.judge.succeeded_by(programs, set.settings, first));
        self.model = self.model.clone().under(&set.rules, set.settings);
        Ok(())
    }

    /// A trial is over, if there is one: its deadline is now in the past.
    pub(super) fn ends_trial(&mut self) -> Result<()> {
        if !self.policy.is_trial() {
            return Ok(());
        }
        self.is_trial_over = true;
        let set = self.policy.deciding(true);
        self.judge.programs().set_deadline(0)?;
        self.judge.decided_by(set.settings);
        self.model = self.model.clone().after_trial(&set.rules, set.settings);
        Ok(())
    }

    /// Checks that nothing was counted that no verdict explains, and that the kernel has forgotten nothing.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.judge.finish()?;
        let flows = self.judge.programs().flow_totals()?;
        ensure!(flows.evicted + flows.missed == 0, "there was no room for all conversations: {flows:?}");
        Ok(())
    }

    /// Whether a packet that arrives goes on to the host.
    pub(super) fn passes(&self, verdict: Verdict) -> bool {
        verdict.accepts() || self.settings().mode == Enforcement::Observe
    }

    /// Whether packets that leave are judged.
    pub(super) fn judges_leaving(&self) -> bool {
        self.settings().outbound.is_some()
    }

    /// What is in place, and whether its trial is over.
    pub(super) fn policy(&self) -> (&'a Policy, bool) {
        (self.policy, self.is_trial_over)
    }

    /// Whether so much time has passed that the kernel may soon have forgotten what the model has not.
    pub(super) fn is_late(&self) -> bool {
        self.since.elapsed() > PATIENCE
    }

    /// Packets that were dropped although earlier ones of their conversation had come in.
    pub(super) fn shut_out(&self) -> u64 {
        self.beginners.shut_out()
    }

    fn settings(&self) -> Settings {
        self.policy.deciding(self.is_trial_over).settings
    }

    fn is_gateway(&self) -> bool {
        self.settings().deployment == Deployment::Gateway
    }
}

/// The slot of a generation's first rule: those of one generation after the other, as long as there are any.
fn first_slot(generation: u64) -> Slot {
    let room = u64::from((slot::COUNT - u32::from(slot::FIRST_RULE)) / SLOTS);
    let first = u64::from(slot::FIRST_RULE) + generation % room * u64::from(SLOTS);
    Slot::try_from(first).expect("it is below the last slot")
}

impl Folder {
    fn new() -> Result<Self> {
        // No two are the same, so that a pin that was left behind would not be taken for one of the next.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let device = Device { namespace: NEXT.fetch_add(1, Ordering::Relaxed), index: 1 };
        let version = Lab::bpffs().join("portcullis").join(format!("v{}", abi::VERSION));
        let shared = version.join(device.namespace.to_string());
        let own = shared.join(device.index.to_string());
        fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        Ok(Self { pins: Pins::new(&Lab::bpffs(), device), shared, own })
    }

    /// What a shadow has counted goes with it.
    fn end_shadow(&self) -> Result<()> {
        match fs::remove_file(self.own.join(map::DIFFERENCES)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed goes with the lab.
        let _ = fs::remove_dir_all(&self.shared);
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(disagreement) => disagreement.fmt(f),
            Self::Stranger(stranger) => stranger.fmt(f),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |frame: &[u8]| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match self {
            Self::Left(frame) => writeln!(f, "leaves:  {}", hex(frame)),
            Self::Arrived(frame) => writeln!(f, "arrives: {}", hex(frame)),
            Self::Changed(policy) => write!(f, "another policy: {policy}"),
            Self::Deadline => writeln!(f, "the trial is over"),
        }
    }
}
