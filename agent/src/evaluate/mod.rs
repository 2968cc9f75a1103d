//! Rule set + packets -> verdicts: the reference model of what the kernel programs do.
//!
//! The words of the policy reference as plain code: every rule is looked at for every packet, and a
//! conversation is an entry in a hash map. Nothing is shared with [`crate::compile`] or with the
//! kernel programs, so that a mistake in one shows as a difference from the other; `explain`, `replay`
//! and policy tests ask this model as well. It knows neither classes nor slots.

mod conversation;
mod frame;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

use ipnet::IpNet;
use portcullis_common::slot::Reason;

use crate::{
    policy::{Deployment, Enforcement, Settings},
    ruleset::{Opening, Rule, RuleSet, Way},
};
use conversation::{Carrier, Conversation};
pub use frame::Destination;
use frame::{Content, Datagram, Message, Packet};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Accepted, and counted under the rule with this number in the rule set.
    Rule(usize),
    /// Accepted or dropped for a reason that is no rule.
    Reason(Reason),
}

/// How long the first fragment of a datagram is remembered (RFC 8200 section 4.5).
const REASSEMBLY: Duration = Duration::from_secs(60);
/// A later fragment that came before its first may not begin below this many bytes.
const HEADERS_UNSEEN: usize = 64;

/// A host behind a rule set, and the conversations that it has begun.
///
/// `now` is the time since any fixed moment; it never runs backwards.
#[derive(Clone, Debug)]
pub struct Evaluator<'a> {
    rules: &'a [Rule],
    /// The rules of a second set that the programs carry beside.
    beside: Option<&'a [Rule]>,
    settings: Settings,
    conversations: HashMap<Conversation, Course>,
    /// UDP and SCTP conversations with this host that were let in -> when a packet of them was last seen.
    visits: HashMap<Conversation, Duration>,
    /// Fragmented datagram that arrives or leaves -> what became of its first fragment.
    datagrams: HashMap<(Way, Datagram), First>,
}

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Course {
    /// When a packet of it was last seen.
    seen: Duration,
    /// The other side has answered.
    answered: bool,
    /// This host has sent FIN.
    ended_here: bool,
    /// The other side has.
    ended_there: bool,
    /// Either has sent RST.
    broken: bool,
}

/// The first fragment of a datagram.
#[derive(Clone, Copy, Debug)]
struct First {
    seen: Duration,
    verdict: Verdict,
    /// Bytes that its headers take.
    headers: usize,
}

impl<'a> Evaluator<'a> {
    /// A host that has begun no conversation yet.
    #[must_use]
    pub fn new(rules: &'a RuleSet, settings: Settings) -> Self {
        Self {
            rules: &rules.rules,
            beside: None,
            settings,
            conversations: HashMap::new(),
            visits: HashMap::new(),
            datagrams: HashMap::new(),
        }
    }

    /// The same host while a second set of rules stands beside these, for a trial or as a shadow: whichever
    /// decides later, replies to what has begun by then come in.
    #[must_use]
    pub fn beside(self, rules: &'a RuleSet) -> Self {
        Self { beside: Some(&rules.rules), ..self }
    }

    /// The host sends a frame, or passes one on: judges it, if leaving packets are judged, and remembers the
    /// conversation that it begins or carries on.
    pub fn leaving(&mut self, frame: &[u8], now: Duration) -> Option<Verdict> {
        let content = frame::read(frame);
        let verdict = self.settings.outbound.map(|_| match content {
            Ok(Content::Packet(packet)) => {
                let verdict = self.leaving_packet(&packet, now);
                if let Some((datagram, headers)) = packet.begins {
                    self.datagrams.insert((Way::Leaving, datagram), First { seen: now, verdict, headers });
                }
                verdict
            }
            Ok(Content::Later(datagram, at)) => self.later_fragment(Way::Leaving, datagram, at, now),
            Err(reason) => leaving(self.unreadable(reason)),
        });
        let is_gone = self.settings.outbound == Some(Enforcement::Enforce)
            && verdict.is_some_and(|verdict| !verdict.accepts());
        let is_answer =
            matches!(verdict, Some(Verdict::Reason(Reason::OutboundReplyUdp | Reason::OutboundReplySctp)));
        if let (false, false, Ok(Content::Packet(packet))) = (is_gone, is_answer, content) {
            let is_answer = self.is_gateway() && self.answers(&packet, now).is_some();
            if !(is_answer && matches!(packet.message, Message::Udp { .. } | Message::Sctp { .. })) {
                self.remember(&packet, now);
            }
        }
        verdict
    }

    fn is_gateway(&self) -> bool {
        self.settings.deployment == Deployment::Gateway
    }

