//! The sets of rules of a generation -> the constants that its programs are loaded with.
//!
//! Usually there is one set. One that is tried or has a shadow has a second, whose rows and tries stand
//! behind those of the first in the same maps.

use std::{borrow::Cow, path::Path};

use aya::maps::{Map, MapData, PerCpuArray};
use portcullis_common::{
    abi::{self, feature},
    counter::Counter,
    second::{CHUNKS, Difference, Example},
    slot::{self, Reason, Slot},
};

use super::{DatapathError, fill::entries, object::LoadOptions};
use crate::{
    policy::{Deployment, Enforcement, Settings, Unreadable},
    tables::{self, FamilyTries, More, Tables},
};

/// A second set of rules, and what it is for.
#[derive(Clone, Debug)]
pub struct SecondSet {
    /// What the programs look up.
    pub tables: Tables,
    /// How packets are judged, beside the rules.
    pub settings: Settings,
    /// When it is looked at.
    pub role: Role,
}

/// When a second set of rules is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// From this moment on it decides alone: nanoseconds on the kernel's monotonic clock.
    After(u64),
    /// Always, beside the first one, which decides; what it would decide otherwise is counted for the
    /// slots below this one.
    Shadow(u32),
}

/// What a shadow would decide otherwise, for one slot that accepts, summed over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differing {
    /// The slot: a rule of the shadow where it opens, a rule of the active set where it closes.
    pub slot: Slot,
    /// Packets that are dropped and would be accepted.
    pub opens: Counter,
    /// Packets that are accepted and would be dropped.
    pub closes: Counter,
    /// The last of them.
    pub last: Example,
}

/// Reads the pinned differences of the slots below `end`.
pub(super) fn differences(pin: &Path, end: u32) -> Result<Vec<Differing>, DatapathError> {
    let failed = |error: aya::maps::MapError| DatapathError::bpf("read what a shadow has counted", &error);
    let map = Map::PerCpuArray(MapData::from_pin(pin).map_err(failed)?);
    let map: PerCpuArray<MapData, Difference> = map.try_into().map_err(failed)?;
    let mut differing = Vec::new();
    for slot in 0..end.min(map.len()) {
        let mut sum = Difference::default();
        for value in map.get(&slot, 0).map_err(failed)?.iter() {
            sum.opens = sum.opens.plus(value.opens);
            sum.closes = sum.closes.plus(value.closes);
            if value.last.seen > sum.last.seen {
                sum.last = value.last;
            }
        }
        if sum.opens.packets + sum.closes.packets > 0 {
            let slot = Slot::try_from(slot).expect("slots are counted below 32,768");
            differing.push(Differing { slot, opens: sum.opens, closes: sum.closes, last: sum.last });
        }
    }
    Ok(differing)
}

/// The constants of a set of rules.
pub(super) struct Constants {
    pub(super) features: u32,
    pub(super) unreadable: u32,
    pub(super) source_classes: u32,
    pub(super) sources: Positions,
    pub(super) addresses: Positions,
}

/// Where the tries for the two versions of IP begin.
pub(super) struct Positions {
    pub(super) v4: u32,
    pub(super) v6: u32,
}

impl Constants {
    /// The constants of a set whose rows and tries are looked up as `more` says.
    pub(super) fn new(tables: &Tables, more: &More, settings: &Settings, routes: bool) -> Self {
        let positions = |tries: FamilyTries| Positions {
            v4: tries.v4.unwrap_or(abi::NO_TRIE),
            v6: tries.v6.unwrap_or(abi::NO_TRIE),
        };
        Self {
            features: tables.features() | features(settings, routes),
            unreadable: accepted(&settings.unreadable),
            source_classes: more.source_classes,
            sources: positions(more.sources),
            addresses: positions(more.addresses),
        }
    }
}

/// The features that an interface's settings need, beside those of the tables.
fn features(settings: &Settings, routes: bool) -> u32 {
    let outbound = match settings.outbound {
        None => 0,
        Some(Enforcement::Observe) => feature::OUTBOUND,
        Some(Enforcement::Enforce) => feature::OUTBOUND | feature::OUTBOUND_DROP,
    };
    let dhcp = if settings.dhcp { feature::DHCP } else { 0 };
    let deployment = match settings.deployment {
        // What rules open there is for others.
        Deployment::Gateway => feature::GATEWAY,
        Deployment::Host if routes && !settings.transit => feature::ROUTES,
        Deployment::Host => 0,
    };
    let observe = if settings.mode == Enforcement::Observe { feature::OBSERVE } else { 0 };
    outbound | dhcp | deployment | observe
}

