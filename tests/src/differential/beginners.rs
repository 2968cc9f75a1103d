//! Who began each conversation, noted packet by packet: nobody else's packets come in without a rule.
//!
//! The property of docs/policy.md sentence 7 in its simplest form, which asks neither the model nor the kernel: a
//! packet may be taken for a reply only where the first packet of its conversation that passed was sent by the end
//! that it goes to.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use portcullis::evaluate::Verdict;
use portcullis_common::slot::Reason;

/// A packet that was taken for a reply to what nobody asked.
#[derive(Clone, Debug)]
pub struct Stranger {
    verdict: Verdict,
    conversation: Conversation,
}

/// A conversation as one of its ends sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Conversation {
    protocol: u8,
    local: End,
    remote: End,
}

/// An address and a port, or the identifier of an echo; a group's is no address.
type End = (Vec<u8>, u16);

/// Who began what, from the first packet on.
#[derive(Default)]
pub(super) struct Beginners {
    /// UDP and SCTP: whether the local end began it.
    datagrams: HashMap<Conversation, bool>,
    /// TCP and echo: what the local end has asked for.
    asked: HashSet<Conversation>,
    /// UDP: local ends that have asked what others may answer (docs/policy.md, `group-answer`).
    open: HashSet<End>,
    /// UDP: conversations with a packet that a rule let in, for its port or as such an answer; who began those only the
    /// rules say.
    unclear: HashSet<Conversation>,
    shut_out: u64,
}

/// What a packet says of itself.
struct Packet {
    protocol: u8,
    source: End,
    destination: End,
    /// It is a TCP SYN or an echo request.
    asks: bool,
    is_for_group: bool,
}

impl Beginners {
    /// A frame left and passed.
    pub(super) fn left(&mut self, frame: &[u8], is_gateway: bool) {
        let Some(packet) = Packet::read(frame) else { return };
        let conversation = packet.of_source();
        if !packet.is_datagram() {
            if packet.asks {
                self.asked.insert(conversation);
            }
            return;
        }
        let answers_client = is_gateway && self.datagrams.get(&packet.of_destination()) == Some(&true);
        // Whoever has asked a group is answered by an address of this host's own.
        if !answers_client && !self.datagrams.contains_key(&conversation.clone().of_group()) {
            self.datagrams.entry(conversation.clone()).or_insert(true);
        }
        let is_own = self.datagrams.get(&conversation) == Some(&true);
        if is_own && !is_gateway && packet.may_be_answered_by_others() {
            self.open.insert(packet.source);
        }
    }

