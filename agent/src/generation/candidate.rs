//! What is wanted on an interface, and what was there before -> compiled tables with their slots. Nothing
//! is loaded yet.

use portcullis_common::slot::{FIRST_RULE, Slot};

use super::{
    ApplyError,
    known::last,
    manifest::{Manifest, Slotted},
    prepare::{ApplyOptions, ApplyStage},
    slots::{Assignment, assign},
    store::Roots,
    wanted::WantedInterface,
};
use crate::{
    compile::{Compiled, compile},
    datapath::{Attachment, Begun, DatapathError, LinkType, LoadOptions, Programs, Role, SecondSet},
    host::forwards,
    policy::Settings,
    ruleset::RuleSet,
    tables::Tables,
};

/// Flows of a candidate that is only asked: many more than there are conversations to ask about.
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
        let Compiled { tables, reachable } = compiled(name, &wanted.rules, &slots)?;
        // Of one that is not there nobody knows, and nothing is loaded for it.
        let link = LinkType::of(name).map_err(|source| ApplyError::at(name, source))?.unwrap_or_default();
        let routes =
            forwards(name).map_err(|source| ApplyError::Routing { interface: name.clone(), source })?;
        let log_level = options.log_level;
        let load = LoadOptions { link, routes, log_level, ..LoadOptions::with(wanted.settings) };
        let mut candidate =
            Self { wanted: wanted.clone(), tables, load, previous, slots, reachable, retired, reused };
        match options.stage {
            ApplyStage::Enforce => {}
            ApplyStage::Trial { .. } => candidate.is_tried()?,
            ApplyStage::Shadow => candidate.steps_aside()?,
        }
        Ok(candidate)
    }

    /// The rules before hold again from a deadline on, which is set when the trial begins.
    fn is_tried(&mut self) -> Result<(), ApplyError> {
        let (tables, settings) = match &self.previous {
            Some(previous) => set_of(previous)?,
            // Nothing was enforced: the same verdicts are counted, and everything passes.
            None => (self.tables.clone(), self.load.settings.observed()),
        };
        self.load.second = Some(SecondSet { tables, settings, role: Role::After(0) });
        Ok(())
    }

    /// The active rules go on to decide; these are only evaluated.
    fn steps_aside(&mut self) -> Result<(), ApplyError> {
        let Some(previous) = &self.previous else {
            return Err(ApplyError::NothingToShadow(self.wanted.name.clone()));
        };
        let (tables, settings) = set_of(previous)?;
        let highest = self.slots.iter().copied().chain(previous.rules.iter().map(|rule| rule.slot)).max();
        let role = Role::Shadow(u32::from(highest.unwrap_or(FIRST_RULE)) + 1);
        self.load.second = Some(SecondSet {
            tables: std::mem::replace(&mut self.tables, tables),
            settings: std::mem::replace(&mut self.load.settings, settings),
            role,
        });
        Ok(())
    }

    /// Loads it with counters and flows of its own, which vanish with it: what it is asked is counted
    /// nowhere.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn load_alone(&self) -> Result<Programs, DatapathError> {
        let mut settings = self.load.settings;
        settings.flows.entries = FLOWS_ALONE;
        Programs::load(&self.tables, &LoadOptions { settings, second: None, ..self.load.clone() }, None)
    }

    /// What tells its programs from all others.
    pub(super) fn fingerprint(&self) -> Result<String, DatapathError> {
        Programs::fingerprint(&self.tables, &self.load)
    }

    /// Attaches a program that learns what this host begins, and neither judges nor counts. It does not see what
    /// arrives, and learns from no datagram that may be an answer.
    pub(super) fn learn_beside(&self, attachment: &Attachment) -> Result<Begun, DatapathError> {
        let settings = Settings { outbound: None, ..self.load.settings };
        let options =
            LoadOptions { settings, uncounted: true, listening: true, second: None, ..self.load.clone() };
        let learner = Programs::load(&self.tables, &options, Some(attachment.pins()))?;
        attachment.learn(&learner)
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

/// What a generation's programs were loaded with.
fn set_of(manifest: &Manifest) -> Result<(Tables, Settings), ApplyError> {
    let rules = WantedInterface::from(manifest).rules;
    let slots: Vec<Slot> = manifest.rules.iter().map(|rule| rule.slot).collect();
    let Compiled { tables, .. } = compiled(&manifest.interface, &rules, &slots)?;
    Ok((tables, manifest.settings))
}

fn compiled(interface: &str, rules: &RuleSet, slots: &[Slot]) -> Result<Compiled, ApplyError> {
    compile(rules, slots).map_err(|source| ApplyError::Compile { interface: interface.to_owned(), source })
}
