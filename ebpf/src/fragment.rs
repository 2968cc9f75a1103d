//! Later fragments -> the slot of their first.
//!
//! Only a datagram's first fragment names its port. [`remember`] keeps its slot, [`follow`] gives it to
//! the fragments behind. What came before its first, or so late that no receiver would put it together,
//! is not judged by a port and has a reason of its own.

use aya_ebpf::{bindings::BPF_ANY, macros::map, maps::LruHashMap};
use portcullis_common::{
    class,
    fragment::{DATAGRAMS, Datagram, First, LEAVING, UNSEEN_HEADERS},
    slot::{Reason, Slot, leaving, unreadable},
};

use crate::{
    clock, config,
    header::{Headers, Side, Version},
    packet::Packet,
};

/// Datagrams whose first fragment was judged. Private to a generation: the slots are its own.
#[map]
static FRAGMENTS: LruHashMap<Datagram, First> = LruHashMap::with_max_entries(DATAGRAMS, 0);

/// Keeps the verdict of a first fragment for those behind it.
#[inline(always)]
pub(crate) fn remember(packet: &Packet, headers: &Headers, side: Side, slot: Slot) {
    let Some((key, _)) = datagram(packet, headers, side) else { return };
    fragment_remember(&raw const key, slot.into(), end_of_headers(headers));
}

/// The slot of a later fragment.
#[inline(always)]
pub(crate) fn follow<const SET: bool>(packet: &Packet, headers: &Headers, side: Side) -> Slot {
    let of = |slot| if side == Side::Source { leaving(slot) } else { slot };
    let Some((key, at)) = datagram(packet, headers, side) else { return of(Reason::Internal.slot()) };
    #[expect(clippy::cast_possible_truncation, reason = "a slot")]
    let slot = fragment_follow(&raw const key, at) as Slot;
    // What has no first yet has a reason of this side; what has, has its slot.
    if slot == Reason::FragmentHeader.slot() {
        of(slot)
    } else if slot == Reason::Fragment.slot() {
        of(unreadable(slot, config::unreadable::<SET>()))
    } else {
        slot
    }
}

// Functions for the verifier as well, as those of `course`.

/// Keeps the slot of a first fragment and where its headers end.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn fragment_remember(key: *const Datagram, slot: u32, headers: u32) -> u32 {
    let mut own = Words::default();
    let Some(key) = copy(key, &mut own) else { return 0 };
    #[expect(clippy::cast_possible_truncation, reason = "a slot and an offset")]
    let first = First { seen: clock::now(), slot: slot as u16, headers: headers as u16, reserved: 0 };
    // A full map forgets its oldest datagram. Where even that fails, the fragments behind this one are
    // not known, and their reason says so.
    FRAGMENTS.insert(key, first, BPF_ANY.into()).is_ok().into()
}

/// The slot of the first fragment, or one of the two reasons why it does not count.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn fragment_follow(key: *const Datagram, at: u32) -> u32 {
    let mut own = Words::default();
    let Some(key) = copy(key, &mut own) else { return Reason::Internal.slot().into() };
    let first = match FRAGMENTS.get_ptr(key) {
        // SAFETY: the map handed out the pointer; the kernel keeps the element's memory while the
        // program runs. Should another CPU reuse the element in this instant, this fragment gets the
        // verdict of a stranger; without a first fragment that was accepted it makes no datagram.
        Some(first) => unsafe { first.read() },
        None => First::default(),
    };
    let known = first.seen != 0 && clock::now().wrapping_sub(first.seen) <= config::fragment_timeout();
    let headers = if known { first.headers } else { UNSEEN_HEADERS };
    if at < headers.into() {
        return Reason::FragmentHeader.slot().into();
    }
    (if known { first.slot } else { Reason::Fragment.slot() }).into()
}

/// The words of a key.
type Words = [u32; size_of::<Datagram>() / size_of::<u32>()];

/// Copies a key that was handed over: Linux 6.1 looks up only what lies on a program's own stack.
#[inline(always)]
fn copy(key: *const Datagram, own: &mut Words) -> Option<&Datagram> {
    if key.is_null() {
        return None;
    }
    let from = key.cast::<u32>();
    for (word, to) in own.iter_mut().enumerate() {
        // SAFETY: the verifier takes a pointer that is not null for one to a whole key, and has the callers
        // hand such a one over. Volatile, so that it is copied.
        *to = unsafe { from.add(word).read_volatile() };
    }
    // SAFETY: as many bytes as a key has, aligned as its widest field; every bit pattern is one.
    Some(unsafe { &*own.as_ptr().cast::<Datagram>() })
}

/// What a fragment is a piece of, and where a later one begins in the fragmented part, in bytes.
#[inline(always)]
fn datagram(packet: &Packet, headers: &Headers, side: Side) -> Option<(Datagram, u32)> {
    let direction = if side == Side::Source { LEAVING } else { 0 };
    match headers.version {
        // RFC 791 section 3.1; the offset in units of eight bytes.
        Version::V4 => {
            let header = packet.window::<20>(headers.network)?;
            let (mut source, mut destination) = ([0; 16], [0; 16]);
            source[..4].copy_from_slice(&header.bytes::<12, 4>());
            destination[..4].copy_from_slice(&header.bytes::<16, 4>());
            let identification = header.half::<4>().into();
            let (version, protocol) = (4 | direction, header.byte::<9>().into());
            let key = Datagram { source, destination, identification, version, protocol };
            Some((key, u32::from(u16::from_be(header.half::<6>()) & 0x1fff) << 3))
        }
        // RFC 8200 section 4.5; the field without its lower three bits is the offset in bytes.
        Version::V6 => {
            let extension = packet.window::<8>(headers.fragment)?;
            let (identification, field) = (extension.word::<4>(), u16::from_be(extension.half::<2>()));
            let header = packet.window::<40>(headers.network)?;
            let (source, destination) = (header.bytes::<8, 16>(), header.bytes::<24, 16>());
            let key = Datagram { source, destination, identification, version: 6 | direction, protocol: 0 };
            Some((key, u32::from(field & 0xfff8)))
        }
    }
}

/// Where the headers of a first fragment end in the fragmented part: no later one may begin before.
#[inline(always)]
fn end_of_headers(headers: &Headers) -> u32 {
    let length = match headers.index {
        ..class::UDP => 20,
        class::UDP..class::PROTOCOL | class::IGMP..class::ETHER => 8,
        class::SCTP.. => 12,
        _ => 0,
    };
    // Extension headers of IPv6 behind the fragment header are part of what is fragmented.
    let extensions = match headers.version {
        Version::V4 => 0,
        Version::V6 => headers.transport.wrapping_sub(headers.fragment + 8),
    };
    #[expect(clippy::cast_possible_truncation, reason = "eight headers of 2,048 bytes at most")]
    let extensions = extensions as u32;
    extensions + length
}
