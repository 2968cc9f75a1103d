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
    pack::joined,
    packet::Packet,
    parse::{self, Common},
};

/// The slot in which a packet ends by a set of rules, and with it the verdict.
#[inline(always)]
pub(crate) fn slot<const SET: bool>(ctx: &XdpContext, packet: &Packet) -> Slot {
    if let Some(common) = parse::common(packet) {
        let class = config::class::<SET>(common.index);
        if decides::<SET>(class, &common) {
            return class;
        }
        return whole::<SET>(packet, &common.headers(), class);
    }
    match joined(parse::headers(packet)) {
        Ok(headers) => any::<SET>(&Packet::arriving_again(ctx), &headers),
        Err(reason) => unreadable(reason, config::unreadable::<SET>()),
    }
}

/// The slot of a packet that may be a fragment.
#[inline(always)]
fn any<const SET: bool>(packet: &Packet, headers: &Headers) -> Slot {
    if headers.part == Part::Later {
        return fragment::follow::<SET>(packet, headers, Side::Destination);
    }
    let class = config::class::<SET>(headers.index);
    let slot = whole::<SET>(packet, headers, class);
    if headers.part == Part::First {
        fragment::remember(packet, headers, Side::Destination, slot);
    }
    slot
}

/// The slot of a packet that names what it is addressed to. Records what it begins.
#[inline(always)]
fn whole<const SET: bool>(packet: &Packet, headers: &Headers, class: u16) -> Slot {
    let slot = by_rules::<SET>(packet, headers, class);
    if headers.kind == Kind::Syn && !begins::<SET>(Kind::Syn) {
        // Whatever the verdict, no branch depends on it.
        return slot;
    }
    if accepts(slot) {
        if begins::<SET>(headers.kind) && slot >= FIRST_RULE {
            flow::admit::<SET>(packet, headers, true);
        }
        return slot;
    }
    if let Some(slot) = flow::reply::<SET>(packet, headers) {
        return slot;
    }
    if config::observes::<SET>() && matches!(headers.kind, Kind::Datagram | Kind::Association) {
        // It passes all the same, and what answers it must not be taken for a question of this host.
        flow::admit::<SET>(packet, headers, false);
    }
    slot
}

/// Whether a packet's class alone decides: neither its source, its local address nor a flow matters.
#[inline(always)]
fn decides<const SET: bool>(class: u16, common: &Common) -> bool {
    if config::has::<SET>(feature::MORE) && class & class::MORE != 0 {
        return false;
    }
    if config::has::<SET>(feature::GATEWAY) && begins::<SET>(common.kind()) {
        return false;
    }
    // Whatever the verdict, the same loads and one branch, which goes one way unless a flow uses the port or a
    // datagram is accepted: a flood to closed ports is not mispredicted.
    let accepted = accept_bit(class);
    let noted = if config::observes::<SET>() { common.is_datagram } else { common.is_datagram & accepted };
    common.not_syn == 0 || flow::mark_of(common.index) & (1 - accepted) | noted == 0
}

/// The slot of a packet that names what it is addressed to: rule first, then flow, then drop. Records nothing.
#[inline(always)]
pub(crate) fn judge<const SET: bool>(packet: &Packet, headers: &Headers, class: u16) -> Slot {
    let slot = by_rules::<SET>(packet, headers, class);
    if accepts(slot) { slot } else { flow::reply::<SET>(packet, headers).unwrap_or(slot) }
}

/// The slot by the rules alone.
#[inline(always)]
fn by_rules<const SET: bool>(packet: &Packet, headers: &Headers, class: u16) -> Slot {
    if config::has::<SET>(feature::MORE) && class & class::MORE != 0 {
        more::slot::<SET>(packet, headers, class & !class::MORE, Side::Destination)
    } else {
        class
    }
}

/// Whether a packet of this kind begins a flow if a rule accepts it: a datagram or an SCTP packet, whose answer
/// nothing else tells from a question; on a gateway, whatever asks.
#[inline(always)]
fn begins<const SET: bool>(kind: Kind) -> bool {
    match kind {
        Kind::Datagram | Kind::Association => true,
        Kind::Syn | Kind::EchoRequest => config::has::<SET>(feature::GATEWAY),
        Kind::Segment | Kind::EchoReply | Kind::Other => false,
    }
}
