//! Reads what the slots have counted.

use aya::{
    maps::{MapData, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use portcullis_common::{
    abi::map,
    counter::Counter,
    slot::{self, Slot},
};

use super::{DatapathError, load::Loaded};

/// The counters map.
pub(super) struct Counters {
    map: PerCpuArray<MapData, Counter>,
}

/// Packets and bytes of every slot, summed over all CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    by_slot: Vec<Counter>,
}

impl Counters {
    /// The counters map of a loaded object.
    pub(super) fn of(loaded: &mut Loaded) -> Result<Self, DatapathError> {
        let missing =
            || DatapathError::Bpf { what: "find the counters".into(), reason: "not in the object".into() };
        let map = loaded.take_map(map::COUNTERS).ok_or_else(missing)?;
        Self::open(map)
    }

    /// The counters behind a map, which may have been opened from its pin.
    pub(super) fn open(map: aya::maps::Map) -> Result<Self, DatapathError> {
        Ok(Self { map: map.try_into().map_err(|error| DatapathError::bpf("open the counters", &error))? })
    }

    /// Reads the slots below `end`; each costs a system call.
    pub(super) fn totals(&self, end: u32) -> Result<Totals, DatapathError> {
        let end = end.min(slot::COUNT);
        let by_slot = (0..end).map(|slot| self.total(slot)).collect::<Result<_, _>>()?;
        Ok(Totals { by_slot })
    }

    /// Reads one slot.
    pub(super) fn total(&self, slot: u32) -> Result<Counter, DatapathError> {
        let values =
            self.map.get(&slot, 0).map_err(|error| DatapathError::bpf("read the counters", &error))?;
        Ok(values.iter().fold(Counter::default(), |sum, value| sum.plus(*value)))
    }
}

impl Counters {
    /// Sets slots back to zero.
    pub(super) fn clear(&mut self, slots: &[Slot]) -> Result<(), DatapathError> {
        let failed = |error: &dyn std::error::Error| DatapathError::Bpf {
            what: "clear a counter".into(),
            reason: error.to_string(),
        };
        let cpus = nr_cpus().map_err(|(path, error)| DatapathError::Bpf {
            what: format!("count the CPUs in {path}"),
            reason: error.to_string(),
        })?;
        for slot in slots {
            let zero =
                PerCpuValues::try_from(vec![Counter::default(); cpus]).map_err(|error| failed(&error))?;
            self.map.set((*slot).into(), zero, 0).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

impl Totals {
    /// What a slot has counted.
    #[must_use]
    pub fn of(&self, slot: Slot) -> Counter {
        self.by_slot.get(usize::from(slot)).copied().unwrap_or_default()
    }

    /// Adds to what a slot has counted.
    pub fn add(&mut self, slot: Slot, counter: Counter) {
        let slot = usize::from(slot);
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, Counter::default());
        }
        self.by_slot[slot] = self.by_slot[slot].plus(counter);
    }

    /// What all slots have counted: every packet that was judged.
    #[must_use]
    pub fn sum(&self) -> Counter {
        self.by_slot.iter().fold(Counter::default(), |sum, counter| sum.plus(*counter))
    }

    /// The slots that have counted something, ascending.
    pub fn used(&self) -> impl Iterator<Item = (Slot, Counter)> {
        (0..)
            .zip(&self.by_slot)
            .filter(|(_, counter)| counter.packets > 0)
            .map(|(slot, counter)| (slot, *counter))
    }
}
