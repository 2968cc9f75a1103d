//! Prepared generations -> active ones: all of them, or none.

use super::{
    ApplyError,
    adopt::{Before, Newcomer, adopt},
    beside::now,
    devices::Entry,
    manifest::{Beside, Manifest, Slotted},
    prepare::{ApplyStage, Generation, Prepared},
    store::{Lock, Roots},
};
use crate::{
    counters::RuleCount,
    datapath::{Attached, Begun, Held, Listener, Programs},
    host::HostError,
};

/// A generation that is in place.
pub struct Applied {
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether it replaced another.
    pub replaced: bool,
    /// How many conversations of this host were adopted, or why none could be.
    pub adopted: Result<usize, HostError>,
    /// Its programs; the agent reads their diagnostics. Dropping them changes nothing.
    pub programs: Programs,
}

/// A generation on its way in.
struct Entering {
    generation: Generation,
    /// The egress program, where nothing was attached before.
    begun: Option<Begun>,
    /// What listens to others until then.
    listener: Option<Listener>,
    /// What learns until the programs of this version of the ABI are in the place of another's.
    learner: Option<Begun>,
    adopted: Result<usize, HostError>,
    attached: Option<Attached>,
}

impl Prepared<'_> {
    /// Swaps every generation in, each interface by one atomic step. Where one cannot be swapped, those
    /// before it are put back, and nothing has changed. Gives those that are in place, and the error
    /// that stopped the rest.
    ///
    /// Interfaces that nothing is attached to yet come first: they are the ones that can be taken by
    /// another tool. Their egress programs learn, then what already runs is adopted, then ingress
    /// judges.
    pub fn commit(mut self) -> (Vec<Applied>, Option<ApplyError>) {
        self.generations.sort_by_key(|generation| !generation.is_first());
        let applied = self.generations.first().map_or(0, |generation| generation.manifest.applied);
        let number = match self.wanted.revision {
            Some(number) => Ok((number, false)),
            None => self.roots.begin_revision(&self.wanted, applied),
        };
        let (number, is_new) = match number {
            Ok(begun) => begun,
            Err(error) => {
                self.abandon();
                return (Vec::new(), Some(error.into()));
            }
        };
        let roots = self.roots;
        let learn = self.options.learn;
        let mut entering: Vec<Entering> = self
            .generations
            .into_iter()
            .map(|mut generation| {
                match &mut generation.manifest.beside {
                    Some(Beside::Shadow { candidate }) => candidate.revision = number,
                    _ => generation.manifest.revision = number,
                }
                Entering {
                    generation,
                    begun: None,
                    listener: None,
                    learner: None,
                    adopted: Ok(0),
                    attached: None,
                }
            })
            .collect();
        let not_after = self.options.not_after;
        let stage = self.options.stage;
        let swapped = adopt_conversations(&mut entering, learn)
            .and_then(|()| begin_trial(&mut entering, stage))
            .and_then(|()| write_manifests(roots, &mut entering))
            .and_then(|()| on_time(not_after))
            .and_then(|()| entering.iter_mut().try_for_each(|entering| entering.swap(roots)));
        match swapped {
            Ok(()) => {
                let settled = entering.iter_mut().try_for_each(|entering| entering.settle(roots));
                let settled = settled.and_then(|()| Ok(roots.prune_revisions(number)?));
                (entering.into_iter().map(Entering::applied).collect(), settled.err())
            }
            Err(error) => {
                // In reverse, so that what was first is last.
                let mut stuck = Vec::new();
                for mut entering in entering.into_iter().rev() {
                    if !entering.undo(roots) {
                        stuck.push(entering.applied());
                    }
                }
                if is_new && stuck.is_empty() {
                    roots.discard_revision(number);
                }
                (stuck, Some(error))
            }
        }
    }
}

/// Refuses what comes too late: the swap of all interfaces takes less than a second.
fn on_time(not_after: Option<u64>) -> Result<(), ApplyError> {
    const MARGIN: u64 = 1_000_000_000;
    match not_after {
        Some(end) if now()?.saturating_add(MARGIN) >= end => Err(ApplyError::TooLate),
        _ => Ok(()),
    }
}

