//! Rule set + packets -> verdicts: the reference model of what the kernel programs do.
//!
//! The words of the policy reference as plain code: every rule is looked at for every packet, and a
//! conversation is an entry in a hash map. Nothing is shared with [`crate::compile`] or with the
//! kernel programs, so that a mistake in one shows as a difference from the other; `explain`, `replay`
//! and policy tests ask this model as well. It knows neither classes nor slots.

mod frame;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, net::IpAddr, time::Duration};

use portcullis_common::slot::Reason;

use crate::ruleset::{Opening, Rule, RuleSet};
pub use frame::Destination;
use frame::{Message, Packet};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Accepted, and counted under the rule with this number in the rule set.
    Rule(usize),
    /// Accepted or dropped for a reason that is no rule.
    Reason(Reason),
}

/// What a rule set leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Whether replies to this host's DHCP client are accepted.
    pub dhcp: bool,
    /// How long a TCP conversation may be silent.
    pub tcp_timeout: Duration,
    /// How long a UDP conversation or a ping may be silent.
    pub udp_timeout: Duration,
}

/// A host behind a rule set, and the conversations that it has begun.
///
/// `now` is the time since any fixed moment; it never runs backwards.
#[derive(Clone, Debug)]
pub struct Evaluator<'a> {
    rules: &'a [Rule],
    options: EvaluateOptions,
    /// Conversation -> when a packet of it was last seen.
    conversations: HashMap<Conversation, Duration>,
}

impl<'a> Evaluator<'a> {
    /// A host that has begun no conversation yet.
    #[must_use]
    pub fn new(rules: &'a RuleSet, options: EvaluateOptions) -> Self {
        Self { rules: &rules.rules, options, conversations: HashMap::new() }
    }

    /// The host sends a frame: remembers the conversation that it begins or carries on.
    pub fn leaving(&mut self, frame: &[u8], now: Duration) {
        let Ok(packet) = frame::read(frame) else { return };
        let begins = match packet.message {
            Message::Tcp { asks, .. } => asks,
            // What comes back to a port that is open to all needs no conversation.
            Message::Udp { from, .. } => !self.is_open_to_all(Destination::Udp(from)),
            Message::EchoRequest { .. } => true,
            Message::EchoReply { .. } | Message::None => false,
        };
        if let (true, Some(conversation)) = (begins, Conversation::leaving(&packet)) {
            self.conversations.insert(conversation, now);
        }
    }

    /// A frame arrives at the host.
    pub fn arriving(&mut self, frame: &[u8], now: Duration) -> Verdict {
        let packet = match frame::read(frame) {
            Ok(packet) => packet,
            Err(reason) => return Verdict::Reason(reason),
        };
        let without_flow = self.by_rules(&packet);
        if without_flow.accepts() {
            return without_flow;
        }
        self.by_conversation(&packet, now).map_or(without_flow, Verdict::Reason)
    }

    /// The verdict if the host had begun no conversation.
    fn by_rules(&self, packet: &Packet) -> Verdict {
        let mut open = false;
        let mut narrowest: Option<(u32, usize)> = None;
        for (number, rule) in self.rules.iter().enumerate() {
            let Some(width) = width(rule, packet.destination) else { continue };
            open = true;
            if applies(rule, packet) && narrowest.is_none_or(|(best, _)| width < best) {
                narrowest = Some((width, number));
            }
        }
        if let Some((_, number)) = narrowest {
            return Verdict::Rule(number);
        }
        let unruled = unruled(packet.destination);
        // A rule only ever lets more in: where it is limited, what was accepted without it still is.
        Verdict::Reason(if open && !unruled.accepts() { Reason::Source } else { unruled })
    }

    /// The reason to accept a packet that no rule admits.
    fn by_conversation(&mut self, packet: &Packet, now: Duration) -> Option<Reason> {
        let (reason, timeout) = match packet.message {
            // A request is no reply.
            Message::Tcp { asks: true, .. } | Message::EchoRequest { .. } | Message::None => return None,
            Message::Udp { from, to } if self.options.dhcp && is_dhcp_reply(packet, from, to) => {
                return Some(Reason::Dhcp);
            }
            Message::Tcp { .. } => (Reason::FlowTcp, self.options.tcp_timeout),
            Message::Udp { .. } => (Reason::FlowUdp, self.options.udp_timeout),
            Message::EchoReply { .. } => (Reason::FlowEcho, self.options.udp_timeout),
        };
        let last_seen = self.conversations.get_mut(&Conversation::arriving(packet)?)?;
        if now.saturating_sub(*last_seen) > timeout {
            return None;
        }
        *last_seen = now;
        Some(reason)
    }