    /// The verdict of a leaving packet that says what it is addressed to.
    fn leaving_packet(&mut self, packet: &Packet, now: Duration) -> Verdict {
        let without_reply = self.by_rules(packet, Way::Leaving);
        if without_reply.accepts() {
            return without_reply;
        }
        let is_open = |destination| {
            // The other side's request, as it would have arrived.
            let request = Packet { source: packet.target, target: packet.source, destination, ..*packet };
            self.by_rules(&request, Way::Arriving).accepts()
        };
        let reason = match packet.message {
            Message::Tcp { asks: false, from, .. } if is_open(Destination::Tcp(from)) => {
                Some(Reason::OutboundReplyTcp)
            }
            Message::EchoReply { .. } if packet.source.is_ipv4() && is_open(Destination::Icmp(8)) => {
                Some(Reason::OutboundReplyEcho)
            }
            Message::EchoReply { .. } if packet.source.is_ipv6() && is_open(Destination::Icmpv6(128)) => {
                Some(Reason::OutboundReplyEcho)
            }
            Message::Udp { .. } | Message::Sctp { .. } => self.answers(packet, now),
            _ => None,
        };
        reason.map_or(without_reply, Verdict::Reason)
    }

    /// The reason to let out a datagram or an SCTP packet: it answers one that was let in, or asks for an
    /// address.
    fn answers(&mut self, packet: &Packet, now: Duration) -> Option<Reason> {
        let asks_for_address = if packet.target.is_ipv4() { (68, 67) } else { (546, 547) };
        let (reason, timeout) = match packet.message {
            Message::Udp { from, to } if self.settings.dhcp && (from, to) == asks_for_address => {
                return Some(Reason::OutboundDhcp);
            }
            Message::Udp { .. } => (Reason::OutboundReplyUdp, self.settings.flows.udp),
            Message::Sctp { .. } => (Reason::OutboundReplySctp, self.settings.flows.sctp),
            _ => return None,
        };
        let seen = if self.is_gateway() {
            &mut self.conversations.get_mut(&Conversation::arriving(packet)?)?.seen
        } else {
            self.visits.get_mut(&Conversation::leaving(packet)?)?
        };
        if now.saturating_sub(*seen) > timeout {
            return None;
        }
        *seen = now;
        Some(reason)
    }

    /// Remembers what a packet begins or carries on whose source is this host, or a client behind it.
    fn remember(&mut self, packet: &Packet, now: Duration) {
        let Some(conversation) = Conversation::leaving(packet) else { return };
        let known = self.conversations.get(&conversation).copied();
        let course = match packet.message {
            Message::Tcp { asks: true, .. } => Course { seen: now, ..Course::default() },
            // A segment carries on what is not over, and is noticed only where it ends it.
            Message::Tcp { ends, breaks, .. } if ends || breaks => match known {
                Some(course) if self.lives(conversation.carrier, course, now) => Course {
                    seen: now,
                    ended_here: course.ended_here || ends,
                    broken: course.broken || breaks,
                    ..course
                },
                _ => return,
            },
            // What comes back to a port that is open to all needs no conversation.
            Message::Udp { from, .. } if self.is_open_to_all(Destination::Udp(from)) => return,
            Message::Sctp { from, .. } if self.is_open_to_all(Destination::Sctp(from)) => return,
            Message::Udp { .. } | Message::Sctp { .. } | Message::EchoRequest { .. } => {
                Course { seen: now, ..known.unwrap_or_default() }
            }
            Message::Tcp { .. } | Message::EchoReply { .. } | Message::None => return,
        };
        self.conversations.insert(conversation, course);
    }

    /// A frame arrives at the host.
    pub fn arriving(&mut self, frame: &[u8], now: Duration) -> Verdict {
        match frame::read(frame) {
            Ok(Content::Packet(packet)) => {
                let verdict = self.packet(&packet, now);
                if let Some((datagram, headers)) = packet.begins {
                    self.datagrams.insert((Way::Arriving, datagram), First { seen: now, verdict, headers });
                }
                verdict
            }
            Ok(Content::Later(datagram, at)) => self.later_fragment(Way::Arriving, datagram, at, now),
            Err(reason) => self.unreadable(reason),
        }
    }

    /// The verdict of a packet that says what it is addressed to.
    fn packet(&mut self, packet: &Packet, now: Duration) -> Verdict {
        let without_flow = self.by_rules(packet, Way::Arriving);
        if matches!(without_flow, Verdict::Rule(_)) {
            self.admit(packet, now);
        }
        if without_flow.accepts() {
            return without_flow;
        }
        self.by_conversation(packet, now).map_or(without_flow, Verdict::Reason)
    }

