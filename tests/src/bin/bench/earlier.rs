//! The kernel object of another build -> its programs in the kernel, with rules that this build has compiled.
//!
//! The two may number reasons otherwise and have other constants and maps. So nothing is assumed of a layout but
//! what the verdicts then prove: slot 0 drops, slots from [`FIRST`] on are those of rules, and class indexes and
//! features keep their numbers. Constants that only one of the two has keep what the object says, and where a
//! map is of another shape, the lines that need it are left out by name.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, Map, MapData},
    programs::{ProgramFd, SchedClassifier, Xdp},
};
use object::{Object as _, ObjectSymbol as _, SymbolKind};
use portcullis::{
    datapath,
    ruleset::RuleSet,
    tables::{FamilyTries, Tables},
};
use portcullis_common::{
    abi::{self, NO_TRIE, PACK, constant, feature, map},
    class,
    flow::Settings,
    more::Row,
    slot::{FIRST_RULE, Slot, accepts},
};
use portcullis_tests::raw;

use crate::cases::DROP;

/// The slot of the first rule, far above the last reason of any build.
const FIRST: Slot = 1_024;
const _: () = assert!(FIRST >= FIRST_RULE);

/// The slots of rules in both builds.
pub(crate) fn slots(rules: &RuleSet) -> Vec<Slot> {
    (FIRST..).take(rules.rules.len()).collect()
}

/// An object file, and the bytes that each of its constants has.
pub(crate) struct Object {
    path: PathBuf,
    bytes: Vec<u8>,
    constants: BTreeMap<String, usize>,
}

/// Its programs with rules.
pub(crate) struct Earlier {
    /// The program that judges what arrives.
    pub(crate) ingress: OwnedFd,
    /// The one that sees what leaves; `None` where its conversations cannot be recorded.
    pub(crate) egress: Option<OwnedFd>,
    /// Keeps the maps.
    _ebpf: Ebpf,
}

impl Object {
    /// Reads an object file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        xtask::object::verify(path)?;
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = object::File::parse(&*bytes).with_context(|| format!("cannot read {}", path.display()))?;
        let constants =
            file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Data).filter_map(|symbol| {
                Some((symbol.name().ok()?.to_owned(), usize::try_from(symbol.size()).ok()?))
            });
        let constants = constants.collect();
        Ok(Self { path: path.to_owned(), bytes, constants })
    }

    /// Loads its programs with tables that were compiled with [`slots`].
    pub(crate) fn load(&self, tables: &Tables) -> Result<Earlier> {
        let what = || format!("cannot load {}", self.path.display());
        let values = self.values(tables)?;
        let more = &tables.more;
        let mut loader = EbpfLoader::new();
        for (name, value) in &values {
            loader.override_global(name, value.as_slice(), true);
        }
        let mut ebpf = loader
            .map_max_entries(map::MORE_ROWS, entries(more.rows.len()))
            .map_max_entries(map::MORE_CELLS, entries(more.cells.len().div_ceil(PACK)))
            .map_max_entries(map::TRIE_ENTRIES, entries(more.tries.entries.len().div_ceil(PACK)))
            .map_max_entries(map::TRIE_NODES, entries(more.tries.nodes.len()))
            .load(&self.bytes)
            .with_context(what)?;
        let row = |row: &Row| Row { otherwise: translated(row.otherwise), ..*row };
        let rows: Vec<Row> = more.rows.iter().map(row).collect();
        fill(&mut ebpf, map::MORE_ROWS, &rows).with_context(what)?;
        fill(&mut ebpf, map::MORE_CELLS, &packs(&more.cells)).with_context(what)?;
        fill(&mut ebpf, map::TRIE_ENTRIES, &packs(&more.tries.entries)).with_context(what)?;
        fill(&mut ebpf, map::TRIE_NODES, &more.tries.nodes).with_context(what)?;
        let records = prepare_flows(&mut ebpf).with_context(what)?;

        let program = ebpf.program_mut(abi::INGRESS_PROGRAM).context("it has no ingress program")?;
        let program: &mut Xdp = program.try_into().with_context(what)?;
        program.load().with_context(what)?;
        let ingress = handle(program.fd().with_context(what)?)?;
        let program = ebpf.program_mut(abi::EGRESS_PROGRAM).context("it has no egress program")?;
        let program: &mut SchedClassifier = program.try_into().with_context(what)?;
        program.load().with_context(what)?;
        let egress = handle(program.fd().with_context(what)?)?;
        Ok(Earlier { ingress, egress: records.then_some(egress), _ebpf: ebpf })
    }

    /// The values of the constants that both builds have.
    fn values(&self, tables: &Tables) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut classes: Vec<u16> = tables.classes.iter().map(|class| translated(*class)).collect();
        // What one of the builds has beyond the other's last index is closed.
        classes.resize(self.constant(constant::CLASSES)? / size_of::<u16>(), 0);
        // As long as the standard settings have it, and the same in every state.
        let timeout = datapath::ticks(Duration::from_secs(5 * 60))?;
        let timeouts = vec![timeout; self.constant(constant::TIMEOUTS)? / size_of::<u64>()];
        let tries = |tries: FamilyTries| [tries.v4, tries.v6].map(|position| position.unwrap_or(NO_TRIE));
        let (sources, addresses) = (tries(tables.more.sources), tries(tables.more.addresses));
        let narrow = |value: u32| value.to_ne_bytes().to_vec();
        let wide = |value: u64| value.to_ne_bytes().to_vec();
        let values = [
            (constant::CLASSES, classes.into_iter().flat_map(u16::to_ne_bytes).collect()),
            (constant::FEATURES, narrow(tables.features() | feature::DHCP)),
            // What the mode was before it was a feature.
            ("DROP_ACTION", narrow(DROP)),
            (constant::SOURCE_CLASSES, narrow(tables.more.source_classes)),
            (constant::SOURCES4, narrow(sources[0])),
            (constant::SOURCES6, narrow(sources[1])),
            (constant::ADDRESSES4, narrow(addresses[0])),
            (constant::ADDRESSES6, narrow(addresses[1])),
            (constant::FRAGMENT_TIMEOUT, wide(datapath::ticks(Duration::from_secs(60))?)),
            (constant::TIMEOUTS, timeouts.into_iter().flat_map(u64::to_ne_bytes).collect()),
            (constant::REFRESH, wide(datapath::ticks(Duration::from_secs(1))?)),
            // Diagnostics are off, and the verifier removes them.
            (aya_log::LEVEL, vec![0]),
        ];
        let mut kept = Vec::new();
        for (name, value) in values {
            let Some(&size) = self.constants.get(name) else { continue };
            let length = value.len();
            ensure!(size == length, "{name} has {size} bytes in {}, not {length}", self.path.display());
            kept.push((name, value));
        }
        Ok(kept)
    }

    /// The bytes of a constant that every build has.
    fn constant(&self, name: &str) -> Result<usize> {
        let size = self.constants.get(name).copied();
        size.with_context(|| {
            format!("{} has no constant {name}: it is no kernel object of Portcullis", self.path.display())
        })
    }
}

