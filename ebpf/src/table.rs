//! The flow table: [`find`], [`change`] and [`begin`].
//!
//! What an entry's life is, and why a reader never takes half a key for a whole one, is written in
//! [`portcullis_common::flow`].

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xchg};

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
};
use portcullis_common::flow::{
    Entry, FlowCounter, Key, Life, SECRETS, SPARE, Set, Settings, USUAL, WAYS, hash, state,
};

use crate::{
    clock, config, course,
    forget::{forget, forget_long},
    shared::Shared,
};

/// The flows. Egress begins them, both programs change their lives. Pinned: they outlive generations.
#[map]
static FLOWS: Array<Set> = Array::with_max_entries(USUAL * SPARE / WAYS as u32, 0);
/// Userspace writes them once, before the first program is attached. Pinned with the flows.
#[unsafe(link_section = ".bss.flow_table")]
static FLOW_SETTINGS: Shared<Settings> = Shared::new(Settings { secret: [0; SECRETS], mask: 0 });
/// One entry. Pinned with the flows.
#[map]
static FLOW_COUNTERS: PerCpuArray<FlowCounter> = PerCpuArray::with_max_entries(1, 0);

/// A flow that is there.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    entry: *mut Entry,
    /// Its life when it was found.
    pub(crate) life: Life,
}

/// The flow of a key, ended or not.
#[inline(always)]
pub(crate) fn find(key: &Key) -> Option<Found> {
    let [first, second] = sets(key)?;
    match find_in(first, key) {
        None => find_in(second, key),
        found => found,
    }
}

#[inline(always)]
fn find_in(set: *mut Entry, key: &Key) -> Option<Found> {
    let way = forget(search(set, key)?) as usize;
    if way >= WAYS {
        return None;
    }
    // SAFETY: a set has `WAYS` entries.
    let entry = unsafe { set.add(way) };
    let life = read_life(entry);
    // Looked at again with the life that is changed later: another key may have come meanwhile.
    (holds(entry, key) && life.is_same_key(read_life(entry))).then_some(Found { entry, life })
}

/// The number of the entry of a set that has a key.
#[inline(always)]
fn search(set: *const Entry, key: &Key) -> Option<u32> {
    for way in 0..WAYS {
        // SAFETY: a set has `WAYS` entries. Ends that another CPU is writing are read again by the caller.
        let ends = unsafe { (&raw const (*set.add(way)).key.ends).read_volatile() };
        // SAFETY: as above.
        if ends == key.ends && holds(unsafe { set.add(way) }, key) {
            return Some(way as u32);
        }
    }
    None
}

/// What a set has to offer: from bit [`LIVING_BITS`] on [`WAYS`] times the ticks that the flow has left whose
/// time ends first, plus the number of its entry; below, how many of its flows are not over.
#[inline(always)]
fn survey(set: *const Entry, now: u64) -> u64 {
    let (mut best, mut living) = (u64::MAX, 0);
    for way in 0..WAYS {
        // SAFETY: a set has `WAYS` entries. Should another CPU be replacing the key, only the choice of an
        // entry is not the best.
        let entry = unsafe { set.add(way) };
        // SAFETY: as above.
        let life = Life(unsafe { (&raw const (*entry).life).cast::<u64>().read_volatile() });
        // SAFETY: as above.
        let ends = unsafe { (&raw const (*entry).key.ends).read_volatile() };
        let left = time_left(ends, life, now);
        if left > 0 {
            living += 1;
        }
        best = best.min(left * WAYS as u64 + way as u64);
    }
    forget_long(best << LIVING_BITS | living)
}

/// Bits for the number of living flows in what [`survey`] answers.
const LIVING_BITS: u32 = 3;

/// Gives a flow another state and the present as the time when it was seen. Where another CPU was
/// faster, its word stands: what it saw came at the same time.
#[inline(always)]
pub(crate) fn change(found: Found, state: u8, tick: u64) {
    swap(found.entry, found.life, found.life.with(state, tick));
}

/// Records that a flow of this state was seen, whether or not it is there. What was seen in the same tick is not
/// written again: this host may send to a group without a pause.
#[inline(always)]
pub(crate) fn note(key: &Key, state: u8, now: u64) {
    match find(key) {
        Some(found) if found.life.idle(now) > 0 => change(found, state, now),
        Some(_) => {}
        None => begin(key, state),
    }
}

