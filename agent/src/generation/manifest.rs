//! Manifest: what the slots of one generation stand for.

use std::{borrow::Cow, collections::BTreeMap};

use portcullis_common::slot::{FIRST_RULE, Reason, Slot, is_leaving};
use serde::{Deserialize, Serialize};

use super::{takeover::Heritage, version2};
use crate::{
    counters::Count,
    datapath::{Device, Mode},
    policy::Settings,
    ruleset::{Rule, Way},
};

/// The form of the file; another form is not read.
pub(super) const SCHEMA: u32 = 1;

/// One generation on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the ABI whose slots these are.
    #[serde(default = "before_versions")]
    pub abi: u32,
    /// Number of the generation, from 1, counted since enforcement began on this interface.
    pub generation: u64,
    /// Number of the revision that it belongs to: the policy as it was applied, on all interfaces.
    #[serde(default)]
    pub revision: u64,
    /// Interface.
    pub interface: String,
    /// What it belongs to, whatever that is called by now.
    #[serde(default)]
    pub device: Device,
    /// How packets are judged, beside the rules.
    #[serde(flatten)]
    pub settings: Settings,
    /// Whether this host passed on to others what arrives there, when the programs were loaded.
    #[serde(default)]
    pub routes: bool,
    /// How XDP is attached.
    pub xdp: Mode,
    /// Why not in native mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Policy file.
    pub policy: String,
    /// SHA-256 of its text.
    pub policy_sha256: String,
    /// When it was applied, seconds since 1970 UTC.
    pub applied: u64,
    /// What tells its programs from all others ([`crate::datapath::Programs::fingerprint`]); empty where an
    /// earlier build has written this.
    #[serde(default)]
    pub fingerprint: String,
    /// Kernel identifier of its egress program.
    #[serde(default)]
    pub egress: u32,
    /// The rules and their slots, in the order of the policy.
    pub rules: Vec<Slotted>,
    /// Rules of earlier generations whose counters still stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Slotted>,
    /// The slots of the reasons, so that another version of the ABI can go on from here.
    #[serde(default)]
    pub reasons: BTreeMap<String, Slot>,
    /// What was counted under other versions of the ABI, by the identity of a rule or the name of a reason behind
    /// `reason/`; the kernel's counters do not hold it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<String, Count>,
    /// Counters of other versions that are still to be carried on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heritage: Vec<Heritage>,
    /// Another set of rules that its programs carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
}

/// The version of manifests that do not tell theirs.
fn before_versions() -> u32 {
    version2::VERSION
}

/// What stands in a generation's programs beside its rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum Beside {
    /// The rules are tried until a deadline; then those before them hold again.
    Trial {
        /// Nanoseconds on the kernel's monotonic clock.
        deadline: u64,
        /// What holds afterwards; `None` where nothing was enforced: then nothing is dropped.
        before: Option<Box<Manifest>>,
    },
    /// Rules are evaluated beside those that decide, and what would differ is counted.
    Shadow {
        /// The generation that they would be.
        candidate: Box<Manifest>,
    },
    /// A trial that nobody confirmed: its programs are still there, but the rules before hold, which are
    /// those of this manifest. Never written.
    #[serde(skip)]
    Ended {
        /// The revision that was tried.
        revision: u64,
        /// What holds; `None` where nothing was enforced before.
        before: Option<Box<Manifest>>,
    },
}

/// A rule and the slot that counts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slotted {
    /// Counter slot.
    pub slot: Slot,
    /// Whether some packet can be counted under it; a rule without is shadowed by narrower ones.
    pub reachable: bool,
    /// The rule.
    pub rule: Rule,
}

/// What a slot stands for.
#[derive(Clone, Copy, Debug)]
pub enum SlotMeaning<'a> {
    /// A rule of this generation.
    Rule(&'a Slotted),
    /// A rule of an earlier one.
    Retired(&'a Slotted),
    /// A fixed reason of the datapath.
    Reason(Reason),
}

impl<'a> SlotMeaning<'a> {
    /// Which packets are counted there.
    #[must_use]
    pub fn way(self) -> Way {
        match self {
            Self::Rule(slotted) | Self::Retired(slotted) => slotted.rule.way,
            Self::Reason(reason) if is_leaving(reason) => Way::Leaving,
            Self::Reason(_) => Way::Arriving,
        }
    }

    /// What its counter is known by: a rule's identity, or a reason's name behind `reason/`.
    #[must_use]
    pub fn name(self) -> Cow<'a, str> {
        match self {
            Self::Rule(slotted) | Self::Retired(slotted) => Cow::Borrowed(&slotted.rule.identity.0),
            Self::Reason(reason) => Cow::Owned(format!("reason/{}", reason.name())),
        }
    }
}
impl Manifest {
    /// Number of slots that can have counted something: one more than the highest in use.
    #[must_use]
    pub fn slots(&self) -> u32 {
        let highest = self.rules.iter().chain(&self.retired).map(|rule| rule.slot).max();
        u32::from(highest.unwrap_or(FIRST_RULE)) + 1
    }

    /// What each used slot stands for: rules in the order of the policy, then the reasons, then
    /// retired rules.
    pub fn meanings(&self) -> impl Iterator<Item = (Slot, SlotMeaning<'_>)> {
        let rules = self.rules.iter().map(|rule| (rule.slot, SlotMeaning::Rule(rule)));
        let reasons = Reason::ALL.iter().map(|reason| (reason.slot(), SlotMeaning::Reason(*reason)));
        let retired = self.retired.iter().map(|rule| (rule.slot, SlotMeaning::Retired(rule)));
        rules.chain(reasons).chain(retired)
    }
}