/// The reasons that the programs themselves give and that are accepted, a bit for each slot.
fn accepted(unreadable: &Unreadable) -> u32 {
    let reasons = [
        Reason::NonIp,
        Reason::Truncated,
        Reason::Malformed,
        Reason::VlanDepth,
        Reason::HeaderLimit,
        Reason::Fragment,
    ];
    reasons
        .iter()
        .filter(|reason| unreadable.accepts(**reason))
        .fold(0, |bits, reason| bits | 1 << reason.slot())
}

/// The class tables of a set of rules, in which protocols and EtherTypes that no rule allows are accepted if its
/// settings say so.
pub(super) struct Classes<'a> {
    pub(super) arriving: Cow<'a, [u16]>,
    /// Empty where leaving packets are not judged.
    pub(super) leaving: Cow<'a, [u16]>,
}

impl<'a> Classes<'a> {
    pub(super) fn new(tables: &'a Tables, settings: &Settings) -> Self {
        let leaving = if settings.outbound.is_some() { tables.outbound.as_slice() } else { &[] };
        let mut classes = Self { arriving: Cow::Borrowed(&tables.classes), leaving: Cow::Borrowed(leaving) };
        for (reason, accepted) in [
            (Reason::UndocumentedProtocol, Reason::UndocumentedProtocolAccepted),
            (Reason::NonIp, Reason::NonIpAccepted),
        ] {
            if settings.unreadable.accepts(reason) {
                let (from, to) = (reason.slot(), accepted.slot());
                replace(&mut classes.arriving, from, to);
                replace(&mut classes.leaving, slot::leaving(from), slot::leaving(to));
            }
        }
        classes
    }

    /// The same behind a number of other rows.
    fn moved_by(&self, rows: usize) -> Classes<'static> {
        Classes {
            arriving: Cow::Owned(tables::moved_by(&self.arriving, rows)),
            leaving: Cow::Owned(tables::moved_by(&self.leaving, rows)),
        }
    }
}

/// Puts one class in the place of another.
fn replace(classes: &mut Cow<'_, [u16]>, from: u16, to: u16) {
    if classes.contains(&from) {
        classes.to_mut().iter_mut().filter(|class| **class == from).for_each(|class| *class = to);
    }
}

/// A second set, ready to be loaded.
pub(super) struct Second {
    pub(super) constants: Constants,
    /// Its class tables; empty where there is none.
    pub(super) classes: Classes<'static>,
    /// The EtherTypes of both sets.
    pub(super) ether_types: Vec<u16>,
    /// What it is for: the feature of the first set that says so.
    pub(super) what: u32,
    pub(super) deadline: u64,
    /// Entries of the maps that it needs.
    pub(super) chunks: u32,
    pub(super) differences: u32,
}

impl Second {
    /// Puts the rows and tries of a second set behind those of the first, if there is one; gives all
    /// of them.
    pub(super) fn new<'a>(
        first: &'a Tables,
        options: &LoadOptions,
    ) -> Result<(Cow<'a, More>, Self), DatapathError> {
        let Some(SecondSet { tables, settings, role }) = &options.second else {
            let none = Tables {
                classes: Vec::new(),
                outbound: Vec::new(),
                ether_types: Vec::new(),
                more: More::default(),
            };
            let second = Self {
                constants: Constants::new(&none, &none.more, &Settings::STANDARD, options.routes),
                classes: Classes { arriving: Cow::Borrowed(&[]), leaving: Cow::Borrowed(&[]) },
                ether_types: first.ether_types.clone(),
                what: 0,
                deadline: 0,
                chunks: 1,
                differences: 1,
            };
            return Ok((Cow::Borrowed(&first.more), second));
        };
        let full = |error: tables::Full| DatapathError::bpf("load two sets of rules", &error);
        let ether_types = tables::joined(&first.ether_types, &tables.ether_types).map_err(full)?;
        let (mut first, rows) = (first.more.clone(), first.more.rows.len());
        let more = first.append(&tables.more).map_err(full)?;
        let tables = &tables.with_ether_types(&ether_types);
        let (what, deadline, differences) = match *role {
            Role::After(deadline) => (feature::TRIAL, deadline, 1),
            Role::Shadow(slots) => (feature::SHADOW, 0, slots.max(1)),
        };
        let second = Self {
            constants: Constants::new(tables, &more, settings, options.routes),
            classes: Classes::new(tables, settings).moved_by(rows),
            ether_types,
            what,
            deadline,
            chunks: entries(CHUNKS),
            differences,
        };
        Ok((Cow::Owned(first), second))
    }
}
