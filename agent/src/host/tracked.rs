//! Connection tracking -> the conversations that were begun from behind this host and leave under an address of its
//! own, as those of containers do.
//!
//! No socket of this network namespace shows them. The kernel keeps of each both directions: the one in which it began,
//! and what answers to it look like on the wire.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{
        ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Protocol, Tuple,
    },
};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::{
    conversations::{Conversation, Side},
    netlink::{Answers, HostError, Netlink},
    sockets::Transport,
};

/// There where the kernel tracks connections in this network namespace. To ask where it does not would load its module.
const TRACKS: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// States of a TCP connection (`enum tcp_conntrack` of include/uapi/linux/netfilter/nf_conntrack_tcp.h).
mod state {
    pub(super) const ESTABLISHED: u8 = 3;
    pub(super) const CLOSE_WAIT: u8 = 5;
}

/// The conversations that somebody behind this host has begun and that leave under one of its `own` addresses. None
/// where the kernel tracks no connections.
///
/// # Errors
///
/// Where the kernel does not tell.
pub fn translated(own: &BTreeSet<IpAddr>) -> Result<Vec<Conversation>, HostError> {
    if !Path::new(TRACKS).exists() {
        return Ok(Vec::new());
    }
    let netlink = Netlink::open(NETLINK_NETFILTER, "the connections that it tracks")?;
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let question = NetfilterMessage::new(header, ConntrackMessage::Get(Vec::new()));
    let answers = netlink.ask(&question, Answers::List)?;
    let mut found: Vec<Conversation> = answers.iter().filter_map(|answer| of(answer, own)).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// One direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Direction {
    protocol: Protocol,
    from: SocketAddr,
    to: SocketAddr,
}

fn of(answer: &NetfilterMessage, own: &BTreeSet<IpAddr>) -> Option<Conversation> {
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = &answer.inner else {
        return None;
    };
    let (mut begun, mut answered, mut tcp) = (None, None, None);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => begun = direction(parts),
            ConntrackAttribute::CtaTupleReply(parts) => answered = direction(parts),
            ConntrackAttribute::CtaProtoInfo(infos) => tcp = infos.iter().find_map(tcp_state),
            _ => {}
        }
    }
    conversation(begun?, answered?, tcp, own)
}

/// The conversation as the packets between this host and the other end show it.
///
/// What this host began itself, its sockets show, and with them who waits at which door; here is only what has another
/// source before its address is translated. What others began is addressed to this host first, or the answers go to
/// their address, also where the destination is translated on the way.
fn conversation(
    begun: Direction,
    answered: Direction,
    tcp: Option<u8>,
    own: &BTreeSet<IpAddr>,
) -> Option<Conversation> {
    let (local, remote) = (answered.to, answered.from);
    let is_own = |end: SocketAddr| own.contains(&end.ip());
    if !is_own(local) || is_own(remote) || is_own(begun.from) || is_own(begun.to) {
        return None;
    }
    let (transport, is_established) = match (answered.protocol, tcp) {
        (Protocol::Udp, _) => (Transport::Udp, true),
        // What one side has ended goes on until the other has.
        (Protocol::Tcp, Some(state)) if state <= state::CLOSE_WAIT => {
            (Transport::Tcp, state >= state::ESTABLISHED)
        }
        _ => return None,
    };
    Some(Conversation {
        transport,
        local,
        remote,
        begun: Side::Here,
        is_established,
        interface: None,
        inode: 0,
    })
}

