//! Rule set + packets -> verdicts: the reference model of what the kernel programs do.
//!
//! The words of the policy reference as plain code: every rule is looked at for every packet, and a
//! conversation is an entry in a hash map. Nothing is shared with [`crate::compile`] or with the
//! kernel programs, so that a mistake in one shows as a difference from the other; `explain`, `replay`
//! and policy tests ask this model as well. It knows neither classes nor slots.

mod conversation;
mod frame;
mod question;
mod reasons;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

use ipnet::IpNet;
use portcullis_common::slot::Reason;

use crate::{
    policy::{Deployment, Enforcement, Flows, Settings},
    ruleset::{Opening, Rule, RuleSet, Way},
};
use conversation::{Carrier, Conversation};
pub use frame::Destination;
use frame::{Content, Datagram, Message, Packet};
use question::Questions;
use reasons::{leaving, unruled};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Accepted, and counted under the rule with this number in the rule set.
    Rule(usize),
    /// Accepted or dropped for a reason that is no rule.
    Reason(Reason),
}

/// The protocol number of IGMP (RFC 9776 section 4).
const IGMP: u8 = 2;
/// How long the first fragment of a datagram is remembered (RFC 8200 section 4.5).
const REASSEMBLY: Duration = Duration::from_secs(60);
/// How long it is remembered that something came which no rule lets in, where nothing is dropped.
const SEEN: Duration = Duration::from_secs(30);
/// A later fragment that came before its first may not begin below this many bytes.
const HEADERS_UNSEEN: usize = 64;

