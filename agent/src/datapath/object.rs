//! Tables -> programs in the kernel, loaded and verified but attached nowhere.

use std::{fs, io, os::fd::OwnedFd, time::Duration};

use sha2::Digest as _;

use portcullis_common::{
    abi::{self, constant, feature, map},
    class::{self, PAGES},
    counter::Counter,
    flow::FEWEST,
    slot::Slot,
};

use super::{
    DatapathError,
    clock::Tick,
    counters::{Counters, Totals},
    fill::{self, entries, packed},
    flows::{self, FlowTotals},
    link_type::LinkType,
    load::{self, Constant, Loaded, Loader},
    pins::Pins,
    second::{Classes, Constants, Second, SecondSet},
    sys::{self, ProgramInfo},
};
use crate::{
    policy::Settings,
    tables::{More, Tables},
};

/// How long a datagram's first fragment is remembered: as long as a host waits for the rest of it
/// (RFC 8200 section 4.5; RFC 1122 section 3.3.2 recommends 60 to 120 seconds for IPv4).
const FRAGMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// How much older a flow must have become before a packet refreshes it, so that a busy conversation
/// does not write to memory that two CPUs share at every packet.
const REFRESH: Duration = Duration::from_secs(1);
/// How a generation is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// How packets are judged, beside the rules.
    pub settings: Settings,
    /// What packets begin with.
    pub link: LinkType,
    /// Whether the counters are its own, even where the pinned flows are used.
    pub uncounted: bool,
    /// Whether the programs only listen before an interface is enforced: what may answer a question of this host
    /// that they have not seen is not taken for a question itself.
    pub listening: bool,
    /// Whether this host passes on to others what arrives: then what a rule lets in must be addressed to it.
    pub routes: bool,
    /// A second set of rules; `None` where one set decides alone.
    pub second: Option<SecondSet>,
    /// Level of the program's own diagnostics, 0 (off) to 5 (trace).
    pub log_level: u8,
}

impl LoadOptions {
    /// Those of a generation that is judged as `settings` say.
    #[must_use]
    pub fn with(settings: Settings) -> Self {
        let link = LinkType::default();
        Self { settings, link, uncounted: false, listening: false, routes: false, second: None, log_level: 0 }
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self::with(Settings::STANDARD)
    }
}

/// Both programs of a generation in the kernel.
pub struct Programs {
    pub(super) loaded: Loaded,
    counters: Counters,
    /// What the packets begin with that they can read.
    pub(super) link: LinkType,
}

impl Programs {
    /// Loads the programs with `tables`. With `pins`, counters and flows are the pinned ones, made
    /// where they are missing; without, they are private and vanish with the value.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a program or a map, or a pinned map is of another build.
    pub fn load(tables: &Tables, options: &LoadOptions, pins: Option<&Pins>) -> Result<Self, DatapathError> {
        assembled(tables, options, |loader, parts| Self::assembled(loader, &parts, options, pins))
    }

    /// What tells programs that are loaded so from all others, in hexadecimal digits: equal where the kernel
    /// programs, their constants and tables are. Nothing is loaded.
    ///
    /// # Errors
    ///
    /// Where the tables do not fit.
    pub fn fingerprint(tables: &Tables, options: &LoadOptions) -> Result<String, DatapathError> {
        assembled(tables, options, |loader, Parts { more, second, classes, .. }| {
            let mut digest = loader.digest();
            load::part(&mut digest, map::MORE_ROWS, Constant::from(more.rows.as_slice()).0);
            load::part(&mut digest, map::MORE_CELLS, Constant::from(more.cells.as_slice()).0);
            load::part(&mut digest, map::TRIE_ENTRIES, Constant::from(more.tries.entries.as_slice()).0);
            load::part(&mut digest, map::TRIE_NODES, Constant::from(more.tries.nodes.as_slice()).0);
            for leaving in [classes, &second.classes] {
                load::part(&mut digest, map::OUTBOUND, Constant::from(&*leaving.leaving).0);
            }
            load::part(&mut digest, map::SECOND_CLASSES, Constant::from(&*second.classes.arriving).0);
            Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
        })
    }

