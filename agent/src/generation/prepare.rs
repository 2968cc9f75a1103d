//! What is wanted -> generations of every interface, compiled, loaded and verified, but not active.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portcullis_common::abi;

use super::{
    ApplyError,
    beside::{Pending, Stage, has_kernels_clock, settle},
    candidate::Candidate,
    manifest::{Beside, Manifest, SCHEMA},
    store::{Lock, Roots},
    takeover::reasons,
    wanted::{Wanted, WantedInterface},
};
use crate::{
    catalog::Catalog,
    datapath::{Attachment, DatapathError, Held, LinkType, Mode, Programs, Standing},
    policy::Policy,
};

/// How a policy is applied.
#[derive(Clone, Copy, Debug)]
pub struct ApplyOptions {
    /// Observe on every interface, whatever the policy says.
    pub observe: bool,
    /// How long the egress program of an interface that nothing was attached to listens before ingress
    /// judges, where a socket may be waiting for datagrams from somebody whom the kernel does not know.
    pub learn: Duration,
    /// Whether it is enforced for good.
    pub stage: ApplyStage,
    /// The moment after which nothing may change any more, on the kernel's monotonic clock.
    pub not_after: Option<u64>,
    /// Level of the program's own diagnostics, 0 (off) to 5 (trace).
    pub log_level: u8,
}

/// Whether a policy is enforced for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyStage {
    /// It is.
    #[default]
    Enforce,
    /// It is tried for a time from the swap on; then what was before holds again.
    Trial {
        /// The time, in nanoseconds.
        length: u64,
    },
    /// It is only evaluated beside what is enforced.
    Shadow,
}

impl ApplyStage {
    /// A trial of this length.
    ///
    /// # Errors
    ///
    /// Where this process's clock is not the kernel's.
    pub fn trial(length: Duration) -> Result<Self, ApplyError> {
        if !has_kernels_clock() {
            return Err(ApplyError::OtherClock);
        }
        let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self::Trial { length })
    }
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            observe: false,
            learn: Duration::from_secs(1),
            stage: ApplyStage::Enforce,
            not_after: None,
            log_level: 0,
        }
    }
}

/// Generations of every interface that is named, loaded and verified, but not active.
pub struct Prepared<'a> {
    pub(super) roots: &'a Roots,
    pub(super) options: ApplyOptions,
    pub(super) wanted: Wanted,
    pub(super) generations: Vec<Generation>,
    /// What that took.
    pub spent: Spent,
}

/// How long the parts of preparing took, over all interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Reading what was before, and compiling.
    pub compiling: Duration,
    /// Making maps, filling them, and the verifier's work.
    pub loading: Duration,
}

pub(super) struct Generation {
    pub(super) attachment: Attachment,
    pub(super) programs: Programs,
    /// Kernel identifier of the ingress program.
    pub(super) program: u32,
    pub(super) manifest: Manifest,
    pub(super) candidate: Candidate,
    /// The programs that these replace; `None` on an interface that nothing is attached to.
    pub(super) held: Option<Held>,
}

/// Compiles and loads `policy`; nothing changes yet but that a trial is tidied up that has ended. `text`
/// is what the policy was read from.
///
/// # Errors
///
/// Where a trial or a shadow is running on one of its interfaces, where an interface's rules cannot be compiled, or the kernel refuses them.
pub fn prepare<'a>(
    roots: &'a Roots,
    lock: &Lock,
    policy: &Policy,
    text: &str,
    catalog: &Catalog,
    options: ApplyOptions,
) -> Result<Prepared<'a>, ApplyError> {
    let wanted = Wanted::of(policy, text, catalog);
    let pending = Pending::now(roots)?;
    match pending.stage()? {
        None => {}
        Some(Stage::Ended) => drop(settle(roots, lock)?),
        // Whoever tries a policy decides what becomes of it.
        Some(stage) if pending.manifests.iter().any(|manifest| wanted.names(&manifest.interface)) => {
            return Err(ApplyError::Pending(if stage == Stage::Shadow { "a shadow" } else { "a trial" }));
        }
        Some(_) => {}
    }
    prepare_wanted(roots, lock, wanted, options)
}

/// Compiles and loads what is wanted; nothing changes yet.
///
/// # Errors
///
/// As [`prepare`].
pub fn prepare_wanted<'a>(
    roots: &'a Roots,
    lock: &Lock,
    wanted: Wanted,
    options: ApplyOptions,
) -> Result<Prepared<'a>, ApplyError> {
    let wanted = if options.observe { wanted.observed() } else { wanted };
    for WantedInterface { name, .. } in &wanted.interfaces {
        let failed = |source| ApplyError::at(name, source);
        roots.attachment(name)?.ensure_interface().map_err(failed)?;
        LinkType::of(name).map_err(failed)?;
    }
    let mut prepared = Prepared { roots, options, wanted, generations: Vec::new(), spent: Spent::default() };
    for wanted in &prepared.wanted.interfaces {
        match generation(roots, lock, wanted, &prepared.wanted, options, &mut prepared.spent) {
            Ok(generation) => prepared.generations.push(generation),
            Err(error) => {
                prepared.abandon();
                return Err(error);
            }
        }
    }
    Ok(prepared)
}

