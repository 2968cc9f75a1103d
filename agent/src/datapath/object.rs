//! Tables -> programs in the kernel, loaded and verified but attached nowhere.

use std::{os::fd::OwnedFd, time::Duration};

use portcullis_common::{
    abi::{self, constant, map},
    counter::Counter,
    slot::Slot,
};

use super::{
    DatapathError,
    counters::{Counters, Totals},
    fill::{self, entries, packed},
    load::{self, Loaded, Loader},
    pins::Pins,
    second::{Constants, Second, SecondSet},
    sys,
};
use crate::tables::Tables;

/// How a generation is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// What happens to packets with a drop verdict.
    pub drop: Action,
    /// When flows end and how many there may be.
    pub flows: Flows,
    /// Whether replies to this host's DHCP client are accepted.
    pub dhcp: bool,
    /// Whether the counters are its own, even where the pinned flows are used.
    pub uncounted: bool,
    /// A second set of rules; `None` where one set decides alone.
    pub second: Option<SecondSet>,
    /// Level of the program's own diagnostics, 0 (off) to 5 (trace).
    pub log_level: u8,
}

/// What happens to packets with a drop verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are dropped.
    Drop,
    /// They are counted as dropped, and pass.
    Pass,
}

/// Limits of the flow tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    /// Conversations of each version of IP that are remembered; the oldest gives way.
    pub entries: u32,
    /// How long a TCP conversation may be silent.
    pub tcp_timeout: Duration,
    /// How long a UDP conversation or a ping may be silent.
    pub udp_timeout: Duration,
}

impl Default for Flows {
    /// RFC 5382 REQ-5 asks for at least 2 hours and 4 minutes for TCP, RFC 4787 REQ-5 recommends 5
    /// minutes for UDP.
    fn default() -> Self {
        Self {
            entries: 1 << 16,
            tcp_timeout: Duration::from_secs(2 * 3600 + 4 * 60),
            udp_timeout: Duration::from_secs(5 * 60),
        }
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            drop: Action::Drop,
            flows: Flows::default(),
            dhcp: true,
            uncounted: false,
            second: None,
            log_level: 0,
        }
    }
}

/// Both programs of a generation in the kernel.
pub struct Programs {
    pub(super) loaded: Loaded,
    counters: Counters,
}

