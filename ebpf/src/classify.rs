//! Headers -> slot: rule first, then flow, then drop.

use portcullis_common::{
    abi::feature,
    class,
    slot::{Slot, accept_bit, accepts},
};

use crate::{
    config, flow,
    header::{Headers, Kind},
    more,
    packet::Packet,
    parse::{self, Common},
};

/// The slot in which a packet ends, and with it the verdict.
#[inline(always)]
pub(crate) fn slot(packet: &Packet) -> Slot {
    let (headers, class) = match parse::common(packet) {
        Some(common) => {
            let class = config::class(common.index);
            if decides(class, &common) {
                return class;
            }
            (common.headers(), class)
        }
        None => match parse::headers(packet) {
            Ok(headers) => {
                let class = config::class(headers.index);
                (headers, class)
            }
            Err(reason) => return reason.slot(),
        },
    };
    judge(packet, &headers, class)
}

/// Whether a packet's class alone decides: neither its source, its local address nor a flow matters.
#[inline(always)]
fn decides(class: u16, common: &Common) -> bool {
    if config::has(feature::MORE) && class & class::MORE != 0 {
        return false;
    }
    // Whatever the verdict, the same loads and one branch, which goes one way unless a flow uses the
    // port: a flood of random ports is not mispredicted.
    common.not_syn == 0 || flow::mark_of(common.index) & (1 - accept_bit(class)) == 0
}

/// The slot of any packet whose headers could be read: rule first, then flow, then drop.
#[inline(always)]
fn judge(packet: &Packet, headers: &Headers, class: u16) -> Slot {
    let slot = if config::has(feature::MORE) && class & class::MORE != 0 {
        more::slot(packet, headers, class & !class::MORE)
    } else {
        class
    };
    // A SYN first: whatever its verdict, no branch depends on it.
    if headers.kind == Kind::Syn || accepts(slot) {
        return slot;
    }
    match flow::reply(packet, headers) {
        Some(reason) => reason.slot(),
        None => slot,
    }
}