fn direction(parts: &[Tuple]) -> Option<Direction> {
    let (mut protocol, mut from, mut to, mut ports) = (None, None, None, (None, None));
    for part in parts {
        match part {
            Tuple::Ip(ends) => {
                for end in ends {
                    match end {
                        IPTuple::SourceAddress(address) => from = Some(*address),
                        IPTuple::DestinationAddress(address) => to = Some(*address),
                        _ => {}
                    }
                }
            }
            Tuple::Proto(parts) => {
                for part in parts {
                    match part {
                        ProtoTuple::Protocol(number) => protocol = Some(*number),
                        ProtoTuple::SourcePort(port) => ports.0 = Some(*port),
                        ProtoTuple::DestinationPort(port) => ports.1 = Some(*port),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let (from, to) = (SocketAddr::new(from?, ports.0?), SocketAddr::new(to?, ports.1?));
    Some(Direction { protocol: protocol?, from, to })
}

fn tcp_state(info: &ProtoInfo) -> Option<u8> {
    let ProtoInfo::TCP(parts) = info else { return None };
    parts.iter().find_map(|part| if let ProtoInfoTCP::State(state) = part { Some(*state) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of a connection whose directions are these, `from > to`, on a host with the addresses 203.0.113.1,
    /// 172.17.0.1 and 2001:db8::1.
    fn told(protocol: Protocol, begun: &str, answered: &str, tcp: Option<u8>) -> Option<String> {
        let own =
            ["203.0.113.1", "172.17.0.1", "2001:db8::1"].map(|text| text.parse().expect("an address")).into();
        let direction = |text: &str| {
            let (from, to) = text.split_once(" > ").expect("two ends");
            Direction { protocol, from: from.parse().expect("an end"), to: to.parse().expect("an end") }
        };
        let talk = conversation(direction(begun), direction(answered), tcp, &own)?;
        Some(format!("{talk}{}", if talk.is_established { "" } else { " opening" }))
    }

    #[test]
    fn what_leaves_under_an_own_address_is_begun_here() {
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        let container = ("172.17.0.2:40000 > 198.51.100.7:443", "198.51.100.7:443 > 203.0.113.1:50000");
        let expected = Some("tcp 203.0.113.1:50000 > 198.51.100.7:443".to_owned());
        for state in [3, 4, 5] {
            assert_eq!(told(tcp, container.0, container.1, Some(state)), expected);
        }
        let opening = expected.map(|talk| talk + " opening");
        for state in [1, 2] {
            assert_eq!(told(tcp, container.0, container.1, Some(state)), opening);
        }
        // What both sides have ended, or somebody has reset; and a state that is not told.
        for state in [Some(0xff), Some(6), Some(7), Some(8), None] {
            assert_eq!(told(tcp, container.0, container.1, state), None);
        }
        assert_eq!(
            told(udp, "[fd00::2]:9000 > [2001:db8:1::7]:53", "[2001:db8:1::7]:53 > [2001:db8::1]:9000", None),
            Some("udp [2001:db8::1]:9000 > [2001:db8:1::7]:53".to_owned())
        );
        assert_eq!(told(Protocol::Sctp, container.0, container.1, None), None);
    }

    #[test]
    fn what_others_began_and_what_sockets_show_is_not() {
        let udp = |begun: &str, answered: &str| told(Protocol::Udp, begun, answered, None);
        for (says, begun, answered) in [
            (
                "this host itself",
                "203.0.113.1:40000 > 198.51.100.7:53",
                "198.51.100.7:53 > 203.0.113.1:40000",
            ),
            ("to this host", "198.51.100.7:40000 > 203.0.113.1:53", "203.0.113.1:53 > 198.51.100.7:40000"),
            ("to a container", "198.51.100.7:40000 > 203.0.113.1:80", "172.17.0.2:80 > 198.51.100.7:40000"),
            (
                "to a container that is to see this host",
                "198.51.100.7:40000 > 203.0.113.1:80",
                "172.17.0.2:80 > 172.17.0.1:40000",
            ),
            ("passed on as it is", "10.0.0.2:40000 > 198.51.100.7:53", "198.51.100.7:53 > 10.0.0.2:40000"),
            (
                "a container to this host",
                "172.17.0.2:40000 > 203.0.113.1:53",
                "203.0.113.1:53 > 172.17.0.2:40000",
            ),
            (
                "by another address of its own",
                "203.0.113.1:40000 > 172.17.0.2:80",
                "172.17.0.2:80 > 172.17.0.1:40000",
            ),
        ] {
            assert_eq!(udp(begun, answered), None, "{says}");
        }
    }
}
