//! Headers -> slot: rule first, then flow, then drop.

use aya_ebpf::programs::XdpContext;
use portcullis_common::{
    abi::feature,
    class,
    slot::{FIRST_RULE, Reason, Slot, accept_bit, accepts, unreadable},
};

use crate::{
    config::{self, Features},
    flow, fragment,
    header::{Headers, Kind, Part, Side},
    more,
    pack::joined,
    packet::Packet,
    parse::{self, Common},
    route,
};

/// The slot in which a packet ends by a set of rules, and with it the verdict.
#[inline(always)]
pub(crate) fn slot<const SET: bool>(ctx: &XdpContext, packet: &Packet, features: Features) -> Slot {
    if let Some(common) = parse::common(packet, features) {
        let class = config::class::<SET>(common.index);
        let mark = flow::mark_of(common.index);
        if decides(class, mark, &common, features) {
            return class;
        }
        return whole::<SET>(ctx, packet, &common.headers(), class, mark, features);
    }
    match parse::headers(packet, features) {
        Ok(headers) => {
            let headers = joined(headers, features);
            any::<SET>(ctx, &Packet::arriving_again(ctx), &headers, features)
        }
        Err(reason) => unreadable(reason.slot(), config::unreadable::<SET>()),
    }
}

/// The slot of a packet that may be a fragment.
#[inline(always)]
fn any<const SET: bool>(ctx: &XdpContext, packet: &Packet, headers: &Headers, features: Features) -> Slot {
    if headers.part == Part::Later {
        return fragment::follow::<SET>(packet, headers, Side::Destination);
    }
    let class = config::class::<SET>(headers.index);
    let slot = whole::<SET>(ctx, packet, headers, class, flow::mark_of(headers.index), features);
    if headers.part == Part::First {
        fragment::remember(packet, headers, Side::Destination, slot);
    }
    slot
}

/// The slot of a packet that names what it is addressed to. Records what it begins.
#[inline(always)]
fn whole<const SET: bool>(
    ctx: &XdpContext,
    packet: &Packet,
    headers: &Headers,
    class: u16,
    mark: u32,
    features: Features,
) -> Slot {
    let slot = here::<SET>(ctx, packet, headers, class, features);
    if headers.kind == Kind::Other || headers.kind == Kind::Syn && !begins(Kind::Syn, features) {
        // Whatever the verdict, no branch depends on it.
        return slot;
    }
    if accepts(slot) {
        if begins(headers.kind, features) && slot >= FIRST_RULE {
            flow::admit::<SET>(packet, headers, true);
        }
        return slot;
    }
    if let Some(slot) = without_rule::<SET>(packet, headers, mark, features) {
        return slot;
    }
    if features.has(feature::OBSERVE) && matches!(headers.kind, Kind::Datagram | Kind::Association) {
        // It passes all the same, and what answers it must not be taken for a question of this host.
        flow::admit::<SET>(packet, headers, false);
    }
    slot
}

/// Whether a packet's class alone decides: neither its source, its local address nor a flow matters.
#[inline(always)]
fn decides(class: u16, mark: u32, common: &Common, features: Features) -> bool {
    if features.has(feature::MORE) && class & class::MORE != 0 {
        return false;
    }
    if features.has(feature::ROUTES) && class >= FIRST_RULE {
        return false;
    }
    if features.has(feature::GATEWAY) && begins(common.kind(), features) {
        return false;
    }
    // Whatever the verdict, the same loads and one branch, which goes one way unless a flow uses the port or a
    // datagram is accepted: a flood to closed ports is not mispredicted.
    let accepted = accept_bit(class);
    let noted =
        if features.has(feature::OBSERVE) { common.is_datagram } else { common.is_datagram & accepted };
    common.not_syn == 0 || mark & (1 - accepted) | noted == 0
}

/// The slot of a packet that names what it is addressed to: rule first, then flow, then drop. Records nothing.
#[inline(always)]
pub(crate) fn judge<const SET: bool>(
    ctx: &XdpContext,
    packet: &Packet,
    headers: &Headers,
    class: u16,
) -> Slot {
    let features = Features::of::<SET>();
    let slot = here::<SET>(ctx, packet, headers, class, features);
    if accepts(slot) {
        return slot;
    }
    without_rule::<SET>(packet, headers, flow::mark_of(headers.index), features).unwrap_or(slot)
}

/// The slot of a packet that no rule admits, where a flow decides, or a question of this host.
#[inline(always)]
fn without_rule<const SET: bool>(
    packet: &Packet,
    headers: &Headers,
    mark: u32,
    features: Features,
) -> Option<Slot> {
    // Only what replies have is ever marked; a SYN has the index of any segment, and is none.
    if headers.kind == Kind::Syn || mark == 0 {
        return None;
    }
    if let Some(slot) = flow::reply::<SET>(packet, headers) {
        return Some(slot);
    }
    if mark & flow::ASKED == 0 { None } else { answer::<SET>(packet, headers, features) }
}

/// The slot of a datagram that answers a question of this host from elsewhere than it was sent to: that of the rule
/// which lets such answers in, or the reason that there is none.
#[inline(always)]
fn answer<const SET: bool>(packet: &Packet, headers: &Headers, features: Features) -> Option<Slot> {
    if !flow::answers_question(packet, headers) {
        return None;
    }
    let slot = by_rules::<SET>(packet, headers, config::class::<SET>(class::ANSWERS), features);
    Some(if accepts(slot) { slot } else { Reason::GroupAnswer.slot() })
}

/// The slot by the rules, which open ports of this host: what one admits that this host would pass on is dropped.
#[inline(always)]
fn here<const SET: bool>(
    ctx: &XdpContext,
    packet: &Packet,
    headers: &Headers,
    class: u16,
    features: Features,
) -> Slot {
    let slot = by_rules::<SET>(packet, headers, class, features);
    if features.has(feature::ROUTES)
        && slot >= FIRST_RULE
        && let Some(reason) = route::beyond(ctx, headers)
    {
        return reason.slot();
    }
    slot
}

/// The slot by the rules alone.
#[inline(always)]
fn by_rules<const SET: bool>(packet: &Packet, headers: &Headers, class: u16, features: Features) -> Slot {
    if features.has(feature::MORE) && class & class::MORE != 0 {
        more::slot::<SET>(packet, headers, class & !class::MORE, Side::Destination)
    } else {
        class
    }
}

/// Whether a packet of this kind begins a flow if a rule accepts it: a datagram or an SCTP packet, whose answer
/// nothing else tells from a question; on a gateway, whatever asks.
#[inline(always)]
fn begins(kind: Kind, features: Features) -> bool {
    match kind {
        Kind::Datagram | Kind::Association => true,
        Kind::Syn | Kind::EchoRequest => features.has(feature::GATEWAY),
        Kind::Segment | Kind::EchoReply | Kind::Other => false,
    }
}