    /// Loads what was put together.
    fn assembled(
        loader: &mut Loader<'_>,
        Parts { more, second, classes, sets }: &Parts<'_>,
        options: &LoadOptions,
        pins: Option<&Pins>,
    ) -> Result<Self, DatapathError> {
        if let Some(pins) = pins {
            let shared =
                Pins::SHARED_MAPS.iter().filter(|name| !options.uncounted || **name != map::COUNTERS);
            for name in shared {
                loader.map_pin_path(name, pins.map(name));
            }
            if second.what == feature::SHADOW {
                loader.map_pin_path(map::DIFFERENCES, pins.map(map::DIFFERENCES));
            }
        }
        if let Some(pins) = pins {
            pins.ensure_shapes(shape)?;
        }
        let mut loaded = loader.load()?;
        if let Some(pins) = pins {
            pins.own_maps()?;
        }
        fill::more(&mut loaded, more)?;
        fill::second(&mut loaded, &second.classes.arriving)?;
        fill::outbound(&mut loaded, 0, &classes.leaving)?;
        fill::outbound(&mut loaded, PAGES, &second.classes.leaving)?;
        fill::deadline(&mut loaded, second.deadline)?;
        flows::prepare(&mut loaded, *sets, pins)?;
        loaded.verify(&[abi::INGRESS_PROGRAM, abi::EGRESS_PROGRAM])?;
        let counters = Counters::of(&mut loaded)?;
        Ok(Self { loaded, counters, link: options.link })
    }

    /// What the slots below `end` have counted so far. With pinned counters, by earlier generations
    /// too.
    ///
    /// # Errors
    ///
    /// Where the kernel does not give the counters.
    pub fn totals(&self, end: u32) -> Result<Totals, DatapathError> {
        self.counters.totals(end)
    }

    /// Sets the counters of slots back to zero.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn clear(&mut self, slots: &[Slot]) -> Result<(), DatapathError> {
        self.counters.clear(slots)
    }

    /// What befell the flows so far.
    ///
    /// # Errors
    ///
    /// As [`Self::totals`].
    pub fn flow_totals(&mut self) -> Result<FlowTotals, DatapathError> {
        flows::totals(&mut self.loaded)
    }

    /// What one slot has counted so far.
    ///
    /// # Errors
    ///
    /// As [`Self::totals`].
    pub fn total(&self, slot: Slot) -> Result<Counter, DatapathError> {
        self.counters.total(slot.into())
    }

    /// Sets the moment from which on the second set of rules decides: nanoseconds on the kernel's coarse
    /// monotonic clock.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn set_deadline(&mut self, deadline: u64) -> Result<(), DatapathError> {
        fill::deadline(&mut self.loaded, deadline)
    }

    /// Asks the ingress program about one packet, as often as `repeat` says (BPF_PROG_TEST_RUN). The
    /// packet is counted. Gives the XDP action and the mean time of a run.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses: a packet of fewer than 14 bytes, for example.
    pub fn judge(&mut self, packet: &[u8], repeat: u32) -> Result<(u32, Duration), DatapathError> {
        sys::run(self.ingress()?, packet, repeat)
            .map_err(|error| DatapathError::bpf("run the program on a packet", &error))
    }

    /// Shows the egress program one leaving packet, as if this host had sent it.
    ///
    /// # Errors
    ///
    /// As [`Self::judge`].
    pub fn learn(&mut self, packet: &[u8]) -> Result<(), DatapathError> {
        self.leaving(packet).map(drop)
    }

    /// As [`Self::learn`]; gives the action: `TCX_NEXT` (-1) or `TC_ACT_SHOT` (2).
    ///
    /// # Errors
    ///
    /// As [`Self::judge`].
    pub fn leaving(&mut self, packet: &[u8]) -> Result<i32, DatapathError> {
        let run = sys::run(self.egress()?, packet, 1);
        let (action, _) = run.map_err(|error| DatapathError::bpf("run the program on a packet", &error))?;
        Ok(action.cast_signed())
    }

    /// Kernel identifier of the ingress program.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell.
    pub fn id(&self) -> Result<u32, DatapathError> {
        let info = sys::info::<ProgramInfo>(self.ingress()?);
        info.map(|info| info.id).map_err(|error| DatapathError::bpf("read the program's identifier", &error))
    }

    /// Kernel identifier of the egress program.
    ///
    /// # Errors
    ///
    /// As [`Self::id`].
    pub fn egress_id(&self) -> Result<u32, DatapathError> {
        let info = sys::info::<ProgramInfo>(self.egress()?);
        info.map(|info| info.id).map_err(|error| DatapathError::bpf("read the program's identifier", &error))
    }

    /// How many instructions the verifier followed in each program, of the million that it is willing to
    /// (`BPF_COMPLEXITY_LIMIT_INSNS` of include/linux/bpf.h); 0 where the kernel does not tell (before
    /// Linux 5.16).
    ///
    /// # Errors
    ///
    /// As [`Self::id`].
    pub fn verified_instructions(&self) -> Result<[(&'static str, u32); 2], DatapathError> {
        let verified = |program: &OwnedFd| {
            let info = sys::info::<ProgramInfo>(program);
            info.map(|info| info.verified)
                .map_err(|error| DatapathError::bpf("read what the verifier did", &error))
        };
        Ok([
            (abi::INGRESS_PROGRAM, verified(self.ingress()?)?),
            (abi::EGRESS_PROGRAM, verified(self.egress()?)?),
        ])
    }

    /// The maps and programs as they were loaded.
    pub fn object(&mut self) -> &mut Loaded {
        &mut self.loaded
    }

    pub(super) fn ingress(&self) -> Result<&OwnedFd, DatapathError> {
        self.loaded.program(abi::INGRESS_PROGRAM)
    }

    pub(super) fn egress(&self) -> Result<&OwnedFd, DatapathError> {
        self.loaded.program(abi::EGRESS_PROGRAM)
    }
}

