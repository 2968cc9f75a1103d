//! Row -> slot: what is decided by a packet's source and local address.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use portcullis_common::{
    abi::{NO_TRIE, PACK},
    more::{Cell, Row},
    slot::{Reason, Slot},
    trie::{IS_CLASS, LOWER_STEPS, Node, STRIDE, Step, UPPER_STEPS, V4_STEPS},
};

use crate::{
    config,
    header::{Headers, Version},
    packet::{Packet, Window},
};

// Userspace sets the sizes and fills the maps before the program is attached.

/// Row -> its base among the cells and the slot without a cell.
#[map]
static MORE_ROWS: Array<Row> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The cells of all rows.
#[map]
static MORE_CELLS: Array<[Cell; PACK]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Upper bits of an address -> class or node; one run of entries for each trie.
#[map]
static TRIE_ROOTS: Array<[u32; PACK]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Nodes of all tries.
#[map]
static TRIE_NODES: Array<Node> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Classes of all tries.
#[map]
static TRIE_LEAVES: Array<[u32; PACK]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What [`walk6`] answers where the trie is not one; no class has this number.
const NO_CLASS: u32 = u32::MAX;

/// The slot of a row's destination for a packet's source and local address.
#[inline(always)]
pub(crate) fn slot(packet: &Packet, headers: &Headers, row: u16) -> Slot {
    column(packet, headers).and_then(|column| cell(row, column)).unwrap_or(Reason::Internal.slot())
}

/// The slot of a row in a column.
#[inline(always)]
fn cell(number: u16, column: u32) -> Option<Slot> {
    let row = MORE_ROWS.get(number.into())?;
    let cell = packed(&MORE_CELLS, row.position(column))?;
    Some(row.slot(number, cell))
}

/// The column of a packet: its local address's class and its source's.
#[inline(always)]
fn column(packet: &Packet, headers: &Headers) -> Option<u32> {
    let version = headers.version;
    let (sources, addresses) = (config::sources(version), config::addresses(version));
    let (source, address) = match version {
        Version::V4 => {
            let header: &Window<20> = packet.window(headers.network)?;
            (class4(sources, header.word::<12>())?, class4(addresses, header.word::<16>())?)
        }
        Version::V6 => {
            let header: &Window<40> = packet.window(headers.network)?;
            let source = [header.long::<8>(), header.long::<16>()];
            let address = [header.long::<24>(), header.long::<32>()];
            (class6(sources, source)?, class6(addresses, address)?)
        }
    };
    Some(address * config::source_classes() + source)
}

/// The class of an IPv4 address as it stands in the packet. `None` only if the trie is not one.
#[inline(always)]
fn class4(trie: u32, address: u32) -> Option<u32> {
    if trie == NO_TRIE {
        return Some(0);
    }
    let address = u32::from_be(address);
    let root = packed(&TRIE_ROOTS, trie + (address >> 16))?;
    if root & IS_CLASS != 0 {
        return Some(root & !IS_CLASS);
    }
    let mut node = root;
    let mut bits = u64::from(address) << 48;
    for _ in 0..V4_STEPS {
        match TRIE_NODES.get(node)?.step(bits) {
            Step::Node(child) => node = child,
            Step::Leaf(leaf) => return packed(&TRIE_LEAVES, leaf),
        }
        bits <<= STRIDE;
    }
    None
}

/// The class of an IPv6 address as its halves stand in the packet. `None` only if the trie is not one.
#[inline(always)]
fn class6(trie: u32, [upper, lower]: [u64; 2]) -> Option<u32> {
    if trie == NO_TRIE {
        return Some(0);
    }
    let upper = u64::from_be(upper);
    let root = packed(&TRIE_ROOTS, trie + (upper >> 48) as u32)?;
    if root & IS_CLASS != 0 {
        return Some(root & !IS_CLASS);
    }
    match walk6(root, upper << 16, u64::from_be(lower)) {
        NO_CLASS => None,
        class => Some(class),
    }
}

/// The class below a node of an IPv6 trie, for the bits behind the upper 16. A function of its own, which
/// the verifier looks at once: with its nineteen steps it would look at all that follows nineteen times.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk6(root: u32, upper: u64, lower: u64) -> u32 {
    let mut node = root;
    let mut bits = upper;
    for step in 1..=UPPER_STEPS + LOWER_STEPS {
        let Some(found) = TRIE_NODES.get(node) else { return NO_CLASS };
        match found.step(bits) {
            Step::Node(child) => node = child,
            Step::Leaf(leaf) => return packed(&TRIE_LEAVES, leaf).unwrap_or(NO_CLASS),
        }
        bits = if step == UPPER_STEPS { lower } else { bits << STRIDE };
    }
    NO_CLASS
}

/// The value at a position of an array of packed values.
#[inline(always)]
fn packed(array: &Array<[u32; PACK]>, position: u32) -> Option<u32> {
    let element = array.get_ptr(position / PACK as u32)?.cast::<u32>();
    let at = position as usize % PACK;
    // SAFETY: the map handed out an element of `PACK` values, and `at` is below that.
    Some(unsafe { element.add(at).read() })
}