    /// Remembers what a packet begins that a rule accepts: on a gateway a client's conversation, else, where
    /// leaving packets are judged, one that this host answers.
    fn admit(&mut self, packet: &Packet, now: Duration) {
        let may_be_answered = matches!(packet.message, Message::Udp { .. } | Message::Sctp { .. });
        if self.is_gateway() {
            let Some(conversation) = Conversation::leaving(packet) else { return };
            let known = match packet.message {
                Message::Tcp { asks: true, .. } => None,
                Message::Udp { .. } | Message::Sctp { .. } | Message::EchoRequest { .. } => {
                    self.conversations.get(&conversation).copied()
                }
                _ => return,
            };
            self.conversations.insert(conversation, Course { seen: now, ..known.unwrap_or_default() });
        } else if may_be_answered
            && self.settings.outbound.is_some()
            && let Some(visit) = Conversation::arriving(packet)
        {
            self.visits.insert(visit, now);
        }
    }

    /// The verdict of a fragment that begins `at` bytes into its datagram: that of the first one.
    fn later_fragment(&self, way: Way, datagram: Datagram, at: usize, now: Duration) -> Verdict {
        let of = |verdict| if way == Way::Leaving { leaving(verdict) } else { verdict };
        let first = self.datagrams.get(&(way, datagram));
        let first = first.filter(|first| now.saturating_sub(first.seen) <= REASSEMBLY);
        match first {
            Some(first) if at >= first.headers => first.verdict,
            None if at >= HEADERS_UNSEEN => of(self.unreadable(Reason::Fragment)),
            _ => of(Verdict::Reason(Reason::FragmentHeader)),
        }
    }

    /// The verdict of a packet that does not say what it is addressed to.
    fn unreadable(&self, reason: Reason) -> Verdict {
        if !self.settings.unreadable.accepts(reason) {
            return Verdict::Reason(reason);
        }
        Verdict::Reason(match reason {
            Reason::NonIp => Reason::NonIpAccepted,
            Reason::VlanDepth => Reason::VlanDepthAccepted,
            Reason::HeaderLimit => Reason::HeaderLimitAccepted,
            Reason::Truncated => Reason::TruncatedAccepted,
            Reason::Malformed => Reason::MalformedAccepted,
            Reason::Fragment => Reason::FragmentAccepted,
            Reason::UndocumentedProtocol => Reason::UndocumentedProtocolAccepted,
            other => other,
        })
    }

    /// The verdict if there were no conversations.
    fn by_rules(&self, packet: &Packet, way: Way) -> Verdict {
        let mut open = false;
        let mut narrowest: Option<(u32, usize)> = None;
        for (number, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.way == way) {
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
        // A rule only ever lets more in: where it is limited, what is always accepted still is.
        let verdict = if open && !unruled.accepts() {
            Verdict::Reason(Reason::Source)
        } else {
            self.unreadable(unruled)
        };
        if way == Way::Leaving { leaving(verdict) } else { verdict }
    }

    /// The reason to accept a packet that no rule admits.
    fn by_conversation(&mut self, packet: &Packet, now: Duration) -> Option<Reason> {
        let (reason, ends, breaks) = match packet.message {
            // A request is no reply.
            Message::Tcp { asks: true, .. } | Message::EchoRequest { .. } | Message::None => return None,
            Message::Udp { from, to } if self.settings.dhcp && is_dhcp_reply(packet, from, to) => {
                return Some(Reason::Dhcp);
            }
            Message::Tcp { ends, breaks, .. } => (Reason::FlowTcp, ends, breaks),
            Message::Udp { .. } => (Reason::FlowUdp, false, false),
            Message::Sctp { .. } => (Reason::FlowSctp, false, false),
            Message::EchoReply { .. } => (Reason::FlowEcho, false, false),
        };
        let conversation = Conversation::arriving(packet)?;
        let course = *self.conversations.get(&conversation)?;
        if !self.lives(conversation.carrier, course, now) {
            return None;
        }
        let mut after = Course {
            answered: true,
            ended_there: course.ended_there || ends,
            broken: course.broken || breaks,
            ..course
        };
        // What is over is remembered for a while, but no longer for what still comes.
        if after != course || !course.is_over() {
            after.seen = now;
        }
        self.conversations.insert(conversation, after);
        Some(reason)
    }

    /// Whether a conversation is still remembered.
    fn lives(&self, carrier: Carrier, course: Course, now: Duration) -> bool {
        let flows = &self.settings.flows;
        let timeout = match carrier {
            Carrier::Udp => flows.udp,
            Carrier::Sctp => flows.sctp,
            Carrier::Echo => flows.echo,
            Carrier::Tcp if course.is_over() || course.ended_here || course.ended_there => flows.tcp_closing,
            Carrier::Tcp if course.answered => flows.tcp_established,
            Carrier::Tcp => flows.tcp_opening,
        };
        now.saturating_sub(course.seen) <= timeout
    }

    /// Whether the narrowest rule for `destination` admits packets from everywhere to every local address, so
    /// that none is judged by its addresses.
    fn is_open_to_all(&self, destination: Destination) -> bool {
        let open = |rules: &[Rule]| {
            let arriving = rules.iter().filter(|rule| rule.way == Way::Arriving);
            let widths = arriving.filter_map(|rule| Some((width(rule, destination)?, rule)));
            widths.min_by_key(|(width, _)| *width).is_some_and(|(_, rule)| {
                rule.sources.is_empty() && rule.destinations.is_empty() && rule.address.is_none()
            })
        };
        open(self.rules) && self.beside.is_none_or(open)
    }
}

impl Course {
    /// Whether nothing more is to come.
    fn is_over(self) -> bool {
        self.broken || self.ended_here && self.ended_there
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
        (Opening::Tcp(ports), Destination::Tcp(port))
        | (Opening::Udp(ports), Destination::Udp(port))
        | (Opening::Sctp(ports), Destination::Sctp(port)) => (ports.lo() <= port && port <= ports.hi())
            .then(|| u32::from(ports.hi()) - u32::from(ports.lo()) + 1),
        (Opening::Icmp(open), Destination::Icmp(kind))
        | (Opening::Icmpv6(open), Destination::Icmpv6(kind)) => (open == kind).then_some(1),
        (Opening::Protocol(open), Destination::Protocol(number)) => (open == number).then_some(1),
        _ => None,
    });
    widths.min()
}

