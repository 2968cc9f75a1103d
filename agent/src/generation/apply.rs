//! Policy -> generations: everything is compiled, loaded and verified first, then swapped in.

use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_common::slot::Slot;
use sha2::{Digest as _, Sha256};

use super::{
    manifest::{Manifest, SCHEMA, Slotted},
    slots::{Assignment, SlotError, assign},
    store::{Lock, Roots, StoreError, last},
};
use crate::{
    catalog::Catalog,
    compile::{CompileError, compile},
    datapath::{Action, Attached, Attachment, DatapathError, LoadOptions, Mode, Programs, Standing},
    policy::{Enforcement, InterfacePolicy, Policy},
    ruleset::rule_set,
};

/// How a policy is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApplyOptions {
    /// Observe on every interface, whatever the policy says.
    pub observe: bool,
    /// Level of the program's own diagnostics, 0 (off) to 5 (trace).
    pub log_level: u8,
}

/// Why a policy could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The rules of an interface do not fit into tables.
    #[error("{interface}: {source}")]
    Compile {
        /// The interface.
        interface: String,
        /// Why.
        source: CompileError,
    },
    /// There are more rules than counters.
    #[error("{interface}: {source}")]
    Slots {
        /// The interface.
        interface: String,
        /// Why.
        source: SlotError,
    },
    /// The state folder refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel refuses.
    #[error("{interface}: {source}")]
    Datapath {
        /// The interface.
        interface: String,
        /// Why.
        source: DatapathError,
    },
}

/// A generation that is in place.
pub struct Applied {
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether it replaced another.
    pub replaced: bool,
    /// Its programs; the agent reads their diagnostics. Dropping them changes nothing.
    pub programs: Programs,
}

/// Generations of every interface of a policy, loaded and verified, but not active.
pub struct Prepared<'a> {
    roots: &'a Roots,
    generations: Vec<Generation>,
}

struct Generation {
    attachment: Attachment,
    programs: Programs,
    program: u32,
    manifest: Manifest,
    /// Slots that change hands.
    reused: Vec<Slot>,
}

/// Compiles and loads `policy`; nothing changes yet. `text` is what the policy was read from.
///
/// # Errors
///
/// Where an interface's rules cannot be compiled, or the kernel refuses them.
pub fn prepare<'a>(
    roots: &'a Roots,
    _lock: &Lock,
    policy: &Policy,
    text: &str,
    catalog: &Catalog,
    options: ApplyOptions,
) -> Result<Prepared<'a>, ApplyError> {
    let digest = hex(&Sha256::digest(text));
    for InterfacePolicy { name, .. } in &policy.interfaces {
        let missing = |source| ApplyError::Datapath { interface: name.clone(), source };
        roots.attachment(name).ensure_interface().map_err(missing)?;
    }
    let mut prepared = Prepared { roots, generations: Vec::new() };
    for interface in &policy.interfaces {
        match generation(roots, policy, interface, &digest, catalog, options) {
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
    policy: &Policy,
    interface: &InterfacePolicy,
    digest: &str,
    catalog: &Catalog,
    options: ApplyOptions,
) -> Result<Generation, ApplyError> {
    let name = &interface.name;
    let kernel = |source| ApplyError::Datapath { interface: name.clone(), source };
    let previous = last(roots, name)?;
    let (rules, _) = rule_set(&policy.file, interface, catalog);
    let Assignment { slots, retired, reused } = assign(&rules.rules, previous.as_ref())
        .map_err(|source| ApplyError::Slots { interface: name.clone(), source })?;
    let compiled =
        compile(&rules, &slots).map_err(|source| ApplyError::Compile { interface: name.clone(), source })?;

    let mode = if options.observe { Enforcement::Observe } else { interface.mode };
    let load = LoadOptions {
        drop: if mode == Enforcement::Observe { Action::Pass } else { Action::Drop },
        dhcp: interface.dhcp,
        log_level: options.log_level,
        ..LoadOptions::default()
    };
    let attachment = roots.attachment(name);
    attachment.prepare(previous.is_some()).map_err(kernel)?;
    let loaded = Programs::load(&compiled.tables, &load, Some(attachment.pins()));
    let (programs, program) = loaded
        .and_then(|mut programs| programs.id().map(|id| (programs, id)))
        .map_err(|error| abandon(&attachment, error))
        .map_err(kernel)?;

    let slotted = rules.rules.into_iter().zip(slots).zip(compiled.reachable);
    let rules = slotted.map(|((rule, slot), reachable)| Slotted { slot, reachable, rule }).collect();
    let manifest = Manifest {
        schema: SCHEMA,
        generation: previous.as_ref().map_or(1, |old| old.generation + 1),
        interface: name.clone(),
        mode,
        xdp: previous.as_ref().map_or(Mode::Native, |old| old.xdp),
        fallback: previous.and_then(|old| old.fallback),
        policy: absolute(&policy.file),
        policy_sha256: digest.to_owned(),
        applied: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        rules,
        retired,
    };
    Ok(Generation { attachment, programs, program, manifest, reused })
}

/// Removes what a failed first generation has pinned; a later one leaves the active one alone, and what
/// an interface that is gone has counted. Gives the error back.
fn abandon(attachment: &Attachment, error: DatapathError) -> DatapathError {
    if matches!(attachment.standing(), Ok(Standing::Absent)) {
        // The error that led here is the one to tell.
        let _ = attachment.detach();
    }
    error
}

impl Prepared<'_> {
    /// Swaps every generation in, interface by interface, each by one atomic step. Gives those that
    /// are in place, and the error that stopped the rest.
    ///
    /// Interfaces that nothing is attached to yet come first: they are the ones that can be taken by
    /// another tool. If one is, those begun before it are detached again, and nothing has changed.
    pub fn commit(mut self) -> (Vec<Applied>, Option<ApplyError>) {
        self.generations.sort_by_key(|generation| !generation.is_first());
        let mut applied: Vec<Applied> = Vec::new();
        while !self.generations.is_empty() {
            match commit(self.roots, self.generations.remove(0)) {
                Ok(done) => applied.push(done),
                Err(error) => {
                    self.abandon();
                    applied.retain(|done| done.replaced || !undo(self.roots, &done.manifest.interface));
                    return (applied, Some(error));
                }
            }
        }
        (applied, None)
    }

    /// Removes what first generations have pinned; they will not be attached.
    fn abandon(&self) {
        for generation in &self.generations {
            if matches!(generation.attachment.standing(), Ok(Standing::Absent)) {
                // The error that led here is the one to tell.
                let _ = generation.attachment.detach();
            }
        }
    }
}