    /// Whether a rule admits packets to `destination` from everywhere to every local address.
    fn is_open_to_all(&self, destination: Destination) -> bool {
        self.rules.iter().any(|rule| {
            rule.sources.is_empty() && rule.address.is_none() && width(rule, destination).is_some()
        })
    }
}

impl Verdict {
    /// Whether the packet goes on to the host.
    #[must_use]
    pub const fn accepts(self) -> bool {
        match self {
            Self::Rule(_) => true,
            Self::Reason(reason) => reason.accepts(),
        }
    }
}

/// Number of destinations in the narrowest opening of a rule that holds `destination`.
fn width(rule: &Rule, destination: Destination) -> Option<u32> {
    let widths = rule.openings.iter().filter_map(|opening| match (*opening, destination) {
        (Opening::Tcp(ports), Destination::Tcp(port)) | (Opening::Udp(ports), Destination::Udp(port)) => {
            (ports.lo() <= port && port <= ports.hi())
                .then(|| u32::from(ports.hi()) - u32::from(ports.lo()) + 1)
        }
        (Opening::Icmp(open), Destination::Icmp(kind))
        | (Opening::Icmpv6(open), Destination::Icmpv6(kind)) => (open == kind).then_some(1),
        (Opening::Protocol(open), Destination::Protocol(number)) => (open == number).then_some(1),
        _ => None,
    });
    widths.min()
}

/// Whether a rule's sources and address admit a packet.
fn applies(rule: &Rule, packet: &Packet) -> bool {
    let source = rule.sources.is_empty() || rule.sources.iter().any(|net| net.contains(&packet.source));
    let address = rule.address.is_none_or(|address| address == packet.target);
    source && address
}

/// The reason where no rule opens a destination.
fn unruled(destination: Destination) -> Reason {
    match destination {
        Destination::Tcp(_) => Reason::UndocumentedTcp,
        Destination::Udp(_) => Reason::UndocumentedUdp,
        // Unreachable, time exceeded, parameter problem (RFC 792).
        Destination::Icmp(3 | 11 | 12) => Reason::IcmpError,
        // RFC 4890 section 4.4.1.
        Destination::Icmpv6(1..=4) => Reason::IcmpError,
        Destination::Icmpv6(130..=132 | 143) => Reason::MulticastListener,
        Destination::Icmpv6(133..=137) => Reason::NeighbourDiscovery,
        Destination::Icmp(_) | Destination::Icmpv6(_) => Reason::UndocumentedIcmp,
        Destination::Protocol(_) => Reason::UndocumentedProtocol,
    }
}

/// RFC 2131 section 4.1; RFC 8415 section 7.2.
fn is_dhcp_reply(packet: &Packet, from: u16, to: u16) -> bool {
    if packet.target.is_ipv4() { (from, to) == (67, 68) } else { (from, to) == (547, 546) }
}

/// A conversation as the host sees it. The ports of an echo are its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Conversation {
    carrier: Carrier,
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Carrier {
    Tcp,
    Udp,
    Echo,
}

impl Conversation {
    fn leaving(packet: &Packet) -> Option<Self> {
        let (carrier, from, to) = Self::ends(packet.message)?;
        Some(Self { carrier, local: (packet.source, from), remote: (packet.target, to) })
    }

    fn arriving(packet: &Packet) -> Option<Self> {
        let (carrier, from, to) = Self::ends(packet.message)?;
        Some(Self { carrier, local: (packet.target, to), remote: (packet.source, from) })
    }

    fn ends(message: Message) -> Option<(Carrier, u16, u16)> {
        match message {
            Message::Tcp { from, to, .. } => Some((Carrier::Tcp, from, to)),
            Message::Udp { from, to } => Some((Carrier::Udp, from, to)),
            Message::EchoRequest { identifier } | Message::EchoReply { identifier } => {
                Some((Carrier::Echo, identifier, identifier))
            }
            Message::None => None,
        }
    }
}