    /// A frame arrived that has this verdict and passed or did not.
    pub(super) fn arrived(
        &mut self,
        frame: &[u8],
        verdict: Verdict,
        passes: bool,
        is_gateway: bool,
    ) -> Result<(), Stranger> {
        // A later fragment names no port, and follows its first.
        let Some(packet) = Packet::read(frame) else { return Ok(()) };
        match verdict {
            Verdict::Reason(Reason::FlowUdp | Reason::FlowSctp) => {
                let conversation = packet.of_destination();
                if self.datagrams.get(&conversation) == Some(&true) || self.unclear.contains(&conversation) {
                    return Ok(());
                }
                Err(Stranger { verdict, conversation })
            }
            Verdict::Reason(Reason::FlowTcp | Reason::FlowEcho) => {
                let conversation = packet.of_destination();
                if self.asked.contains(&conversation) {
                    return Ok(());
                }
                Err(Stranger { verdict, conversation })
            }
            Verdict::Rule(_) if is_gateway && packet.asks => {
                self.asked.insert(packet.of_source());
                Ok(())
            }
            Verdict::Rule(_)
            | Verdict::Reason(Reason::UndocumentedUdp | Reason::UndocumentedSctp | Reason::Source)
                if packet.is_datagram() =>
            {
                if passes && self.open.contains(&packet.destination) {
                    self.unclear.extend([packet.of_source(), packet.of_destination()]);
                } else if passes {
                    self.comes_in(&packet, is_gateway);
                } else {
                    self.shut_out += u64::from(self.datagrams.get(&packet.of_destination()) == Some(&false));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A datagram passed that is no reply.
    fn comes_in(&mut self, packet: &Packet, is_gateway: bool) {
        if is_gateway {
            self.datagrams.entry(packet.of_source()).or_insert(true);
        } else if packet.is_for_group {
            self.datagrams.insert(packet.of_destination().of_group(), false);
        } else {
            self.datagrams.entry(packet.of_destination()).or_insert(false);
        }
    }

    /// Datagrams that were dropped although earlier ones of their conversation had come in.
    pub(super) fn shut_out(&self) -> u64 {
        self.shut_out
    }
}

impl Conversation {
    /// From whichever address of the local end.
    fn of_group(mut self) -> Self {
        self.local.0.clear();
        self
    }
}

impl Packet {
    /// Whether others may answer it: a datagram to a group, or to a TFTP server.
    fn may_be_answered_by_others(&self) -> bool {
        self.protocol == 17 && (self.is_for_group || self.destination.1 == 69)
    }

    /// The conversation whose local end sent it.
    fn of_source(&self) -> Conversation {
        Conversation { protocol: self.protocol, local: self.source.clone(), remote: self.destination.clone() }
    }

    /// The conversation to whose local end it goes.
    fn of_destination(&self) -> Conversation {
        Conversation { protocol: self.protocol, local: self.destination.clone(), remote: self.source.clone() }
    }

    fn is_datagram(&self) -> bool {
        matches!(self.protocol, UDP | SCTP)
    }

    /// Reads a frame as far as docs/policy.md sentence 10 has it; `None` where it names no port there.
    fn read(frame: &[u8]) -> Option<Self> {
        let half = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        let mut at = 12;
        while matches!(half(at)?, 0x8100 | 0x88a8) && at < 12 + 2 * 4 {
            at += 4;
        }
        let (ether_type, at) = (half(at)?, at + 2);
        let (protocol, upper, addresses, length) = match (ether_type, frame.get(at)? >> 4) {
            (0x0800, 4) if half(at + 6)? & 0x1fff == 0 && frame[at] & 15 >= 5 => {
                (*frame.get(at + 9)?, at + usize::from(frame[at] & 15) * 4, at + 12, 4)
            }
            (0x86dd, 6) => {
                let (mut next, mut upper) = (*frame.get(at + 6)?, at + 40);
                let (mut extensions, mut is_fragment) = (0, false);
                while matches!(next, 0 | 43 | 44 | 60) {
                    let units = match next {
                        44 if is_fragment || half(upper + 2)? >> 3 != 0 => return None,
                        44 => 0,
                        _ => usize::from(*frame.get(upper + 1)?),
                    };
                    is_fragment |= next == 44;
                    extensions += 1;
                    (next, upper) = (*frame.get(upper)?, upper + 8 + units * 8);
                }
                if extensions > 7 {
                    return None;
                }
                (next, upper, at + 8, 16)
            }
            _ => return None,
        };
        let source = frame.get(addresses..addresses + length)?.to_vec();
        let destination = frame.get(addresses + length..addresses + 2 * length)?.to_vec();
        let is_of_group = if length == 4 { destination[0] >= 224 } else { destination[0] == 0xff };
        let is_for_group = frame[0] & 1 != 0 || is_of_group;
        let (protocol, needed) = match (protocol, length) {
            (TCP, _) => (TCP, 14),
            (UDP, _) => (UDP, 8),
            (SCTP, _) => (SCTP, 12),
            (1, 4) | (58, 16) => (ECHO, 8),
            _ => return None,
        };
        let header = frame.get(upper..upper + needed)?;
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (ports, asks) = match protocol {
            TCP => ((half(0), half(2)), header[13] & 0x12 == 0x02),
            ECHO => ((half(4), half(4)), matches!(header[0], 8 | 128)),
            _ => ((half(0), half(2)), false),
        };
        let (source, destination) = ((source, ports.0), (destination, ports.1));
        Some(Self { protocol, source, destination, asks, is_for_group })
    }
}

const ECHO: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, conversation } = self;
        write!(f, "taken for a reply ({verdict:?}), and nobody had asked: {conversation:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Frame, Ip, Transport};

    const REPLY: Verdict = Verdict::Reason(Reason::FlowUdp);

    /// A datagram of the other side, and what answers it.
    fn both(ip: Ip) -> [Vec<u8>; 2] {
        let question = Frame::new(ip, Transport::Udp { source: 5_000, destination: 53 });
        [question.bytes(), question.reply().bytes()]
    }

    #[test]
    fn whoever_sent_first_began() {
        for ip in Ip::BOTH {
            let [question, answer] = both(ip);
            let rule = Verdict::Rule(0);

            let mut stranger = Beginners::default();
            assert!(stranger.arrived(&question, REPLY, true, false).is_err(), "nobody asked: {ip:?}");
            assert!(stranger.arrived(&question, rule, true, false).is_ok());
            stranger.left(&answer, false);
            assert!(stranger.arrived(&question, REPLY, true, false).is_err(), "it asked itself: {ip:?}");
            let closed = Verdict::Reason(Reason::UndocumentedUdp);
            assert!(stranger.arrived(&question, closed, false, false).is_ok());
            assert_eq!(stranger.shut_out(), 1);

            let mut own = Beginners::default();
            own.left(&answer, false);
            assert!(own.arrived(&question, rule, true, false).is_ok());
            assert!(own.arrived(&question, REPLY, true, false).is_ok(), "this host asked: {ip:?}");
        }
    }

    #[test]
    fn what_is_dropped_begins_nothing() {
        let closed = Verdict::Reason(Reason::UndocumentedUdp);
        let [question, answer] = both(Ip::V4);
        let mut beginners = Beginners::default();
        assert!(beginners.arrived(&question, closed, false, false).is_ok());
        beginners.left(&answer, false);
        assert!(beginners.arrived(&question, REPLY, true, false).is_ok());

        let mut observed = Beginners::default();
        assert!(observed.arrived(&question, closed, true, false).is_ok());
        observed.left(&answer, false);
        assert!(observed.arrived(&question, REPLY, true, false).is_err(), "it passed, as nothing is dropped");
    }

    #[test]
    fn behind_eight_extension_headers_nothing_is_read() {
        let with_extensions = |count: usize| {
            let [mut frame, _] = both(Ip::V6);
            // The IPv6 header follows 14 bytes of Ethernet; its next header is its seventh byte.
            let (mut next, options) = (frame[14 + 6], 60);
            for _ in 0..count {
                frame.splice(14 + 40..14 + 40, [next, 0, 1, 4, 0, 0, 0, 0]);
                next = options;
            }
            frame[14 + 6] = next;
            frame
        };
        assert!(Packet::read(&with_extensions(0)).is_some());
        assert!(Packet::read(&with_extensions(7)).is_some_and(|packet| packet.destination.1 == 53));
        assert!(Packet::read(&with_extensions(8)).is_none());
    }
}
