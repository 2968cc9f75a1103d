//! The course of a conversation: a key -> what the flow table holds of it, and what a packet with that key changes there.
//!
//! The functions with a linkage of their own are functions for the verifier as well, which looks at each of them once,
//! and not again for every way in which headers can stand in a packet.

use portcullis_common::flow::{FORGOTTEN, Key, believed, forgotten_index, is_closed, state};

use crate::{clock, config, header::protocol, shared::Shared, table};

/// The tick at which it was forgotten last who began a conversation of a port ([`forgotten_index`]), because it
/// gave way to another or found no room. Pinned with the flows.
#[unsafe(link_section = ".bss.flow_forgotten")]
static FLOW_FORGOTTEN: Shared<[u64; FORGOTTEN]> = Shared::new([0; FORGOTTEN]);

/// Whether a conversation that the local end began is alive to which a packet of the other side belongs that
/// ends it by `ending`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_continues(key: *const Key, ending: u32) -> u32 {
    // SAFETY: the verifier takes a pointer that is not null for one to a whole key, and has the callers
    // hand such a one over.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let Some(found) = table::find(key) else { return 0 };
    let (life, now) = (found.life, clock::now());
    let idle = life.idle(now);
    if life.state() & state::VISIT != 0 || idle > silence(key, life.state()) {
        return 0;
    }
    let state = life.state() | state::ANSWERED | ending as u8;
    // A busy conversation does not write to memory that two CPUs share at every packet; one that is
    // closed lives no longer for what still comes.
    if state != life.state() || idle > config::refresh() && !is_closed(life.state()) {
        table::change(found, state, now);
    }
    1
}

/// Whether a conversation is alive whose state has, among the bits of the second byte of `what`, those of its first
/// byte; it goes on.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_answers(key: *const Key, what: u32) -> u32 {
    // SAFETY: as in `flow_continues`.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let now = clock::now();
    let found = match living(key, now) {
        Some(found) => found,
        None => {
            // A question to a group is answered from an address of this host's own. Only visits are kept so.
            let group = key.of_group();
            let Some(found) = living(&group, now) else { return 0 };
            found
        }
    };
    let state = found.life.state();
    if u32::from(state) & what >> 8 != what & 0xff {
        return 0;
    }
    if found.life.idle(now) > config::refresh() {
        table::change(found, state, now);
    }
    1
}

/// What [`flow_leaves`] and [`flow_arrives`] are given to know of a packet, together with bits of a state: it
/// begins a conversation if there is none.
pub(crate) const BEGINS: u32 = 0x100;
/// It begins a conversation anew, whatever was between the same ports before.
pub(crate) const ANEW: u32 = 0x200;

/// What [`flow_leaves`] answers: no packet of a conversation that this host began, one of such a conversation, or its
/// first.
pub(crate) const NOT_OWN: u32 = 0;
const OWN: u32 = 1;
pub(crate) const BEGAN: u32 = 2;

/// Notes that a leaving packet begins a conversation, carries it on or ends it by the bits of `how`. Gives
/// whose conversation it is.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_leaves(key: *const Key, how: u32) -> u32 {
    // SAFETY: as in `flow_continues`.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let now = clock::now();
    let Some(found) = table::find(key) else {
        if !may_begin(key, how, now) {
            return NOT_OWN;
        }
        table::begin(key, 0);
        return BEGAN;
    };
    let (old, idle) = (found.life.state(), found.life.idle(now));
    if idle > silence(key, old) {
        if !may_begin(key, how, now) {
            return NOT_OWN;
        }
        table::change(found, 0, now);
        return BEGAN;
    }
    if old & state::UNRULED != 0 && old & state::VISIT != 0 {
        // Only what was let in goes on by being answered: else an answer to what was seen before anything
        // was dropped would keep this host from ever beginning a conversation itself.
        return NOT_OWN;
    }
    let state = if how & ANEW != 0 { 0 } else { old | how as u8 };
    if state != old || idle > config::refresh() {
        table::change(found, state, now);
    }
    if state & state::VISIT != 0 { NOT_OWN } else { OWN }
}