/// A host behind a rule set, and the conversations that it has begun.
///
/// `now` is the time since any fixed moment; it never runs backwards.
#[derive(Clone, Debug)]
pub struct Evaluator<'a> {
    rules: &'a [Rule],
    settings: Settings,
    conversations: HashMap<Conversation, Course>,
    /// What was asked that others may answer.
    questions: Questions,
    /// Fragmented datagram that arrives or leaves -> what became of its first fragment.
    datagrams: HashMap<(Way, Datagram), First>,
}

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Course {
    /// When a packet of it was last seen.
    seen: Duration,
    /// The remote end began it. Only of UDP and SCTP is that remembered.
    is_visit: bool,
    /// No rule let in what began it.
    is_unruled: bool,
    /// The other side has answered.
    answered: bool,
    /// This host has sent FIN.
    ended_here: bool,
    /// The other side has.
    ended_there: bool,
    /// The other side has sent RST, or somebody has in its name. That alone ends nothing.
    reset: bool,
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
            settings,
            conversations: HashMap::new(),
            questions: Questions::default(),
            datagrams: HashMap::new(),
        }
    }

    /// The same host with another policy: what has begun by now, and who began it, is still known.
    #[must_use]
    pub fn under(self, rules: &'a RuleSet, settings: Settings) -> Self {
        // Verdicts of first fragments are those of the old policy, and are forgotten with it.
        Self { datagrams: HashMap::new(), ..self.after_trial(rules, settings) }
    }

    /// The same host where a trial is over, and the rules before it decide again: fragments go on to follow their
    /// first, as no policy was applied.
    #[must_use]
    pub fn after_trial(self, rules: &'a RuleSet, settings: Settings) -> Self {
        Self { rules: &rules.rules, settings, ..self }
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
            Ok(Content::Other(ether_type)) => leaving(self.other(Way::Leaving, ether_type)),
            Err(reason) => leaving(self.unreadable(reason)),
        });
        let is_gone = self.settings.outbound == Some(Enforcement::Enforce)
            && verdict.is_some_and(|verdict| !verdict.accepts());
        let is_answer =
            matches!(verdict, Some(Verdict::Reason(Reason::OutboundReplyUdp | Reason::OutboundReplySctp)));
        if let (false, false, Ok(Content::Packet(packet))) = (is_gone, is_answer, content)
            && !(self.is_gateway() && self.answers_client(&packet, now))
        {
            self.remember(&packet, now);
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
        let reason = match packet.message {
            Message::Udp { from, to } if self.settings.dhcp && (from, to) == asks_for_address => {
                return Some(Reason::OutboundDhcp);
            }
            Message::Udp { .. } => Reason::OutboundReplyUdp,
            Message::Sctp { .. } => Reason::OutboundReplySctp,
            _ => return None,
        };
        let (conversation, is_visit) = match self.is_gateway() {
            true => (Conversation::arriving(packet)?, false),
            false => (Conversation::leaving(packet)?, true),
        };
        let course = self.living_or_of_group(conversation, now)?;
        if course.is_visit != is_visit || course.is_unruled {
            return None;
        }
        course.seen = now;
        Some(reason)
    }

    /// Whether a datagram or an SCTP packet goes to a client behind this interface that asked for it, whether or not
    /// a rule let the question in.
    fn answers_client(&mut self, packet: &Packet, now: Duration) -> bool {
        if !matches!(packet.message, Message::Udp { .. } | Message::Sctp { .. }) {
            return false;
        }
        let Some(conversation) = Conversation::arriving(packet) else { return false };
        match self.living_or_of_group(conversation, now) {
            Some(course) if !course.is_visit => {
                course.seen = now;
                true
            }
            _ => false,
        }
    }

    /// A conversation that is still remembered.
    fn living(&mut self, conversation: Conversation, now: Duration) -> Option<&mut Course> {
        let flows = self.settings.flows;
        let course = self.conversations.get_mut(&conversation)?;
        course.lives(conversation.carrier, &flows, now).then_some(course)
    }

    /// Likewise, or else the one that began with a question to a group from the same end.
    fn living_or_of_group(&mut self, conversation: Conversation, now: Duration) -> Option<&mut Course> {
        let known = self.living(conversation, now).is_some();
        self.living(if known { conversation } else { conversation.of_group() }, now)
    }

    /// Remembers what a packet begins or carries on whose source is this host, or a client behind it.
    fn remember(&mut self, packet: &Packet, now: Duration) {
        let Some(conversation) = Conversation::leaving(packet) else { return };
        let known = self.living(conversation, now).copied();
        let course = match (packet.message, known) {
            (Message::Tcp { asks: true, .. }, _) => Course { seen: now, ..Course::default() },
            // A segment carries on what is not over, and is noticed only where it ends it.
            (Message::Tcp { ends, breaks, .. }, Some(course)) if ends || breaks => {
                Course { seen: now, ended_here: true, ended_there: course.ended_there || breaks, ..course }
            }
            // What only was seen does not go on by being answered.
            (
                Message::Udp { .. } | Message::Sctp { .. },
                Some(Course { is_visit: true, is_unruled: true, .. }),
            ) => return,
            (Message::Udp { .. } | Message::Sctp { .. }, None)
                if self.living(conversation.of_group(), now).is_some() =>
            {
                return;
            }
            (Message::Udp { .. } | Message::Sctp { .. } | Message::EchoRequest { .. }, known) => {
                Course { seen: now, ..known.unwrap_or_default() }
            }
            _ => return,
        };
        self.conversations.insert(conversation, course);
        if !course.is_visit && !self.is_gateway() {
            self.questions.ask(packet, now);
        }
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
            Ok(Content::Other(ether_type)) => self.other(Way::Arriving, ether_type),
            Err(reason) => self.unreadable(reason),
        }
    }

    /// The verdict of a packet that says what it is addressed to.
    fn packet(&mut self, packet: &Packet, now: Duration) -> Verdict {
        let without_flow = self.by_rules(packet, Way::Arriving);
        if matches!(without_flow, Verdict::Rule(_)) {
            self.admit(packet, now, true);
        }
        if without_flow.accepts() {
            return without_flow;
        }
        if let Some(reason) = self.by_conversation(packet, now) {
            return Verdict::Reason(reason);
        }
        if self.questions.are_answered(packet, self.settings.flows.answers, now) {
            let answer = Packet { destination: Destination::Answers, ..*packet };
            let verdict = self.by_rules(&answer, Way::Arriving);
            return if verdict.accepts() { verdict } else { Verdict::Reason(Reason::GroupAnswer) };
        }
        if self.settings.mode == Enforcement::Observe
            && matches!(packet.message, Message::Udp { .. } | Message::Sctp { .. })
        {
            self.admit(packet, now, false);
        }
        without_flow
    }

    /// Remembers what a packet begins that passes, by a rule or because nothing is dropped: on a gateway a client's
    /// conversation, else one with this host.
    fn admit(&mut self, packet: &Packet, now: Duration, is_ruled: bool) {
        let is_gateway = self.is_gateway();
        let conversation = match (packet.message, is_gateway) {
            (
                Message::Tcp { asks: true, .. }
                | Message::EchoRequest { .. }
                | Message::Udp { .. }
                | Message::Sctp { .. },
                true,
            ) => Conversation::leaving(packet),
            (Message::Udp { .. } | Message::Sctp { .. }, false) if packet.is_for_group => {
                Conversation::arriving(packet).map(Conversation::of_group)
            }
            (Message::Udp { .. } | Message::Sctp { .. }, false) => Conversation::arriving(packet),
            _ => return,
        };
        let Some(conversation) = conversation else { return };
        let begun = Course { seen: now, is_visit: !is_gateway, is_unruled: !is_ruled, ..Course::default() };
        let known = self.living(conversation, now).copied();
        let course = match known {
            Some(course) if !matches!(packet.message, Message::Tcp { .. }) => {
                Course { seen: now, is_unruled: course.is_unruled && !is_ruled, ..course }
            }
            _ => begun,
        };
        self.conversations.insert(conversation, course);
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

    /// The verdict of a frame that carries neither IP nor ARP. It has no addresses: a rule that is limited to some
    /// does not admit it.
    fn other(&self, way: Way, ether_type: u16) -> Verdict {
        let admits = |rule: &Rule| {
            let is_limited =
                !rule.sources.is_empty() || !rule.destinations.is_empty() || rule.address.is_some();
            rule.way == way && !is_limited && rule.openings.contains(&Opening::EtherType(ether_type))
        };
        match self.rules.iter().position(admits) {
            Some(number) => Verdict::Rule(number),
            None => self.unreadable(Reason::NonIp),
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
        let unruled = unruled(packet.destination, way);
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
        let course = self.living(Conversation::arriving(packet)?, now)?;
        if course.is_visit {
            return None;
        }
        let after = Course {
            answered: true,
            ended_there: course.ended_there || ends,
            reset: course.reset || breaks,
            ..*course
        };
        // What is over is remembered for a while, but no longer for what still comes.
        let goes_on = after != *course || !course.is_over();
        *course = Course { seen: if goes_on { now } else { course.seen }, ..after };
        Some(reason)
    }
}

impl Course {
    /// Whether a conversation is still remembered. That the other side ends it counts only once this one has, too:
    /// anybody could say so.
    fn lives(self, carrier: Carrier, flows: &Flows, now: Duration) -> bool {
        let timeout = match carrier {
            Carrier::Udp | Carrier::Sctp if self.is_unruled => flows.udp.min(SEEN),
            Carrier::Udp => flows.udp,
            Carrier::Sctp => flows.sctp,
            Carrier::Echo => flows.echo,
            Carrier::Tcp if self.ended_here => flows.tcp_closing,
            Carrier::Tcp if self.answered => flows.tcp_established,
            Carrier::Tcp => flows.tcp_opening,
        };
        now.saturating_sub(self.seen) <= timeout
    }

    /// Whether nothing more is to come.
    fn is_over(self) -> bool {
        self.ended_here && self.ended_there
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
        (Opening::Protocol(IGMP), Destination::Igmp(_)) => Some(1),
        (Opening::Answers, Destination::Answers) => Some(1),
        // IGMP is of IPv4 alone.
        (Opening::Protocol(open), Destination::Protocol(number)) => {
            (open == number && open != IGMP).then_some(1)
        }
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

/// RFC 2131 section 4.1; RFC 8415 section 7.2.
fn is_dhcp_reply(packet: &Packet, from: u16, to: u16) -> bool {
    if packet.target.is_ipv4() { (from, to) == (67, 68) } else { (from, to) == (547, 546) }
}