/// The time of a trial begins here: loading and adopting, which may take a while, do not shorten it.
fn begin_trial(entering: &mut [Entering], stage: ApplyStage) -> Result<(), ApplyError> {
    let ApplyStage::Trial { length } = stage else { return Ok(()) };
    let end = now()?.saturating_add(length);
    for Entering { generation: Generation { programs, manifest, .. }, .. } in entering {
        if let Some(Beside::Trial { deadline, .. }) = &mut manifest.beside {
            *deadline = end;
            programs.set_deadline(end).map_err(|source| ApplyError::at(&manifest.interface, source))?;
        }
    }
    Ok(())
}

/// Before anything is swapped, so that whoever reads a link right after it finds the manifest.
fn write_manifests(roots: &Roots, entering: &mut [Entering]) -> Result<(), ApplyError> {
    for Entering { generation, .. } in entering {
        if generation.was_lost() {
            // The manifest before this one was lost, and with it how XDP is attached.
            let mode = generation.attachment.mode(&generation.programs);
            generation.manifest.xdp =
                mode.map_err(|source| ApplyError::at(&generation.manifest.interface, source))?;
        }
        roots.write(generation.program, &generation.manifest)?;
        if let Some(Beside::Shadow { candidate }) = &generation.manifest.beside {
            roots.add_candidate(candidate)?;
        }
    }
    Ok(())
}

/// Finds out, before anything is dropped on interfaces where no generation was in place, which conversations run
/// there and who began them.
fn adopt_conversations(entering: &mut [Entering], learn: std::time::Duration) -> Result<(), ApplyError> {
    let mut newcomers = Vec::new();
    for Entering { generation, begun, listener, learner, adopted, .. } in entering {
        let is_whole = generation.held.as_ref().is_some_and(Held::is_whole);
        let before = match (&generation.held, is_whole, generation.attachment.is_taking_over()) {
            (_, true, false) => continue,
            (_, true, true) => Before::OtherVersion,
            (Some(_), false, _) => Before::Part,
            (None, false, _) => Before::Nothing,
        };
        newcomers.push(Newcomer { generation, before, begun, listener, learner, adopted });
    }
    adopt(&mut newcomers, learn)
}

impl Entering {
    fn swap(&mut self, roots: &Roots) -> Result<(), ApplyError> {
        let Generation { attachment, programs, manifest, candidate, held, .. } = &mut self.generation;
        if let Some(previous) = candidate.previous.as_ref().filter(|_| !candidate.reused.is_empty()) {
            let totals = programs.totals(previous.slots());
            let mut totals = totals.map_err(|source| ApplyError::at(&manifest.interface, source))?;
            roots.add_carried(previous, &mut totals)?;
            let goes = |rule: &RuleCount| {
                let of = |retired: &Slotted| {
                    retired.rule.identity.0 == rule.rule && candidate.reused.contains(&retired.slot)
                };
                previous.retired.iter().any(of)
            };
            roots.archive_rules(previous, &totals, manifest.generation, goes)?;
        }
        let swapped = programs.clear(&candidate.reused).and_then(|()| match (self.begun.take(), held) {
            (None, Some(held)) => attachment.replace(programs, held).map(|()| Attached::Replaced),
            (Some(begun), Some(held)) => {
                attachment.complete(programs, held, begun).map(|()| Attached::Replaced)
            }
            (Some(begun), None) => attachment.finish(programs, begun, self.listener.take()),
            (None, None) => attachment.attach(programs),
        });
        self.attached = Some(swapped.map_err(|source| ApplyError::at(&manifest.interface, source))?);
        Ok(())
    }

    /// Writes what is only known now, and removes the manifests of earlier generations.
    fn settle(&mut self, roots: &Roots) -> Result<(), ApplyError> {
        let Generation { program, manifest, attachment, .. } = &mut self.generation;
        if !matches!(manifest.beside, Some(Beside::Shadow { .. })) {
            attachment.forget_shadow().map_err(|source| ApplyError::at(&manifest.interface, source))?;
        }
        if let Some(Attached::New { mode, fallback }) = &self.attached
            && (*mode, fallback) != (manifest.xdp, &manifest.fallback)
        {
            manifest.xdp = *mode;
            manifest.fallback.clone_from(fallback);
            roots.write(*program, manifest)?;
        }
        roots.keep_only(manifest.device, *program)?;
        if attachment.is_taking_over() {
            roots.complete_takeover(&manifest.interface, manifest.device)?;
        }
        roots.note_attached(manifest.device)?;
        Ok(())
    }

