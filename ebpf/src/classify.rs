//! Headers -> slot: rule first, then flow, then drop.

use aya_ebpf::programs::XdpContext;
use portcullis_common::{
    abi::feature,
    class,
    slot::{FIRST_RULE, Slot, accept_bit, accepts, unreadable},
};

use crate::{
    config, flow, fragment,
    header::{Headers, Kind, Part, Side},
    more,
    packet::Packet,
    parse::{self, Common},
};

/// The slot in which a packet ends by a set of rules, and with it the verdict.
#[inline(always)]
pub(crate) fn slot<const SET: bool>(ctx: &XdpContext, packet: &Packet) -> Slot {
    let (headers, class) = match parse::common(packet) {
        Some(common) => {
            let class = config::class::<SET>(common.index);
            if decides::<SET>(class, &common) {
                return class;
            }
            (common.headers(), class)
        }
        None => match parse::arriving(ctx) {
            Ok(headers) => {
                let class = config::class::<SET>(headers.index);
                (headers, class)
            }
            Err(reason) => return unreadable(reason, config::unreadable::<SET>()),
        },
    };
    if headers.part == Part::Later {
        return fragment::follow::<SET>(packet, &headers, Side::Destination);
    }
    let slot = judge::<SET>(packet, &headers, class);
    if begins::<SET>(headers.kind) && slot >= FIRST_RULE {
        flow::admit::<SET>(packet, &headers);
    }
    if headers.part == Part::First {
        fragment::remember(packet, &headers, Side::Destination, slot);
    }
    slot
}

/// Whether a packet's class alone decides: neither its source, its local address nor a flow matters.
#[inline(always)]
fn decides<const SET: bool>(class: u16, common: &Common) -> bool {
    if config::has::<SET>(feature::MORE) && class & class::MORE != 0 {
        return false;
    }
    if begins::<SET>(common.kind()) && accepts(class) {
        return false;
    }
    // Whatever the verdict, the same loads and one branch, which goes one way unless a flow uses the
    // port: a flood of random ports is not mispredicted.
    common.not_syn == 0 || flow::mark_of(common.index) & (1 - accept_bit(class)) == 0
}

/// The slot of a packet that names what it is addressed to: rule first, then flow, then drop.
#[inline(always)]
pub(crate) fn judge<const SET: bool>(packet: &Packet, headers: &Headers, class: u16) -> Slot {
    let slot = if config::has::<SET>(feature::MORE) && class & class::MORE != 0 {
        more::slot::<SET>(packet, headers, class & !class::MORE, Side::Destination)
    } else {
        class
    };
    // A SYN first: whatever its verdict, no branch depends on it.
    if headers.kind == Kind::Syn || accepts(slot) {
        return slot;
    }
    match flow::reply::<SET>(packet, headers) {
        Some(reason) => reason.slot(),
        None => slot,
    }
}

/// Whether a packet of this kind begins a flow if a rule accepts it: on a gateway, whatever asks; where
/// leaving packets are judged, a datagram, whose answer nothing else tells from a question.
#[inline(always)]
fn begins<const SET: bool>(kind: Kind) -> bool {
    match kind {
        Kind::Datagram => config::has::<SET>(feature::OUTBOUND | feature::GATEWAY),
        Kind::Syn | Kind::EchoRequest => config::has::<SET>(feature::GATEWAY),
        Kind::Segment | Kind::EchoReply | Kind::Other => false,
    }
}
