//! What this host asked that others may answer than it was sent to.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::frame::{Message, Packet};

/// The port that TFTP's questions go to (RFC 1350 section 4).
const TFTP: u16 = 69;

/// Questions: the address and port that asked, and the one address that may answer, unless anybody may -> when they
/// were asked last.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions(HashMap<(IpAddr, u16, Option<IpAddr>), Duration>);

impl Questions {
    /// Remembers what a packet asks that leaves.
    pub(super) fn ask(&mut self, packet: &Packet, now: Duration) {
        let Message::Udp { from, to } = packet.message else { return };
        if packet.is_for_group || to == TFTP {
            let server = (!packet.is_for_group).then_some(packet.target);
            self.0.insert((packet.source, from, server), now);
        }
    }

    /// Whether a packet that arrives answers one that was asked no longer ago than `time`.
    pub(super) fn are_answered(&self, packet: &Packet, time: Duration, now: Duration) -> bool {
        let Message::Udp { to, .. } = packet.message else { return false };
        [None, Some(packet.source)].into_iter().any(|server| {
            let asked = self.0.get(&(packet.target, to, server));
            asked.is_some_and(|asked| now.saturating_sub(*asked) <= time)
        })
    }
}
