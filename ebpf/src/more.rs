//! Row -> slot: what is decided by a packet's source and local address.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use portcullis_common::{
    abi::{NO_TRIE, PACK},
    more::{Cell, Row},
    slot::{Reason, Slot},
    trie::{IS_CLASS, Node, Step, V4_STEPS, V6_STEPS},
};

use crate::{
    config,
    forget::forget,
    header::{Headers, Side, Version},
    packet::{Packet, Window},
};

// Userspace sets the sizes and fills the maps before the program is attached.

/// Row -> its base among the cells and the slot without a cell.
#[map]
static MORE_ROWS: Array<Row> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The cells of all rows.
#[map]
static MORE_CELLS: Array<[Cell; PACK]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Entries of all tries.
#[map]
static TRIE_ENTRIES: Array<[u32; PACK]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Nodes of all tries.
#[map]
static TRIE_NODES: Array<Node> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Stands for the class where the trie is not one; no class has this number.
const NO_CLASS: u32 = u32::MAX;

/// The slot of a row's destination for the addresses of a packet's other side and of this one.
#[inline(always)]
pub(crate) fn slot<const SET: bool>(packet: &Packet, headers: &Headers, row: u16, side: Side) -> Slot {
    let column = column::<SET>(packet, headers, side).unwrap_or(NO_CLASS);
    cell(row, forget(column)).unwrap_or(Reason::Internal.slot())
}

/// The slot of a row in a column.
#[inline(always)]
fn cell(number: u16, column: u32) -> Option<Slot> {
    let row = MORE_ROWS.get(number.into())?;
    let cell = packed(&MORE_CELLS, row.position(column))?;
    Some(row.slot(number, cell))
}

/// The column of a packet: the class of its local address and that of the other side's.
#[inline(always)]
fn column<const SET: bool>(packet: &Packet, headers: &Headers, side: Side) -> Option<u32> {
    let version = headers.version;
    let (sources, addresses) = (config::sources::<SET>(version), config::addresses::<SET>(version));
    let (source, address) = match version {
        Version::V4 => {
            let header: &Window<20> = packet.window(headers.network)?;
            let (remote, local) = side.ends(header.word::<12>(), header.word::<16>());
            let source = class4(sources, remote)?;
            // Forgotten where there is more to look up, because otherwise the verifier would do that once for
            // each way to this class.
            let source = if addresses == NO_TRIE { source } else { forget(source) };
            (source, class4(addresses, local)?)
        }
        Version::V6 => {
            let header: &Window<40> = packet.window(headers.network)?;
            let source = [header.long::<8>(), header.long::<16>()];
            let destination = [header.long::<24>(), header.long::<32>()];
            let (remote, local) = side.ends(source, destination);
            (class6(sources, remote)?, class6(addresses, local)?)
        }
    };
    Some(address * config::source_classes::<SET>() + source)
}

/// The class of an IPv4 address as it stands in the packet. `None` only if the trie is not one.
#[inline(always)]
fn class4(trie: u32, address: u32) -> Option<u32> {
    if trie == NO_TRIE {
        return Some(0);
    }
    let address = u32::from_be(address);
    let entry = packed(&TRIE_ENTRIES, trie + (address >> 16))?;
    walk::<V4_STEPS>(entry, u64::from(address) << 48, 0)
}

/// The class of an IPv6 address as its halves stand in the packet. `None` only if the trie is not one.
#[inline(always)]
fn class6(trie: u32, [upper, lower]: [u64; 2]) -> Option<u32> {
    if trie == NO_TRIE {
        return Some(0);
    }
    let upper = u64::from_be(upper);
    let entry = packed(&TRIE_ENTRIES, trie + (upper >> 48) as u32)?;
    match walk6(entry, upper << 16, u64::from_be(lower)) {
        NO_CLASS => None,
        class => Some(class),
    }
}

/// [`walk`] for IPv6. A function of its own, which the verifier looks at once: otherwise it would look at
/// each step once for each way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk6(entry: u32, upper: u64, lower: u64) -> u32 {
    walk::<V6_STEPS>(entry, upper, lower).unwrap_or(NO_CLASS)
}

/// The class that an entry leads to for the bits behind it, in at most `STEPS` nodes.
#[inline(always)]
fn walk<const STEPS: u32>(entry: u32, upper: u64, lower: u64) -> Option<u32> {
    let mut entry = entry;
    let mut bits = upper;
    for _ in 0..STEPS {
        if entry & IS_CLASS != 0 {
            break;
        }
        let node = TRIE_NODES.get(entry)?;
        match node.step(bits) {
            Step::Class(class) => return Some(class),
            Step::Entry(position) => entry = packed(&TRIE_ENTRIES, position)?,
        }
        bits = node.rest(bits, lower);
    }
    if entry & IS_CLASS != 0 { Some(entry & !IS_CLASS) } else { None }
}

/// The value at a position of an array of packed values.
#[inline(always)]
fn packed(array: &Array<[u32; PACK]>, position: u32) -> Option<u32> {
    let element = array.get_ptr(position / PACK as u32)?.cast::<u32>();
    let at = position as usize % PACK;
    // SAFETY: the map handed out an element of `PACK` values, and `at` is below that.
    Some(unsafe { element.add(at).read() })
}