/// The ports that this host gives to those who ask without naming one (ip_local_port_range in
/// Documentation/networking/ip-sysctl.rst of the kernel): the first in the lower half, the last in the upper one.
fn ephemeral_ports() -> Result<u32, DatapathError> {
    const PATH: &str = "/proc/sys/net/ipv4/ip_local_port_range";
    let failed = |source| DatapathError::File { what: "read", path: PATH.into(), source };
    let text = fs::read_to_string(PATH).map_err(failed)?;
    let mut ports = text.split_whitespace().map(str::parse::<u16>);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok(u32::from(last) << 16 | u32::from(first)),
        _ => Err(failed(io::Error::other("it does not hold two ports"))),
    }
}

/// EtherTypes as they stand in frames, then zeros.
fn in_frames(ether_types: &[u16]) -> [u16; class::ETHER_TYPES] {
    let mut named = [0; class::ETHER_TYPES];
    for (named, number) in named.iter_mut().zip(ether_types) {
        *named = number.to_be();
    }
    named
}

/// What a loader is not given as constants.
struct Parts<'a> {
    more: &'a More,
    second: &'a Second,
    classes: &'a Classes<'a>,
    /// Sets of the flow table.
    sets: u32,
}

/// Puts together what is loaded for `tables`, and does `then` with it.
fn assembled<T>(
    tables: &Tables,
    options: &LoadOptions,
    then: impl FnOnce(&mut Loader<'_>, Parts<'_>) -> Result<T, DatapathError>,
) -> Result<T, DatapathError> {
    let settings = &options.settings;
    let (more, second) = Second::new(tables, options)?;
    let ether_types = in_frames(&second.ether_types);
    let first = Constants::new(tables, &tables.more, settings, options.routes);
    let classes = Classes::new(tables, settings);
    let tick = Tick::of_this_kernel()?;
    let (timeouts, refresh) = (flows::timeouts(&settings.flows, tick), tick.in_duration(REFRESH));
    let sets = flows::sets(settings.flows.entries);
    // What only the second set names, the first one reads for it where it is a shadow.
    let named = if second.ether_types.is_empty() { 0 } else { feature::ETHER_TYPES };
    let link = options.link.feature();
    let features = first.features | second.what | named | link;
    let second_features = second.constants.features | link;
    let ephemeral = if options.listening { ephemeral_ports()? } else { 0 };
    let fragment_timeout = tick.in_duration(FRAGMENT_TIMEOUT);

    let mut loader = Loader::default();
    loader
        .override_global(constant::CLASSES, classes.arriving.as_ref(), true)
        .override_global(constant::FEATURES, &features, true)
        .override_global(constant::UNREADABLE, &first.unreadable, true)
        .override_global(constant::SOURCE_CLASSES, &first.source_classes, true)
        .override_global(constant::SOURCES4, &first.sources.v4, true)
        .override_global(constant::SOURCES6, &first.sources.v6, true)
        .override_global(constant::ADDRESSES4, &first.addresses.v4, true)
        .override_global(constant::ADDRESSES6, &first.addresses.v6, true)
        .override_global(constant::SECOND_FEATURES, &second_features, true)
        .override_global(constant::SECOND_UNREADABLE, &second.constants.unreadable, true)
        .override_global(constant::SECOND_SOURCE_CLASSES, &second.constants.source_classes, true)
        .override_global(constant::SECOND_SOURCES4, &second.constants.sources.v4, true)
        .override_global(constant::SECOND_SOURCES6, &second.constants.sources.v6, true)
        .override_global(constant::SECOND_ADDRESSES4, &second.constants.addresses.v4, true)
        .override_global(constant::SECOND_ADDRESSES6, &second.constants.addresses.v6, true)
        .override_global(constant::ETHER_TYPES, ether_types.as_slice(), true)
        .override_global(constant::FRAGMENT_TIMEOUT, &fragment_timeout, true)
        .override_global(constant::TIMEOUTS, timeouts.as_slice(), true)
        .override_global(constant::REFRESH, &refresh, true)
        .override_global(constant::EPHEMERAL, &ephemeral, true)
        .override_global(aya_log::LEVEL, &options.log_level, false)
        .map_max_entries(map::SECOND_CLASSES, second.chunks)
        .map_max_entries(map::DIFFERENCES, second.differences)
        .map_max_entries(map::MORE_ROWS, entries(more.rows.len()))
        .map_max_entries(map::MORE_CELLS, packed(more.cells.len()))
        .map_max_entries(map::TRIE_ENTRIES, packed(more.tries.entries.len()))
        .map_max_entries(map::TRIE_NODES, entries(more.tries.nodes.len()))
        .map_max_entries(map::OUTBOUND, pages(&classes, &second.classes))
        .map_max_entries(map::FLOWS, sets);
    let parts = Parts { more: &more, second: &second, classes: &classes, sets };
    then(&mut loader, parts)
}

/// A map of the object by its name.
pub(super) fn map_of<'a>(
    loaded: &'a mut Loaded,
    name: &'static str,
) -> Result<&'a mut aya::maps::Map, DatapathError> {
    loaded.map_mut(name).ok_or_else(|| DatapathError::Bpf {
        what: format!("find the map `{name}`"),
        reason: "not in the object".into(),
    })
}

/// Pages of the table for leaving packets, whose second half is the second set's.
fn pages(first: &Classes<'_>, second: &Classes<'_>) -> u32 {
    match (first.leaving.is_empty(), second.leaving.is_empty()) {
        (true, true) => 1,
        (false, true) => PAGES,
        (_, false) => 2 * PAGES,
    }
}

/// Bytes of a key, bytes of a value, and entries of a map that is pinned, given how many entries it has; `None`
/// where the object has no such map.
fn shape(name: &str, found: u32) -> Option<[u32; 3]> {
    let map = load::object().ok()?.maps.get(name)?;
    let [key, value, entries] = [map.key_size(), map.value_size(), map.max_entries()];
    // The flows keep the size that they were made with.
    let any = name == map::FLOWS && found.is_power_of_two() && found >= flows::sets(FEWEST);
    Some([key, value, if any { found } else { entries }])
}