fn generation(
    roots: &Roots,
    lock: &Lock,
    interface: &WantedInterface,
    wanted: &Wanted,
    options: ApplyOptions,
    spent: &mut Spent,
) -> Result<Generation, ApplyError> {
    let name = &interface.name;
    let begun = Instant::now();
    roots.inherit(lock, name)?;
    let candidate = Candidate::new(roots, interface, options)?;
    let compiled = Instant::now();
    spent.compiling += compiled - begun;
    let previous = candidate.previous.as_ref();
    let attachment = roots.attachment(name)?;
    let held = attachment.held().map_err(|source| ApplyError::at(name, source))?;
    attachment.prepare(previous.is_some()).map_err(|source| ApplyError::at(name, source))?;
    if previous.is_none() {
        // Counters begin anew.
        roots.forget_hits(attachment.device())?;
    }
    if options.stage == ApplyStage::Shadow {
        // No shadow is active: what is there was left by one that was interrupted.
        attachment.forget_shadow().map_err(|source| ApplyError::at(name, source))?;
    }
    let loaded = Programs::load(&candidate.tables, &candidate.load, Some(attachment.pins()));
    let (programs, program) = loaded
        .and_then(|programs| programs.id().map(|id| (programs, id)))
        .map_err(|error| ApplyError::at(name, abandon(&attachment, error)))?;
    spent.loading += compiled.elapsed();
    let manifest = Manifest {
        schema: SCHEMA,
        abi: abi::VERSION,
        generation: previous.map_or(1, |old| old.generation + 1),
        // Known when it is committed, unless the revision is an earlier one.
        revision: wanted.revision.unwrap_or(0),
        interface: name.clone(),
        device: attachment.device(),
        settings: interface.settings,
        routes: candidate.load.routes,
        xdp: previous.map_or(Mode::Native, |old| old.xdp),
        fallback: previous.and_then(|old| old.fallback.clone()),
        policy: wanted.policy.clone(),
        policy_sha256: wanted.policy_sha256.clone(),
        applied: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        fingerprint: candidate.fingerprint().map_err(|source| ApplyError::at(name, source))?,
        egress: programs.egress_id().map_err(|source| ApplyError::at(name, source))?,
        rules: candidate.slotted(),
        retired: candidate.retired.clone(),
        reasons: reasons(),
        carried: previous
            .map(|old| old.carried_to(&candidate.slotted(), &candidate.retired))
            .unwrap_or_default(),
        heritage: previous.map(|old| old.heritage.clone()).unwrap_or_default(),
        beside: None,
    };
    let manifest = staged(manifest, candidate.previous.as_ref(), options.stage);
    Ok(Generation { attachment, programs, program, manifest, candidate, held })
}

/// The manifest of a generation in its stage.
fn staged(manifest: Manifest, previous: Option<&Manifest>, stage: ApplyStage) -> Manifest {
    match (stage, previous) {
        (ApplyStage::Enforce, _) | (ApplyStage::Shadow, None) => manifest,
        (ApplyStage::Trial { .. }, previous) => {
            let before = previous.cloned().map(Box::new);
            // The deadline is known when it is committed.
            Manifest { beside: Some(Beside::Trial { deadline: 0, before }), ..manifest }
        }
        (ApplyStage::Shadow, Some(active)) => Manifest {
            generation: manifest.generation,
            beside: Some(Beside::Shadow { candidate: Box::new(manifest) }),
            ..active.clone()
        },
    }
}

/// Removes what a failed first generation has pinned; a later one leaves the active one alone, and what
/// an interface that is gone has counted. Gives the error back.
pub(super) fn abandon(attachment: &Attachment, error: DatapathError) -> DatapathError {
    if matches!(attachment.standing(), Ok(Standing::Absent)) {
        // The error that led here is the one to tell.
        let _ = attachment.detach();
    }
    error
}

impl Prepared<'_> {
    /// What is about to be enforced, interface by interface.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.generations.iter().map(|generation| &generation.candidate)
    }

    /// Gives up: removes what first generations have pinned; they will not be attached.
    pub fn abandon(&self) {
        for generation in &self.generations {
            if matches!(generation.attachment.standing(), Ok(Standing::Absent)) {
                // Whatever led here is what to tell.
                let _ = generation.attachment.detach();
            }
        }
    }
}

impl Generation {
    /// Whether nothing is attached to the interface yet.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.attachment.program(), Ok(None))
    }

    /// Whether something is attached whose manifest was lost.
    pub(super) fn was_lost(&self) -> bool {
        self.manifest.generation == 1 && matches!(self.attachment.standing(), Ok(Standing::Attached(_)))
    }
}