impl Programs {
    /// Loads the programs with `tables`. With `pins`, counters and flows are the pinned ones, made
    /// where they are missing; without, they are private and vanish with the value.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a program or a map, or a pinned map is of another build.
    pub fn load(tables: &Tables, options: &LoadOptions, pins: Option<&Pins>) -> Result<Self, DatapathError> {
        let (more, second) = Second::new(&tables.more, options.second.as_ref())?;
        let first = Constants::new(tables, &tables.more, options.drop, options.dhcp);
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (tcp_timeout, udp_timeout) =
            (nanoseconds(options.flows.tcp_timeout), nanoseconds(options.flows.udp_timeout));

        let mut loader = Loader::default();
        loader
            .override_global(constant::CLASSES, tables.classes.as_slice(), true)
            .override_global(constant::FEATURES, &first.features, true)
            .override_global(constant::DROP_ACTION, &first.drop_action, true)
            .override_global(constant::SOURCE_CLASSES, &first.source_classes, true)
            .override_global(constant::SOURCES4, &first.sources.v4, true)
            .override_global(constant::SOURCES6, &first.sources.v6, true)
            .override_global(constant::ADDRESSES4, &first.addresses.v4, true)
            .override_global(constant::ADDRESSES6, &first.addresses.v6, true)
            .override_global(constant::SECOND, &second.what, true)
            .override_global(constant::SECOND_FEATURES, &second.constants.features, true)
            .override_global(constant::SECOND_DROP_ACTION, &second.constants.drop_action, true)
            .override_global(constant::SECOND_SOURCE_CLASSES, &second.constants.source_classes, true)
            .override_global(constant::SECOND_SOURCES4, &second.constants.sources.v4, true)
            .override_global(constant::SECOND_SOURCES6, &second.constants.sources.v6, true)
            .override_global(constant::SECOND_ADDRESSES4, &second.constants.addresses.v4, true)
            .override_global(constant::SECOND_ADDRESSES6, &second.constants.addresses.v6, true)
            .override_global(constant::TCP_TIMEOUT, &tcp_timeout, true)
            .override_global(constant::UDP_TIMEOUT, &udp_timeout, true)
            .override_global(aya_log::LEVEL, &options.log_level, false)
            .map_max_entries(map::SECOND_CLASSES, second.chunks)
            .map_max_entries(map::DIFFERENCES, second.differences)
            .map_max_entries(map::MORE_ROWS, entries(more.rows.len()))
            .map_max_entries(map::MORE_CELLS, packed(more.cells.len()))
            .map_max_entries(map::TRIE_ENTRIES, packed(more.tries.entries.len()))
            .map_max_entries(map::TRIE_NODES, entries(more.tries.nodes.len()))
            .map_max_entries(map::FLOWS4, options.flows.entries)
            .map_max_entries(map::FLOWS6, options.flows.entries);
        if let Some(pins) = pins {
            let shared =
                Pins::SHARED_MAPS.iter().filter(|name| !options.uncounted || **name != map::COUNTERS);
            for name in shared {
                loader.map_pin_path(name, pins.map(name));
            }
            if second.what == abi::second::SHADOW {
                loader.map_pin_path(map::DIFFERENCES, pins.map(map::DIFFERENCES));
            }
        }
        if let Some(pins) = pins {
            pins.ensure_shapes(|name| shape(name, options.flows))?;
        }
        let mut loaded = loader.load()?;
        if let Some(pins) = pins {
            pins.own_maps()?;
        }
        fill::more(&mut loaded, &more)?;
        fill::second(&mut loaded, &second.classes)?;
        fill::deadline(&mut loaded, second.deadline)?;
        loaded.verify(&[abi::INGRESS_PROGRAM, abi::EGRESS_PROGRAM])?;
        let counters = Counters::of(&mut loaded)?;
        let mut programs = Self { loaded, counters };
        if options.dhcp || options.second.as_ref().is_some_and(|second| second.dhcp) {
            // Marks the client's ports as used, so that ingress looks at what arrives there. The
            // program does it, because only it may write to a map that others are writing to.
            for request in dhcp_requests() {
                programs.learn(&request)?;
            }
        }
        Ok(programs)
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
    /// Where the kernel refuses: a packet shorter than an Ethernet header, for example.
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
        sys::run(self.egress()?, packet, 1)
            .map(drop)
            .map_err(|error| DatapathError::bpf("run the program on a packet", &error))
    }

    /// Kernel identifier of the ingress program.
    ///
    /// # Errors
    ///
    /// Where the kernel does not tell.
    pub fn id(&self) -> Result<u32, DatapathError> {
        let info = sys::program_info(self.ingress()?);
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
            let info = sys::program_info(program);
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

/// Bytes of a key, bytes of a value, and entries of a map that is pinned; `None` where the object has no such
/// map.
fn shape(name: &str, flows: Flows) -> Option<[u32; 3]> {
    let map = load::object().ok()?.maps.get(name)?;
    let [key, value, entries] = [map.key_size(), map.value_size(), map.max_entries()];
    let chosen = matches!(name, map::FLOWS4 | map::FLOWS6);
    Some([key, value, if chosen { flows.entries } else { entries }])
}

/// The headers of what a DHCP client asks: Ethernet and IPv4 or IPv6 with UDP from the client's port to
/// the server's (RFC 2131 section 4.1, RFC 8415 section 7.2).
fn dhcp_requests() -> [Vec<u8>; 2] {
    let ethernet = [0; 12];
    let mut v4 = [0; 20];
    (v4[0], v4[9]) = (0x45, 17);
    let mut v6 = [0; 40];
    (v6[0], v6[6]) = (0x60, 17);
    let udp = |client: u16, server: u16| {
        [client.to_be_bytes(), server.to_be_bytes(), 8_u16.to_be_bytes(), [0, 0]].concat()
    };
    [
        [&ethernet[..], &[0x08, 0x00], &v4, &udp(68, 67)].concat(),
        [&ethernet[..], &[0x86, 0xdd], &v6, &udp(546, 547)].concat(),
    ]
}