impl Generation {
    /// Whether nothing is attached to the interface yet.
    fn is_first(&self) -> bool {
        matches!(self.attachment.program(), Ok(None))
    }
}

/// Takes a first generation off again. Gives whether that worked.
fn undo(roots: &Roots, interface: &str) -> bool {
    roots.attachment(interface).detach().is_ok() && roots.forget(interface).is_ok()
}

fn commit(roots: &Roots, generation: Generation) -> Result<Applied, ApplyError> {
    let Generation { attachment, mut programs, program, mut manifest, reused } = generation;
    // Before the swap, so that whoever reads the link right after it finds the manifest.
    if manifest.generation == 1 && matches!(attachment.standing(), Ok(Standing::Attached(_))) {
        // The manifest before this one was lost, and with it how XDP is attached.
        let kernel = |source| ApplyError::Datapath { interface: manifest.interface.clone(), source };
        manifest.xdp = attachment.mode(&mut programs).map_err(kernel)?;
    }
    roots.write(program, &manifest)?;
    let attached = programs.clear(&reused).and_then(|()| attachment.attach(&mut programs));
    let attached = attached.map_err(|error| {
        roots.discard(&manifest.interface, program);
        ApplyError::Datapath { interface: manifest.interface.clone(), source: abandon(&attachment, error) }
    })?;
    let replaced = matches!(attached, Attached::Replaced);
    if let Attached::New { mode, fallback } = attached
        && (mode, &fallback) != (manifest.xdp, &manifest.fallback)
    {
        manifest.xdp = mode;
        manifest.fallback = fallback;
        roots.write(program, &manifest)?;
    }
    roots.keep_only(&manifest.interface, program)?;
    Ok(Applied { manifest, replaced, programs })
}

/// Ends enforcement on an interface and forgets its counters. Gives whether something was attached.
///
/// # Errors
///
/// Where a pin or the state cannot be removed.
pub fn detach(roots: &Roots, _lock: &Lock, interface: &str) -> Result<bool, ApplyError> {
    let attached = roots
        .attachment(interface)
        .detach()
        .map_err(|source| ApplyError::Datapath { interface: interface.to_owned(), source })?;
    roots.forget(interface)?;
    Ok(attached)
}

/// Ends enforcement on every interface that the policy does not name: what a policy no longer says
/// must not linger. Gives their names.
///
/// # Errors
///
/// As [`detach`].
pub fn detach_unnamed(roots: &Roots, lock: &Lock, policy: &Policy) -> Result<Vec<String>, ApplyError> {
    let mut detached = Vec::new();
    for interface in roots.interfaces()? {
        let named = policy.interfaces.iter().any(|policy| policy.name == interface);
        if !named && detach(roots, lock, &interface)? {
            detached.push(interface);
        }
    }
    Ok(detached)
}

/// A path that still names the file when it is read from another folder.
fn absolute(file: &str) -> String {
    std::path::absolute(file).map_or_else(|_| file.to_owned(), |path| path.display().to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