/// Whether a rule's sources, destinations and address admit a packet.
fn applies(rule: &Rule, packet: &Packet) -> bool {
    let within = |nets: &[IpNet], address| nets.is_empty() || nets.iter().any(|net| net.contains(address));
    let local = if rule.way == Way::Arriving { packet.target } else { packet.source };
    within(&rule.sources, &packet.source)
        && within(&rule.destinations, &packet.target)
        && rule.address.is_none_or(|address| address == local)
}

/// A verdict about an arriving packet as one about a leaving packet.
fn leaving(verdict: Verdict) -> Verdict {
    let Verdict::Reason(reason) = verdict else { return verdict };
    Verdict::Reason(match reason {
        Reason::UndocumentedTcp => Reason::OutboundTcp,
        Reason::UndocumentedUdp => Reason::OutboundUdp,
        Reason::UndocumentedSctp => Reason::OutboundSctp,
        Reason::UndocumentedIcmp => Reason::OutboundIcmp,
        Reason::UndocumentedProtocol => Reason::OutboundProtocol,
        Reason::UndocumentedProtocolAccepted => Reason::OutboundProtocolAccepted,
        Reason::Source => Reason::Destination,
        Reason::NonIp => Reason::OutboundNonIp,
        Reason::NonIpAccepted => Reason::OutboundNonIpAccepted,
        Reason::Truncated => Reason::OutboundTruncated,
        Reason::TruncatedAccepted => Reason::OutboundTruncatedAccepted,
        Reason::Malformed => Reason::OutboundMalformed,
        Reason::MalformedAccepted => Reason::OutboundMalformedAccepted,
        Reason::VlanDepth => Reason::OutboundVlanDepth,
        Reason::VlanDepthAccepted => Reason::OutboundVlanDepthAccepted,
        Reason::HeaderLimit => Reason::OutboundHeaderLimit,
        Reason::HeaderLimitAccepted => Reason::OutboundHeaderLimitAccepted,
        Reason::Fragment => Reason::OutboundFragment,
        Reason::FragmentAccepted => Reason::OutboundFragmentAccepted,
        Reason::FragmentHeader => Reason::OutboundFragmentHeader,
        Reason::ForgedNeighbour => Reason::OutboundForgedNeighbour,
        Reason::Arp => Reason::OutboundArp,
        Reason::NeighbourDiscovery => Reason::OutboundNeighbourDiscovery,
        Reason::MulticastListener => Reason::OutboundMulticastListener,
        Reason::IcmpError => Reason::OutboundIcmpError,
        other => other,
    })
}

/// The reason where no rule opens a destination.
fn unruled(destination: Destination) -> Reason {
    match destination {
        Destination::Tcp(_) => Reason::UndocumentedTcp,
        Destination::Udp(_) => Reason::UndocumentedUdp,
        Destination::Sctp(_) => Reason::UndocumentedSctp,
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
