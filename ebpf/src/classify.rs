//! Headers -> slot: rule first, then flow, then drop.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, LpmTrie, lpm_trie::Key},
};
use portcullis_common::{
    abi::feature,
    class,
    slot::{Reason, Slot, accept_bit, accepts},
};

use crate::{
    config, flow,
    header::{Headers, Kind, Version},
    packet::Packet,
    parse::{self, Common},
};

/// `[row][address class][source class]` -> slot. Userspace writes it before the program is attached
/// and sets its size. Private to a generation.
#[map]
static MORE: Array<Slot> = Array::with_max_entries(1, 0);
/// IPv4 prefix -> source class; a miss is class 0. Private to a generation.
#[map]
static SOURCES4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);
/// IPv6 prefix -> source class; a miss is class 0. Private to a generation.
#[map]
static SOURCES6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);
/// IPv4 local address -> address class; a miss is class 0. Private to a generation.
#[map]
static ADDRESSES4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);
/// IPv6 local address -> address class; a miss is class 0. Private to a generation.
#[map]
static ADDRESSES6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

/// The slot in which a packet ends, and with it the verdict.
#[inline(always)]
pub(crate) fn slot(packet: &Packet) -> Slot {
    if let Some(common) = parse::common(packet)
        && let Some(slot) = decided(&common)
    {
        return slot;
    }
    match parse::headers(packet) {
        Ok(headers) => judge(packet, &headers),
        Err(reason) => reason.slot(),
    }
}

/// The slot of a packet whose class alone decides. `None` where its source, its local address or a flow
/// matters; then its headers are read once more.
#[inline(always)]
fn decided(common: &Common) -> Option<Slot> {
    let class = config::class(common.index);
    if config::has(feature::MORE) && class & class::MORE != 0 {
        return None;
    }
    if !config::has(feature::FLOWS) || common.kind == Kind::Syn {
        return Some(class);
    }
    // Whatever the verdict, the same loads and one branch, which goes one way unless a flow uses the
    // port: a flood of random ports is not mispredicted.
    let may_be_reply = flow::mark_of(common.index) & (1 - accept_bit(class));
    if may_be_reply != 0 { None } else { Some(class) }
}

/// The slot of any packet whose headers could be read: rule first, then flow, then drop.
#[inline(always)]
fn judge(packet: &Packet, headers: &Headers) -> Slot {
    let class = config::class(headers.index);
    let slot = if config::has(feature::MORE) && class & class::MORE != 0 {
        more(packet, headers, class & !class::MORE)
    } else {
        class
    };
    if accepts(slot) || !config::has(feature::FLOWS) {
        return slot;
    }
    match flow::reply(packet, headers) {
        Some(reason) => reason.slot(),
        None => slot,
    }
}

/// The slot of a row whose rules are limited by source or local address.
#[inline(always)]
fn more(packet: &Packet, headers: &Headers, row: u16) -> Slot {
    let classes = match headers.version {
        Version::V4 => packet.window::<20>(headers.network).map(|header| {
            let source = SOURCES4.get(Key::new(32, header.bytes::<12, 4>()));
            let address = ADDRESSES4.get(Key::new(32, header.bytes::<16, 4>()));
            (source, address)
        }),
        Version::V6 => packet.window::<40>(headers.network).map(|header| {
            let source = SOURCES6.get(Key::new(128, header.bytes::<8, 16>()));
            let address = ADDRESSES6.get(Key::new(128, header.bytes::<24, 16>()));
            (source, address)
        }),
    };
    let Some((source, address)) = classes else { return Reason::Internal.slot() };
    let source = source.copied().unwrap_or(0);
    let address = address.copied().unwrap_or(0);
    let cell = (u32::from(row) * config::address_classes() + address) * config::source_classes() + source;
    MORE.get(cell).copied().unwrap_or(Reason::Internal.slot())
}
