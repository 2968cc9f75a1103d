//! What is wanted on an interface, and what was there before -> compiled tables with their slots. Nothing
//! is loaded yet.

use portcullis_common::slot::Slot;

use super::{
    ApplyError,
    manifest::{Manifest, Slotted},
    prepare::ApplyOptions,
    slots::{Assignment, assign},
    store::{Roots, last},
    wanted::WantedInterface,
};
use crate::{
    compile::{Compiled, compile},
    datapath::{Action, DatapathError, Flows, LoadOptions, Programs},
    policy::Enforcement,
    tables::Tables,
};

/// Flows of a candidate that is only asked. The kernel gives each CPU its part of them, so there are
/// many more than conversations to ask about.
const FLOWS_ALONE: u32 = 1 << 14;

/// A generation that could be loaded.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it is compiled from.
    pub wanted: WantedInterface,
    /// What the kernel is to read.
    pub tables: Tables,
    /// How it is loaded.
    pub load: LoadOptions,
    /// The generation that is active now.
    pub previous: Option<Manifest>,
    /// The slots of the rules, in their order.
    pub(super) slots: Vec<Slot>,
    /// Whether each rule can count.
    reachable: Vec<bool>,
    /// Rules of earlier generations whose counters stand on.
    pub(super) retired: Vec<Slotted>,
    /// Slots that change hands.
    pub(super) reused: Vec<Slot>,
}

impl Candidate {
    /// Compiles what is wanted on an interface.
    ///
    /// # Errors
    ///
    /// Where the state cannot be read, or the rules do not fit.
    pub fn new(roots: &Roots, wanted: &WantedInterface, options: ApplyOptions) -> Result<Self, ApplyError> {
        let name = &wanted.name;
        let previous = last(roots, name)?;
        let Assignment { slots, retired, reused } = assign(&wanted.rules.rules, previous.as_ref())
            .map_err(|source| ApplyError::Slots { interface: name.clone(), source })?;
        let Compiled { tables, reachable } = compile(&wanted.rules, &slots)
            .map_err(|source| ApplyError::Compile { interface: name.clone(), source })?;
        let load = LoadOptions {
            drop: if wanted.mode == Enforcement::Observe { Action::Pass } else { Action::Drop },
            dhcp: wanted.dhcp,
            log_level: options.log_level,
            ..LoadOptions::default()
        };
        Ok(Self { wanted: wanted.clone(), tables, load, previous, slots, reachable, retired, reused })
    }

    /// Loads it with counters and flows of its own, which vanish with it: what it is asked is counted
    /// nowhere.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn load_alone(&self) -> Result<Programs, DatapathError> {
        let flows = Flows { entries: FLOWS_ALONE, ..self.load.flows };
        Programs::load(&self.tables, &LoadOptions { flows, ..self.load.clone() }, None)
    }

    /// The rules with their slots.
    pub(super) fn slotted(&self) -> Vec<Slotted> {
        let rules = self.wanted.rules.rules.iter().cloned();
        rules
            .zip(&self.slots)
            .zip(&self.reachable)
            .map(|((rule, slot), reachable)| Slotted { slot: *slot, reachable: *reachable, rule })
            .collect()
    }
}
