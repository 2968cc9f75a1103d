//! What userspace decides before the program is loaded.
//!
//! The scalars are frozen before the verifier runs, so that a branch on one costs nothing: the dead
//! side is removed. The class table lies in the same section at a direct address: reading a class is
//! one load, without a helper call or a null check.
//!
//! A set of rules is told by a constant parameter, so that the code of the first set is as if there were
//! no second one. The second one's class table lies in a map, because the section has the same size
//! whether or not there is one.

use aya_ebpf::{Global, bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use portcullis_common::{
    abi::{NO_TRIE, feature},
    class, flow,
    second::CHUNK,
    slot::Reason,
};

use crate::header::Version;

#[unsafe(no_mangle)]
static FEATURES: Global<u32> = Global::new(feature::FLOWS);
#[unsafe(no_mangle)]
static SOURCE_CLASSES: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
static SOURCES4: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static SOURCES6: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static ADDRESSES4: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static ADDRESSES6: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static SECOND_FEATURES: Global<u32> = Global::new(feature::FLOWS);
#[unsafe(no_mangle)]
static SECOND_SOURCE_CLASSES: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
static SECOND_SOURCES4: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static SECOND_SOURCES6: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static SECOND_ADDRESSES4: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static SECOND_ADDRESSES6: Global<u32> = Global::new(NO_TRIE);
#[unsafe(no_mangle)]
static UNREADABLE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SECOND_UNREADABLE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FRAGMENT_TIMEOUT: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static TIMEOUTS: [u64; flow::TIMEOUTS] = [0; flow::TIMEOUTS];
#[unsafe(no_mangle)]
static REFRESH: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static ETHER_TYPES: [u16; class::ETHER_TYPES] = [0; class::ETHER_TYPES];
#[unsafe(no_mangle)]
static EPHEMERAL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static CLASSES: [u16; class::COUNT] = [0; class::COUNT];

/// The class table of the second set. Userspace sets the size and fills it before the program is
/// attached.
#[map]
static SECOND_CLASSES: Array<[u16; CHUNK]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// One entry: the moment from which on the second set decides. No constant, because a trial begins when it
/// is swapped in, which is after it was loaded. Until userspace has set it, the second set decides.
#[map]
static DEADLINE: Array<u64> = Array::with_max_entries(1, 0);

/// The first set of rules, and the second.
pub(crate) const FIRST: bool = false;
pub(crate) const SECOND_SET: bool = true;

/// From when on the second set decides.
#[inline(always)]
pub(crate) fn deadline() -> u64 {
    DEADLINE.get(0).copied().unwrap_or(0)
}

/// The features of a set of rules ([`feature`]), read once. The verifier knows the word wherever it is carried and
/// removes the dead side of a branch on it; only the load itself it cannot remove.
#[derive(Clone, Copy)]
pub(crate) struct Features(u32);

impl Features {
    /// Those of a set.
    #[inline(always)]
    pub(crate) fn of<const SET: bool>() -> Self {
        Self(if SET { SECOND_FEATURES.load() } else { FEATURES.load() })
    }

    /// Whether a feature is among them, or any of several.
    #[inline(always)]
    pub(crate) fn has(self, feature: u32) -> bool {
        self.0 & feature != 0
    }
}

/// Whether a set needs a feature, or any of several.
#[inline(always)]
pub(crate) fn has<const SET: bool>(feature: u32) -> bool {
    Features::of::<SET>().has(feature)
}

/// The number of an EtherType, as it stands in the frame, among those that rules name.
#[inline(always)]
pub(crate) fn ether_type(wanted: u16) -> Option<usize> {
    for number in 0..class::ETHER_TYPES {
        // SAFETY: the number is below the length. Volatile, because userspace replaced the zeros that the
        // compiler sees.
        let named = unsafe { (&raw const ETHER_TYPES).cast::<u16>().add(number).read_volatile() };
        if named != 0 && named == wanted {
            return Some(number);
        }
    }
    None
}

/// Whether the program only listens, before an interface is enforced or next to the programs of another version.
#[inline(always)]
pub(crate) fn listens() -> bool {
    EPHEMERAL.load() != 0
}

/// Whether a conversation between these ports, as they stand in the packet, looks like one that this host began
/// while it was not looked at: its own port is one that it gives to those who ask, and the other is not.
#[inline(always)]
pub(crate) fn looks_own(local: u16, remote: u16) -> bool {
    let range = EPHEMERAL.load();
    let (first, last) = (range & 0xffff, range >> 16);
    let is_ephemeral = |port: u16| (first..=last).contains(&u16::from_be(port).into());
    is_ephemeral(local) && !is_ephemeral(remote)
}

/// Number of source classes.
#[inline(always)]
pub(crate) fn source_classes<const SET: bool>() -> u32 {
    if SET { SECOND_SOURCE_CLASSES.load() } else { SOURCE_CLASSES.load() }
}

/// Position of the trie of sources.
#[inline(always)]
pub(crate) fn sources<const SET: bool>(version: Version) -> u32 {
    match (SET, version) {
        (FIRST, Version::V4) => SOURCES4.load(),
        (FIRST, Version::V6) => SOURCES6.load(),
        (SECOND_SET, Version::V4) => SECOND_SOURCES4.load(),
        (SECOND_SET, Version::V6) => SECOND_SOURCES6.load(),
    }
}

/// Position of the trie of local addresses.
#[inline(always)]
pub(crate) fn addresses<const SET: bool>(version: Version) -> u32 {
    match (SET, version) {
        (FIRST, Version::V4) => ADDRESSES4.load(),
        (FIRST, Version::V6) => ADDRESSES6.load(),
        (SECOND_SET, Version::V4) => SECOND_ADDRESSES4.load(),
        (SECOND_SET, Version::V6) => SECOND_ADDRESSES6.load(),
    }
}

/// Reasons that a packet cannot be read which a set accepts, a bit for each slot.
#[inline(always)]
pub(crate) fn unreadable<const SET: bool>() -> u32 {
    if SET { SECOND_UNREADABLE.load() } else { UNREADABLE.load() }
}

/// Ticks after which a datagram's first fragment is forgotten.
#[inline(always)]
pub(crate) fn fragment_timeout() -> u64 {
    FRAGMENT_TIMEOUT.load()
}

/// Ticks after which a flow with these ends and this state is over if it is silent. A table and no branches:
/// the verifier follows every branch for each entry of the flow table that is looked at.
#[inline(always)]
pub(crate) fn timeout(ends: u64, state: u8) -> u64 {
    let index = flow::timeout_index(ends, state);
    // SAFETY: the index is below `TIMEOUTS` by its last operation. Volatile, because userspace replaced
    // the zeros that the compiler sees.
    unsafe { (&raw const TIMEOUTS).cast::<u64>().add(index).read_volatile() }
}

/// Ticks that must have passed before a packet refreshes its flow.
#[inline(always)]
pub(crate) fn refresh() -> u64 {
    REFRESH.load()
}

/// The class at `index`, which is below [`class::COUNT`] by construction of
/// [`crate::header::Headers`].
#[inline(always)]
pub(crate) fn class<const SET: bool>(index: usize) -> u16 {
    if index >= class::COUNT {
        return 0;
    }
    if SET {
        return second_class(index);
    }
    // SAFETY: `index` is inside the table, as just checked. Volatile, because userspace replaced the
    // zeros that the compiler sees.
    unsafe { (&raw const CLASSES).cast::<u16>().add(index).read_volatile() }
}

#[inline(always)]
fn second_class(index: usize) -> u16 {
    let Some(chunk) = SECOND_CLASSES.get_ptr((index / CHUNK) as u32) else {
        return Reason::Internal.slot();
    };
    // SAFETY: the map handed out an element of `CHUNK` classes, and the remainder is below that.
    unsafe { chunk.cast::<u16>().add(index % CHUNK).read() }
}