/// Remembers that this host asked a question that others may answer: anybody, or the same address from any port.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_asks(key: *const Key, anybody: u32) -> u32 {
    // SAFETY: as in `flow_continues`.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let question = if anybody != 0 { key.by_anybody() } else { key.from_any_port() };
    table::note(&question, state::QUESTION, clock::now());
    0
}

/// Whether such a question was asked not long ago that a packet with this key may answer.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_asked(key: *const Key) -> u32 {
    // SAFETY: as in `flow_continues`.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let now = clock::now();
    let anybody = key.by_anybody();
    if living(&anybody, now).is_some() {
        return 1;
    }
    let same = key.from_any_port();
    living(&same, now).is_some().into()
}

/// Notes that an arriving packet begins a conversation or carries it on; the bits of `how` are its state if it
/// begins one. Gives whether it did.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flow_arrives(key: *const Key, how: u32) -> u32 {
    // SAFETY: as in `flow_continues`.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let now = clock::now();
    let Some(found) = table::find(key) else {
        table::begin(key, how as u8);
        return 1;
    };
    let (old, idle) = (found.life.state(), found.life.idle(now));
    if idle > silence(key, old) {
        table::change(found, how as u8, now);
        return 1;
    }
    let ruled = if how as u8 & state::UNRULED != 0 { old } else { old & !state::UNRULED };
    let state = if how & ANEW != 0 { how as u8 } else { ruled };
    if state != old || idle > config::refresh() {
        table::change(found, state, now);
    }
    0
}

/// Whether a leaving packet of a conversation that is not known begins one, and does not answer the other side.
#[inline(always)]
fn may_begin(key: &Key, how: u32, now: u64) -> bool {
    how & BEGINS != 0 && !(key.is_of_datagrams() && may_be_answer(key, now))
}

/// Whether a packet of a conversation that is not known may answer the other side: it answers what was sent to a
/// group, or it was forgotten who began conversations of its port.
#[inline(always)]
fn may_be_answer(key: &Key, now: u64) -> bool {
    let group = key.of_group();
    if living(&group, now).is_some() {
        return true;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the local port is the lowest half")]
    let forgotten = forgotten_word(key.ends as u16, key.protocol());
    // SAFETY: `forgotten_word` gives a word inside the map's value, valid while the program runs.
    now.wrapping_sub(unsafe { forgotten.read_volatile() }) <= config::timeout(key.ends, 0)
}

/// The flow of a key that is not over.
#[inline(always)]
fn living(key: &Key, now: u64) -> Option<table::Found> {
    let found = table::find(key)?;
    (found.life.idle(now) <= silence(key, found.life.state())).then_some(found)
}

/// Ticks of silence after which a flow is over.
#[inline(always)]
fn silence(key: &Key, state: u8) -> u64 {
    config::timeout(key.ends, believed(state))
}

/// Notes that it is not known any more who began a conversation with these ends, whose state was `state`: nothing is
/// learnt from the port of the end that answers before all that was begun by now is over. The port of the end that
/// asks does not matter; anybody could choose it, and would keep this host from asking from its own.
#[inline(always)]
pub(crate) fn forget_beginner(ends: u64, state: u8, now: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "bits 32 to 39")]
    let protocol = (ends >> 32) as u8;
    if protocol != protocol::UDP && protocol != protocol::SCTP {
        return;
    }
    // What the local end began is answered by the remote one, which on a gateway may be behind another interface.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the lower word")]
    let port = if state & state::VISIT != 0 { ends as u16 } else { (ends >> 16) as u16 };
    // SAFETY: `forgotten_word` gives a word inside the map's value, valid while the program runs; every writer
    // writes the present, whole.
    unsafe { forgotten_word(port, protocol).write_volatile(now) };
}

/// The word of `FLOW_FORGOTTEN` for a port of UDP or SCTP.
#[inline(always)]
fn forgotten_word(port: u16, protocol: u8) -> *mut u64 {
    // SAFETY: the masked index is inside the value.
    unsafe { FLOW_FORGOTTEN.get().cast::<u64>().add(forgotten_index(port, protocol) & (FORGOTTEN - 1)) }
}
