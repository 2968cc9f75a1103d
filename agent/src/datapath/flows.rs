//! The flow table as userspace sees it: what must be in it before the first program runs, and what
//! befell it.

use std::{fs::File, io::Read as _, time::Duration};

use aya::maps::{Array, Map, MapData, MapInfo, PerCpuArray};
use portcullis_common::{
    abi::map,
    class::{self, port_index},
    flow::{
        FEWEST, FlowCounter, Key, MARKS, MOST, Phase, SECRETS, SPARE, Settings, TIMEOUTS, WAYS, timeout_index,
    },
};
use serde::Serialize;

use super::{
    DatapathError,
    clock::Tick,
    load::Loaded,
    object::map_of,
    pins::{Pins, held},
};
use crate::{files::Held, policy::Flows};

/// The local ports of DHCP and DHCPv6 clients (RFC 2131 section 4.1, RFC 8415 section 7.2). They count
/// as used by a flow, so that ingress looks at what arrives there.
const DHCP_CLIENTS: [u16; 2] = [68, 546];

/// How long it is remembered that somebody sent something that no rule lets in, while nothing was dropped: longer than
/// any answer takes, and no longer, because this host may have begun before it was looked at.
const SEEN: Duration = Duration::from_secs(30);

/// Flows that a table is made for, for each of its sets.
const PER_SET: u32 = WAYS as u32 / SPARE;

/// Sets of a table that is made for so many flows.
pub(super) fn sets(entries: u32) -> u32 {
    entries.clamp(FEWEST, MOST).next_power_of_two() / PER_SET
}

/// What befell the flows of all interfaces since the table was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowTotals {
    /// Conversations that there is room for.
    pub entries: u32,
    /// Conversations that were recorded.
    pub begun: u64,
    /// Conversations that gave way to another one before their time was over.
    pub evicted: u64,
    /// Conversations that were not recorded at their first packet, as two CPUs wrote at once.
    pub missed: u64,
}

/// Writes what must stay the same as long as the flows do, unless an earlier generation has. `sets` is the
/// size of the table if it is a new one.
pub(super) fn prepare(loaded: &mut Loaded, sets: u32, pins: Option<&Pins>) -> Result<(), DatapathError> {
    let mut settings: Array<&mut MapData, Settings> =
        map_of(loaded, map::FLOW_SETTINGS)?.try_into().map_err(failed)?;
    if settings.get(&0, 0).map_err(failed)? != Settings::default() {
        return Ok(());
    }
    // Nobody uses the table yet: whoever attaches a program has written the settings before.
    let sets = match pins {
        Some(pins) => match held(&pins.map(map::FLOWS))? {
            Some(table) => info(&table)?.max_entries(),
            None => sets,
        },
        None => sets,
    };
    let random = Settings { secret: secret()?, mask: u64::from(sets) - 1 };
    settings.set(0, random, 0).map_err(failed)?;

    let mut marks = [0_u8; MARKS];
    for port in DHCP_CLIENTS {
        marks[class::UDP + port_index(port)] = 1;
    }
    let mut map: Array<&mut MapData, [u8; MARKS]> =
        map_of(loaded, map::FLOW_MARKS)?.try_into().map_err(failed)?;
    map.set(0, marks, 0).map_err(failed)
}

/// The table of timeouts, in ticks, as the programs look it up.
pub(super) fn timeouts(flows: &Flows, tick: Tick) -> [u64; TIMEOUTS] {
    let mut timeouts = [0; TIMEOUTS];
    for protocol in [1, 6, 17, 132] {
        for state in 0..16 {
            let timeout = match Phase::of(protocol, state) {
                Phase::Opening => flows.tcp_opening,
                Phase::Established => flows.tcp_established,
                Phase::Closing | Phase::Closed => flows.tcp_closing,
                Phase::Seen => flows.udp.min(SEEN),
                Phase::Question => flows.answers,
                Phase::Datagrams => flows.udp,
                Phase::Associations => flows.sctp,
                Phase::Echo => flows.echo,
            };
            timeouts[timeout_index(Key::ends(0, 0, protocol), state)] = tick.in_duration(timeout);
        }
    }
    timeouts
}

/// Reads the pinned counters of the flow table; `None` where there is no table.
///
/// # Errors
///
/// Where the kernel does not give them.
pub fn flow_totals(pins: &Pins) -> Result<Option<FlowTotals>, DatapathError> {
    let (Some(table), Some(counters)) = (held(&pins.map(map::FLOWS))?, held(&pins.map(map::FLOW_COUNTERS))?)
    else {
        return Ok(None);
    };
    let counters = Map::PerCpuArray(MapData::from_pin(counters.path()).map_err(failed)?);
    let counters: PerCpuArray<MapData, FlowCounter> = counters.try_into().map_err(failed)?;
    let entries = info(&table)?.max_entries() * PER_SET;
    Ok(Some(sum(&counters.get(&0, 0).map_err(failed)?, entries)))
}

/// Reads the counters of a loaded object.
pub(super) fn totals(loaded: &mut Loaded) -> Result<FlowTotals, DatapathError> {
    let settings: Array<&mut MapData, Settings> =
        map_of(loaded, map::FLOW_SETTINGS)?.try_into().map_err(failed)?;
    let mask = settings.get(&0, 0).map_err(failed)?.mask;
    let entries = u32::try_from(mask + 1).unwrap_or(u32::MAX).saturating_mul(PER_SET);
    let counters: PerCpuArray<&mut MapData, FlowCounter> =
        map_of(loaded, map::FLOW_COUNTERS)?.try_into().map_err(failed)?;
    Ok(sum(&counters.get(&0, 0).map_err(failed)?, entries))
}

/// Adds up what each CPU has counted.
fn sum(counters: &[FlowCounter], entries: u32) -> FlowTotals {
    let mut totals = FlowTotals { entries, ..FlowTotals::default() };
    for counter in counters {
        totals.begun += counter.begun;
        totals.evicted += counter.evicted;
        totals.missed += counter.missed;
    }
    totals
}

fn info(pin: &Held) -> Result<MapInfo, DatapathError> {
    MapInfo::from_pin(pin.path()).map_err(failed)
}

/// Numbers that nobody outside can guess.
fn secret() -> Result<[u64; SECRETS], DatapathError> {
    const SOURCE: &str = "/dev/urandom";
    let mut bytes = [[0; 8]; SECRETS];
    let read = File::open(SOURCE).and_then(|mut file| file.read_exact(bytes.as_flattened_mut()));
    read.map_err(|source| DatapathError::File { what: "read", path: SOURCE.into(), source })?;
    Ok(bytes.map(u64::from_ne_bytes))
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn failed(error: aya::maps::MapError) -> DatapathError {
    DatapathError::bpf("prepare the flow table", &error)
}
