//! Leaving packets -> slot, where the policy has them judged: rule first, then reply, then drop.
//!
//! A reply is what a port that is open to the other side answers. A TCP segment is none if it asks for a
//! connection; a datagram or an SCTP packet only where one has come in before. So a documented port of this host is no
//! way out.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use portcullis_common::{
    abi::feature,
    class::{self, PAGE, PAGES},
    slot::{Reason, Slot, accepts, leaving, unreadable},
};

use crate::{
    config, flow, fragment,
    header::{Headers, Kind, Part, Side, Version, tcp_index},
    more,
    pack::Refused,
    packet::{Packet, Window},
};

/// `[class index / PAGE]` -> classes of leaving packets; those of the second set stand behind. Userspace writes it before the program is
/// attached and sets its size. Private to a generation.
#[map]
static OUTBOUND: Array<[u16; PAGE]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The slot in which a leaving packet ends, and with it the verdict.
#[inline(always)]
pub(crate) fn slot<const SET: bool>(packet: &Packet, headers: &Result<Headers, Refused>) -> Slot {
    let headers = match headers {
        Ok(headers) => headers,
        Err(reason) => return leaving(unreadable(reason.slot(), config::unreadable::<SET>())),
    };
    if headers.part == Part::Later {
        return fragment::follow::<SET>(packet, headers, Side::Source);
    }
    let slot = judge::<SET>(packet, headers);
    if headers.part == Part::First {
        fragment::remember(packet, headers, Side::Source, slot);
    }
    slot
}

#[inline(always)]
fn judge<const SET: bool>(packet: &Packet, headers: &Headers) -> Slot {
    let slot = resolve::<SET>(packet, headers, class::<SET>(headers.index));
    if accepts(slot) {
        return slot;
    }
    match reply::<SET>(packet, headers) {
        Some(reason) => leaving(reason.slot()),
        None => slot,
    }
}

/// The reason to let out a packet that no rule does, as that of a packet that arrives.
#[inline(always)]
fn reply<const SET: bool>(packet: &Packet, headers: &Headers) -> Option<Reason> {
    let header: &Window<8> = packet.window(headers.transport)?;
    let (index, reason) = match headers.kind {
        Kind::Segment => (tcp_index(header.half::<0>()), Reason::FlowTcp),
        Kind::EchoReply => {
            let request = if headers.version == Version::V4 { class::ICMP4 + 8 } else { class::ICMP6 + 128 };
            (request, Reason::FlowEcho)
        }
        Kind::Datagram | Kind::Association => return flow::answer::<SET>(packet, headers),
        Kind::Syn | Kind::EchoRequest | Kind::Other => return None,
    };
    accepts(resolve::<SET>(packet, headers, config::class::<SET>(index))).then_some(reason)
}

/// The slot that a class stands for, for this packet.
#[inline(always)]
fn resolve<const SET: bool>(packet: &Packet, headers: &Headers, class: u16) -> Slot {
    if config::has::<SET>(feature::MORE) && class & class::MORE != 0 {
        more::slot::<SET>(packet, headers, class & !class::MORE, Side::Source)
    } else {
        class
    }
}

/// The class of what a leaving packet is addressed to.
#[inline(always)]
fn class<const SET: bool>(index: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "an index is below `class::COUNT`")]
    let page = (index / PAGE) as u32 + if SET { PAGES } else { 0 };
    let Some(page) = OUTBOUND.get_ptr(page) else { return leaving(Reason::Internal.slot()) };
    let at = index % PAGE;
    // SAFETY: the remainder is inside the page.
    unsafe { page.cast::<u16>().add(at).read() }
}