    /// Undoes what was done; gives whether that was possible.
    fn undo(&mut self, roots: &Roots) -> bool {
        let Generation { attachment, manifest, program, held, .. } = &self.generation;
        let device = manifest.device;
        match &self.attached {
            // Links that are not pinned end with the programs.
            None => {
                roots.discard(device, *program);
                if matches!(attachment.program(), Ok(None)) {
                    // The error that led here is the one to tell.
                    let _ = attachment.detach();
                }
                true
            }
            Some(Attached::New { .. }) => attachment.detach().is_ok() && roots.forget(device).is_ok(),
            Some(Attached::Replaced) => {
                let back = held.as_ref().is_some_and(|held| matches!(attachment.put_back(held), Ok(true)));
                if back {
                    roots.discard(device, *program);
                }
                back
            }
        }
    }

    fn applied(self) -> Applied {
        let Generation { manifest, programs, .. } = self.generation;
        let replaced = matches!(self.attached, Some(Attached::Replaced));
        Applied { manifest, replaced, adopted: self.adopted, programs }
    }
}

/// Ends enforcement on an interface and forgets its counters. Gives whether something was attached.
///
/// # Errors
///
/// Where a link cannot be ended, or a pin or the state cannot be removed.
pub fn detach(roots: &Roots, lock: &Lock, interface: &str) -> Result<bool, ApplyError> {
    let mut attached = false;
    for entry in named(roots, interface)? {
        attached |= remove(roots, lock, &entry)?;
    }
    roots.forget_archive(interface)?;
    Ok(attached)
}

/// Ends enforcement on an interface that a policy stops naming: what its rules have counted is archived.
///
/// # Errors
///
/// As [`detach`].
pub fn retire(roots: &Roots, lock: &Lock, interface: &str) -> Result<bool, ApplyError> {
    let mut attached = false;
    for entry in named(roots, interface)? {
        attached |= retire_device(roots, lock, &entry)?;
    }
    Ok(attached)
}

/// What has pins and is called so, or was when it was enforced and is not here any more.
fn named(roots: &Roots, interface: &str) -> Result<Vec<Entry>, ApplyError> {
    Ok(roots.entries()?.into_iter().filter(|entry| entry.name == interface).collect())
}

/// [`retire`] for one device.
pub(super) fn retire_device(roots: &Roots, lock: &Lock, entry: &Entry) -> Result<bool, ApplyError> {
    if let Some(left) = &entry.left {
        roots.archive_left(left)?;
    } else if let Some(manifest) = roots.manifest_of(entry)?
        && let Ok(Some(mut totals)) = roots.attachment_of(entry).totals(manifest.slots())
    {
        roots.add_carried(&manifest, &mut totals)?;
        roots.archive_rules(&manifest, &totals, manifest.generation + 1, |_| true)?;
    }
    remove(roots, lock, entry)
}

fn remove(roots: &Roots, _lock: &Lock, entry: &Entry) -> Result<bool, ApplyError> {
    roots.note_detached(entry.device)?;
    let attached =
        roots.attachment_of(entry).detach().map_err(|source| ApplyError::at(&entry.name, source))?;
    if let Some(left) = &entry.left {
        roots.remove_left(left)?;
    }
    roots.forget(entry.device)?;
    if roots.entries()?.is_empty() {
        roots.forget_revisions()?;
    }
    Ok(attached)
}

/// What became of an interface that is not wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// It is not enforced any more.
    Detached(String),
    /// It is enforced as before: only the name under which that began is wanted, and another interface may have
    /// that by now. Nobody said that this one may be open.
    Renamed {
        /// What it is called now.
        name: String,
        /// What it was called.
        before: String,
    },
}

/// Ends enforcement on every interface that is not wanted any more: what a policy no longer says must
/// not linger. One that was renamed stays where its old name is wanted.
///
/// # Errors
///
/// As [`detach`].
pub fn detach_others(
    roots: &Roots,
    lock: &Lock,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Unwanted>, ApplyError> {
    let mut unwanted = Vec::new();
    for entry in roots.entries()? {
        if wanted(&entry.name) {
            continue;
        }
        match roots.enforced_as(&entry).filter(|before| wanted(before)) {
            Some(before) => unwanted.push(Unwanted::Renamed { name: entry.name, before }),
            None if retire_device(roots, lock, &entry)? => unwanted.push(Unwanted::Detached(entry.name)),
            None => {}
        }
    }
    Ok(unwanted)
}