/// Records a flow that is not there, in a state: in a free entry of the emptier of its sets, or that of a flow
/// which is over; else in that of the flow whose time ends first.
#[inline(always)]
pub(crate) fn begin(key: &Key, state: u8) {
    let Some(counter) = FLOW_COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: the map handed out this CPU's own element, and nothing preempts the program.
    let counter = unsafe { &mut *counter };
    let Some([first, second]) = sets(key) else { return };
    let now = clock::now();
    let (one, other) = (survey(first, now), survey(second, now));
    let (set, chosen) = if crowding(other) < crowding(one) { (second, other) } else { (first, one) };
    let best = chosen >> LIVING_BITS;
    if best / WAYS as u64 >= OWN && !is_own(state) {
        // What strangers begin takes no place from what this host began.
        counter.missed += 1;
        course::forget_beginner(key.ends, state, now);
        return;
    }
    // SAFETY: a set has `WAYS` entries, and the remainder is below that.
    let entry = unsafe { set.add(best as usize % WAYS) };
    let life = read_life(entry);
    if life.is_busy() || !swap(entry, life, life.busy()) {
        counter.missed += 1;
        course::forget_beginner(key.ends, state, now);
        return;
    }
    // SAFETY: `entry` points into the map's value, and while its life is busy nobody else writes the key.
    let gone = unsafe { (&raw const (*entry).key.ends).read_volatile() };
    // SAFETY: `entry` points into the map's value, and while its life is busy nobody else writes the
    // key or takes it for one. Volatile: words are written once each, between the two atomic operations.
    unsafe { (&raw mut (*entry).key).write_volatile(*key) };
    // SAFETY: as above; the exchange orders the key before the life.
    unsafe {
        atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(life_of(entry), life.next().with(state, now).0);
    }
    counter.begun += 1;
    if best >= WAYS as u64 {
        counter.evicted += 1;
        course::forget_beginner(gone, life.state(), now);
    }
}

/// How much a new flow would disturb a set: not at all, as long as there is a free entry, but the more there
/// are of them the better; else the more, the longer the flow has left that gives way.
#[inline(always)]
fn crowding(survey: u64) -> u64 {
    let (left, living) = (survey >> LIVING_BITS >> WAYS.ilog2(), survey & ((1 << LIVING_BITS) - 1));
    left << LIVING_BITS | living
}

/// Ticks until a flow ends if no packet of it comes; 0 where it is over. What was never used was last seen
/// at tick 0, which is longer ago than any timeout (`INITIAL_JIFFIES` in include/linux/jiffies.h).
#[inline(always)]
fn time_left(ends: u64, life: Life, now: u64) -> u64 {
    // A flow that may just live on has at least a tick left.
    let left = (config::timeout(ends, life.state()) + 1).saturating_sub(life.idle(now));
    if left > 0 && is_own(life.state()) { OWN + left } else { left }
}

/// More ticks than any timeout: what a flow that this host began has left above all others.
const OWN: u64 = 1 << 44;

/// Whether this host, or a client behind it, began a flow.
#[inline(always)]
fn is_own(state: u8) -> bool {
    state & state::VISIT == 0
}

/// The two sets in which a key may stand.
#[inline(always)]
fn sets(key: &Key) -> Option<[*mut Entry; 2]> {
    let settings = FLOW_SETTINGS.get();
    // SAFETY: one of the secret's words, which nobody writes while a program runs. Volatile, because the
    // compiler sees zeros.
    let secret = |word| unsafe { (&raw const (*settings).secret).cast::<u64>().add(word).read_volatile() };
    let (first, second) = hash(key, secret);
    // SAFETY: as above.
    let mask = unsafe { (&raw const (*settings).mask).read_volatile() };
    #[expect(clippy::cast_possible_truncation, reason = "a map has fewer than 2^32 entries")]
    let mask = mask as u32;
    let first = FLOWS.get_ptr_mut(first & mask)?.cast();
    let second = FLOWS.get_ptr_mut(second & mask)?.cast();
    Some([first, second])
}

/// Whether an entry has a key, if nobody is writing to it.
#[inline(always)]
fn holds(entry: *const Entry, key: &Key) -> bool {
    let read = |word: *const u64| {
        // SAFETY: `word` is one of the entry's, which points into the map's value; the caller finds out
        // whether all that is read here belonged together.
        unsafe { word.read_volatile() }
    };
    // SAFETY: the places of fields, which are not read here.
    let (addresses, ends) = unsafe { (&raw const (*entry).key.addresses, &raw const (*entry).key.ends) };
    let addresses: *const u64 = addresses.cast();
    let mut different = read(ends) ^ key.ends;
    for (at, word) in key.addresses.into_iter().enumerate() {
        // SAFETY: a key has four words of addresses.
        different |= read(unsafe { addresses.add(at) }) ^ word;
    }
    different == 0
}

/// Reads a life before or after everything else that is read of its entry.
#[inline(always)]
fn read_life(entry: *mut Entry) -> Life {
    // x86-64 keeps loads in their order (Intel SDM volume 3, 9.2.2); any other processor is told to by an
    // atomic operation that changes nothing.
    #[cfg(bpf_target_arch = "x86_64")]
    // SAFETY: `entry` points into the map's value.
    let life = unsafe { life_of(entry).read_volatile() };
    #[cfg(not(bpf_target_arch = "x86_64"))]
    // SAFETY: `entry` points into the map's value.
    let life =
        unsafe { core::intrinsics::atomic_or::<u64, u64, { AtomicOrdering::SeqCst }>(life_of(entry), 0) };
    Life(life)
}

/// Replaces a life if it is still the one that was read. Gives whether it was.
#[inline(always)]
fn swap(entry: *mut Entry, old: Life, new: Life) -> bool {
    const ORDER: AtomicOrdering = AtomicOrdering::SeqCst;
    // SAFETY: `entry` points into the map's value; its life is aligned to eight bytes.
    let (_, done) = unsafe { atomic_cxchg::<u64, ORDER, ORDER>(life_of(entry), old.0, new.0) };
    done
}

#[inline(always)]
fn life_of(entry: *mut Entry) -> *mut u64 {
    // SAFETY: the place of a field, which is not read here.
    unsafe { (&raw mut (*entry).life).cast() }
}