impl Earlier {
    /// Shows it a leaving packet, which begins a conversation. Gives whether it can be recorded.
    pub(crate) fn learn(&self, packet: &[u8]) -> Result<bool> {
        let Some(egress) = &self.egress else { return Ok(false) };
        raw::run(egress, packet, 1).context("cannot run the egress program")?;
        Ok(true)
    }
}

/// A class or slot as another build understands it: verdicts are the same, reasons need not be.
fn translated(class: u16) -> u16 {
    let is_rule = class & class::MORE != 0 || class >= FIRST;
    match class {
        _ if is_rule => class,
        reason if accepts(reason) => FIRST - 1,
        _ => 0,
    }
}

/// Entries of an array: the kernel wants at least one.
fn entries(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

/// Values as elements of [`PACK`] each, the last one filled up with zeros.
fn packs(values: &[u32]) -> Vec<[u32; PACK]> {
    let pack = |chunk: &[u32]| {
        let mut pack = [0; PACK];
        pack[..chunk.len()].copy_from_slice(chunk);
        pack
    };
    values.chunks(PACK).map(pack).collect()
}

/// Writes the first values of an array whose elements have the same shape in both builds.
fn fill<T: Pod>(ebpf: &mut Ebpf, name: &str, values: &[T]) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let Some(mut array) = array::<T>(ebpf, name)? else {
        bail!("its map `{name}` has another shape");
    };
    for (at, value) in (0..).zip(values) {
        array.set(at, value, 0).with_context(|| format!("cannot fill the map `{name}`"))?;
    }
    Ok(())
}

/// An array of such values; `None` where it is there and holds others.
fn array<'a, T: Pod>(ebpf: &'a mut Ebpf, name: &str) -> Result<Option<Array<&'a mut MapData, T>>> {
    let found = ebpf.map_mut(name).with_context(|| format!("it has no map `{name}`"))?;
    let Map::Array(data) = &*found else { return Ok(None) };
    let info = data.info().with_context(|| format!("cannot ask for the map `{name}`"))?;
    if info.value_size() as usize != size_of::<T>() {
        return Ok(None);
    }
    Ok(Some(found.try_into().with_context(|| format!("cannot fill the map `{name}`"))?))
}

/// Makes the table of flows ready, if its settings have the shape of this build's.
fn prepare_flows(ebpf: &mut Ebpf) -> Result<bool> {
    let flows = ebpf.map(map::FLOWS).with_context(|| format!("it has no map `{}`", map::FLOWS))?;
    let Map::Array(data) = flows else { return Ok(false) };
    let sets = data.info().context("cannot ask for the table of flows")?.max_entries();
    let Some(mut settings) = array::<Settings>(ebpf, map::FLOW_SETTINGS)? else { return Ok(false) };
    // Any secret will do: nobody attacks a benchmark.
    let mut written = Settings { mask: u64::from(sets) - 1, ..Settings::default() };
    written.secret.fill(0x9e37_79b9_7f4a_7c15);
    settings.set(0, written, 0).context("cannot write the settings of flows")?;
    Ok(true)
}

fn handle(program: &ProgramFd) -> Result<OwnedFd> {
    program.as_fd().try_clone_to_owned().context("cannot keep a program")
}

#[cfg(test)]
mod tests {
    use portcullis_common::{class::MORE, slot::Reason};

    use super::{FIRST, packs, translated};

    #[test]
    fn a_slot_keeps_its_verdict_in_every_layout() {
        assert_eq!(translated(Reason::UndocumentedUdp.slot()), 0);
        assert_eq!(translated(Reason::Source.slot()), 0);
        assert_eq!(translated(Reason::IcmpError.slot()), FIRST - 1);
        assert_eq!(translated(FIRST + 7), FIRST + 7);
        assert_eq!(translated(MORE | 3), MORE | 3);
    }

    #[test]
    fn the_last_pack_is_filled_up() {
        let packed = packs(&[1; 17]);
        assert_eq!(packed.len(), 2);
        assert_eq!(packed[1][..2], [1, 0]);
    }
}
