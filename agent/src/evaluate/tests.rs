//! One sentence, one packet, one verdict. The frames are put together here byte by byte, so that the
//! model is measured against the standards and not against another parser.

use std::time::Duration;

use portcullis_common::slot::Reason;

use super::{Evaluator, Verdict};
use crate::{
    policy::{Flows, Settings},
    requirement::PortRange,
    ruleset::{Identity, Opening, Origin, Rule, RuleSet, Way},
};

const SETTINGS: Settings = Settings {
    flows: Flows {
        tcp_opening: Duration::from_secs(30),
        tcp_established: Duration::from_secs(100),
        tcp_closing: Duration::from_secs(20),
        udp: Duration::from_secs(10),
        sctp: Duration::from_secs(15),
        ..Flows::STANDARD
    },
    ..Settings::STANDARD
};
const START: Duration = Duration::from_secs(1_000);
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

fn rule(openings: &[Opening], sources: &[&str], address: Option<&str>) -> Rule {
    Rule {
        identity: Identity(format!("{openings:?} {sources:?} {address:?}")),
        origin: Origin::Policy { name: "test".into(), file: "test.toml".into(), line: 1 },
        way: Way::Arriving,
        openings: openings.to_vec(),
        destinations: Vec::new(),
        sources: sources.iter().map(|net| net.parse().unwrap()).collect(),
        address: address.map(|address| address.parse().unwrap()),
    }
}

fn tcp(lo: u16, hi: u16) -> Opening {
    Opening::Tcp(PortRange::new(lo, hi).unwrap())
}

fn udp(lo: u16, hi: u16) -> Opening {
    Opening::Udp(PortRange::new(lo, hi).unwrap())
}

fn sctp(lo: u16, hi: u16) -> Opening {
    Opening::Sctp(PortRange::new(lo, hi).unwrap())
}

/// Ethernet from `ether_type` on.
fn ethernet(ether_type: u16, rest: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type.to_be_bytes(), rest].concat()
}

/// IPv4 from 192.0.2.2 to 192.0.2.1.
fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1];
    ethernet(0x0800, &[&header[..], payload].concat())
}

/// IPv6 from 2001:db8::2 to 2001:db8::1.
fn v6(next: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let address = |n| [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n];
    let header = [&[0x60, 0, 0, 0, 0, 0, next, hop_limit][..], &address(2), &address(1)].concat();
    ethernet(0x86dd, &[&header[..], payload].concat())
}

/// The header of a TCP segment.
fn segment(from: u16, to: u16, flags: u8) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]]
        .concat()
}

fn datagram(from: u16, to: u16) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 8, 0, 0]].concat()
}

/// The common header of an SCTP packet.
fn association(from: u16, to: u16) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 0]].concat()
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// An extension header of `units` eight-byte units.
fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(units) * 8];
    (bytes[0], bytes[1]) = (next, units - 1);
    bytes
}

/// `count` headers of type `kind` in front of `last`.
fn chain(kind: u8, count: usize, last: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 1..=count {
        bytes.extend(extension(if n == count { last } else { kind }, 1));
    }
    v6(kind, 64, &[&bytes, payload].concat())
}

#[test]
fn each_packet_has_the_verdict_that_the_reference_gives() {
    let rules = RuleSet {
        rules: vec![
            rule(&[tcp(443, 443), udp(3478, 3478)], &[], None),
            rule(&[tcp(400, 500)], &[], None),
            rule(&[tcp(5061, 5061)], &["192.0.2.0/24"], None),
            rule(&[tcp(5061, 5061)], &["198.51.100.0/24"], None),
            rule(&[tcp(5062, 5062)], &["198.51.100.0/24"], None),
            rule(&[tcp(5063, 5063)], &[], Some("192.0.2.1")),
            rule(&[Opening::Protocol(47), Opening::Protocol(1), Opening::Protocol(58)], &[], None),
            rule(&[tcp(6000, 6010), tcp(6005, 6005)], &[], None),
            rule(&[tcp(6004, 6006)], &[], None),
            rule(&[Opening::Icmp(8), Opening::Icmp(3)], &[], None),
            rule(&[tcp(5061, 5061)], &[], None),
            rule(&[Opening::Icmpv6(135), Opening::Icmpv6(128)], &["2001:db8:1::/48"], None),
            rule(&[sctp(36_412, 36_422), Opening::Protocol(132)], &[], None),
            rule(&[sctp(36_412, 36_412)], &["198.51.100.0/24"], None),
            rule(&[sctp(2_905, 2_905)], &["198.51.100.0/24"], None),
        ],
    };
    use Verdict::Rule;
    let reason = Verdict::Reason;
    let to = |port| segment(40_000, port, SYN);
    let icmp = |kind| [kind, 0, 0, 0, 0, 7, 0, 1];
    let fragment = |reserved, offset: u16| {
        let offset = offset.to_be_bytes();
        let identification = if offset[1] == 1 { 1 } else { 9 };
        [&[TCP, reserved, offset[0], offset[1], 0, 0, 0, identification][..], &to(443)].concat()
    };
    let authentication = |next| [&[next, 4, 0, 0][..], &[0; 20], &to(443)].concat();
    let mut later = v4(TCP, &to(443));
    (later[14 + 5], later[14 + 7]) = (9, 0x20);
    let mut first = v4(TCP, &to(443));
    first[14 + 6] = 0x20;
    let mut short = v4(TCP, &to(443));
    short[14] = 0x44;
    let mut options = v4(TCP, &[&[1; 40][..], &to(443)].concat());
    options[14] = 0x4f;
    let mut five = v4(TCP, &to(443));
    five[14] = 0x55;
    let mut four = v6(TCP, 64, &to(443));
    four[14] = 0x40;
    let tag = |kinds: &[u16], frame: &[u8]| {
        let tags: Vec<u8> =
            kinds.iter().flat_map(|kind| [&kind.to_be_bytes()[..], &[0, 5]].concat()).collect();
        [&frame[..12], &tags, &frame[12..]].concat()
    };

    let cases: Vec<(&str, Vec<u8>, Verdict)> = vec![
        ("an open port", v4(TCP, &to(443)), Rule(0)),
        ("the same over IPv6", v6(TCP, 64, &to(443)), Rule(0)),
        ("the narrower of two ranges", v4(TCP, &to(444)), Rule(1)),
        ("an open UDP port", v4(UDP, &datagram(1, 3478)), Rule(0)),
        ("UDP to a port open for TCP", v4(UDP, &datagram(1, 443)), reason(Reason::UndocumentedUdp)),
        ("a closed port", v6(TCP, 64, &to(399)), reason(Reason::UndocumentedTcp)),
        ("first of equal rules that applies", v4(TCP, &to(5061)), Rule(2)),
        ("limited rules of another version", v6(TCP, 64, &to(5061)), Rule(10)),
        ("open, but from elsewhere", v4(TCP, &to(5062)), reason(Reason::Source)),
        ("open at this address", v4(TCP, &to(5063)), Rule(5)),
        ("open, but at another address", v6(TCP, 64, &to(5063)), reason(Reason::Source)),
        ("a rule's own narrowest opening", v4(TCP, &to(6005)), Rule(7)),
        ("narrower than the wide opening", v4(TCP, &to(6006)), Rule(8)),
        ("an open SCTP port", v4(SCTP, &association(1, 36_413)), Rule(12)),
        ("the same over IPv6", v6(SCTP, 64, &association(1, 36_413)), Rule(12)),
        ("narrower, but for others", v4(SCTP, &association(1, 36_412)), Rule(12)),
        ("an SCTP port for others", v4(SCTP, &association(1, 2_905)), reason(Reason::Source)),
        (
            "the number of the protocol opens no port",
            v4(SCTP, &association(1, 1)),
            reason(Reason::UndocumentedSctp),
        ),
        ("SCTP to a port open for TCP", v4(SCTP, &association(1, 443)), reason(Reason::UndocumentedSctp)),
        ("TCP to a port open for SCTP", v4(TCP, &to(36_413)), reason(Reason::UndocumentedTcp)),
        ("SCTP of eleven bytes", v4(SCTP, &association(1, 36_413)[..11]), reason(Reason::Truncated)),
        ("an open protocol", v4(47, &[]), Rule(6)),
        ("a closed protocol", v6(59, 64, &[]), reason(Reason::UndocumentedProtocol)),
        ("ICMP type", v4(1, &icmp(8)), Rule(9)),
        ("a rule before the ICMP errors", v4(1, &icmp(3)), Rule(9)),
        ("an ICMP error", v4(1, &icmp(11)), reason(Reason::IcmpError)),
        ("an unknown ICMP type", v4(1, &icmp(13)), reason(Reason::UndocumentedIcmp)),
        ("ICMP over IPv6 is a protocol", v6(1, 64, &icmp(13)), Rule(6)),
        ("ICMPv6 over IPv4 is a protocol", v4(58, &icmp(135)), Rule(6)),
        ("an ICMPv6 error", v6(58, 64, &[2, 0, 0, 0]), reason(Reason::IcmpError)),
        (
            "discovery that a rule names for others",
            v6(58, 255, &[135, 0, 0, 0]),
            reason(Reason::NeighbourDiscovery),
        ),
        ("neighbour discovery", v6(58, 255, &[136, 0, 0, 0]), reason(Reason::NeighbourDiscovery)),
        ("forwarded discovery", v6(58, 254, &[135, 0, 0, 0]), reason(Reason::ForgedNeighbour)),
        ("listener discovery", v6(58, 1, &[143, 0, 0, 0]), reason(Reason::MulticastListener)),
        ("a ping open to others", v6(58, 64, &icmp(128)), reason(Reason::Source)),
        ("a ping reply", v6(58, 64, &icmp(129)), reason(Reason::UndocumentedIcmp)),
        ("ARP", ethernet(0x0806, &[0; 28]), reason(Reason::Arp)),
        ("LLDP", ethernet(0x88cc, &[0; 46]), reason(Reason::NonIp)),
        ("thirteen bytes", vec![0; 13], reason(Reason::Truncated)),
        ("nothing", vec![], reason(Reason::Truncated)),
        ("a tag", tag(&[0x8100], &v4(TCP, &to(443))), Rule(0)),
        ("two tags", tag(&[0x88a8, 0x8100], &v6(TCP, 64, &to(443))), Rule(0)),
        ("three tags", tag(&[0x8100; 3], &v4(TCP, &to(443))), reason(Reason::VlanDepth)),
        ("half a tag", tag(&[0x8100], &v4(TCP, &[]))[..16].to_vec(), reason(Reason::Truncated)),
        ("all options", options, Rule(0)),
        ("IHL of four", short, reason(Reason::Malformed)),
        ("IPv4 that says five", five, reason(Reason::Malformed)),
        ("IPv6 that says four", four, reason(Reason::Malformed)),
        ("a first fragment", first, Rule(0)),
        ("a later fragment", later, reason(Reason::Fragment)),
        ("a first fragment, reserved byte set", v6(44, 64, &fragment(0xff, 1)), Rule(0)),
        ("a later fragment over IPv6", v6(44, 64, &fragment(0, 0x48)), reason(Reason::Fragment)),
        (
            "authentication is a protocol",
            v6(51, 64, &authentication(TCP)),
            reason(Reason::UndocumentedProtocol),
        ),
        ("it is one in IPv4 too", v4(51, &authentication(TCP)), reason(Reason::UndocumentedProtocol)),
        (
            "mobility is one",
            v6(135, 64, &[&extension(TCP, 1)[..], &to(443)].concat()),
            reason(Reason::UndocumentedProtocol),
        ),
        ("an IGMP query", v4(2, &[0x11, 0, 0, 0, 0, 0, 0, 0]), reason(Reason::IgmpQuery)),
        ("an IGMP report", v4(2, &[0x16, 0, 0, 0, 0, 0, 0, 0]), reason(Reason::UndocumentedProtocol)),
        ("a long extension", v6(60, 64, &[extension(TCP, 32), to(443)].concat()), Rule(0)),
        ("seven extensions", chain(0, 7, TCP, &to(443)), Rule(0)),
        ("eight extensions", chain(43, 8, TCP, &to(443)), reason(Reason::HeaderLimit)),
        ("extensions that end early", chain(60, 3, 60, &[]), reason(Reason::Truncated)),
        ("TCP short of its flags", v4(TCP, &to(443)[..13]), reason(Reason::Truncated)),
        ("UDP of seven bytes", v4(UDP, &datagram(1, 3478)[..7]), reason(Reason::Truncated)),
        ("ICMP of seven bytes", v4(1, &icmp(8)[..7]), reason(Reason::Truncated)),
        ("ICMPv6 of three bytes", v6(58, 255, &[135, 0, 0]), reason(Reason::Truncated)),
        ("TCP that starts too far behind", v6(60, 64, &far(TCP)), reason(Reason::Truncated)),
        ("a DHCP reply", v4(UDP, &datagram(67, 68)), reason(Reason::Dhcp)),
        ("a DHCPv6 reply", v6(UDP, 64, &datagram(547, 546)), reason(Reason::Dhcp)),
        ("DHCPv6 ports over IPv4", v4(UDP, &datagram(547, 546)), reason(Reason::UndocumentedUdp)),
    ];
    let mut evaluator = Evaluator::new(&rules, SETTINGS);
    for (says, frame, verdict) in cases {
        assert_eq!(evaluator.arriving(&frame, START), verdict, "{says}: {frame:02x?}");
    }
}

/// Two extension headers of 2,048 bytes with a TCP header to an open port behind them.
fn far(last: u8) -> Vec<u8> {
    let mut bytes = vec![0; 2 * 2_048];
    (bytes[0], bytes[1]) = (60, 255);
    (bytes[2_048], bytes[2_049]) = (last, 255);
    [bytes, segment(40_000, 443, SYN)].concat()
}

#[test]
fn a_reply_is_accepted_until_its_conversation_has_been_silent_for_too_long() {
    let rules = RuleSet { rules: vec![rule(&[udp(123, 123)], &[], None)] };
    let open = Verdict::Reason;
    let echo = |kind, identifier: u8| [kind, 0, 0, 0, 0, identifier, 0, 1];
    // The host is 192.0.2.2 when it sends; its peer's packets are turned round.
    let back = |mut frame: Vec<u8>| {
        frame[26..34].rotate_left(4);
        frame
    };
    let second = Duration::from_secs(1);

    let mut host = Evaluator::new(&rules, SETTINGS);
    let mut arrives = |says: &str, frame: Vec<u8>, now: Duration, verdict| {
        assert_eq!(host.arriving(&back(frame), now), verdict, "{says}");
    };
    arrives("no conversation", v4(TCP, &segment(80, 50_000, ACK)), START, open(Reason::UndocumentedTcp));

    let mut host = Evaluator::new(&rules, SETTINGS);
    host.leaving(&v4(TCP, &segment(50_000, 80, SYN)), START);
    host.leaving(&v4(TCP, &segment(50_001, 80, SYN | ACK)), START);
    host.leaving(&v4(UDP, &datagram(50_000, 53)), START);
    host.leaving(&v4(UDP, &datagram(123, 123)), START);
    host.leaving(&v4(SCTP, &association(50_000, 36_412)), START);
    host.leaving(&v4(1, &echo(8, 7)), START);
    let cases = [
        ("its answer", v4(TCP, &segment(80, 50_000, SYN | ACK)), 0, open(Reason::FlowTcp)),
        ("a request is no reply", v4(TCP, &segment(80, 50_000, SYN)), 0, open(Reason::UndocumentedTcp)),
        ("from another port", v4(TCP, &segment(81, 50_000, ACK)), 0, open(Reason::UndocumentedTcp)),
        ("to another port", v4(TCP, &segment(80, 50_001, ACK)), 0, open(Reason::UndocumentedTcp)),
        ("another protocol", v4(UDP, &datagram(80, 50_000)), 0, open(Reason::UndocumentedUdp)),
        ("a UDP answer", v4(UDP, &datagram(53, 50_000)), 0, open(Reason::FlowUdp)),
        ("a UDP answer in time", v4(UDP, &datagram(53, 50_000)), 10, open(Reason::FlowUdp)),
        ("in time after that one", v4(UDP, &datagram(53, 50_000)), 20, open(Reason::FlowUdp)),
        ("a UDP answer too late", v4(UDP, &datagram(53, 50_000)), 31, open(Reason::UndocumentedUdp)),
        ("an SCTP answer", v4(SCTP, &association(36_412, 50_000)), 15, open(Reason::FlowSctp)),
        (
            "an SCTP answer too late",
            v4(SCTP, &association(36_412, 50_000)),
            31,
            open(Reason::UndocumentedSctp),
        ),
        (
            "SCTP with a datagram's ports",
            v4(SCTP, &association(53, 50_000)),
            0,
            open(Reason::UndocumentedSctp),
        ),
        ("an open port needs none", v4(UDP, &datagram(123, 123)), 31, Verdict::Rule(0)),
        ("a TCP answer in time", v4(TCP, &segment(80, 50_000, ACK)), 100, open(Reason::FlowTcp)),
        ("a TCP answer too late", v4(TCP, &segment(80, 50_000, ACK)), 201, open(Reason::UndocumentedTcp)),
    ];
    let pings = [
        ("an echo reply", v4(1, &echo(0, 7)), open(Reason::FlowEcho)),
        ("another ping's", v4(1, &echo(0, 8)), open(Reason::UndocumentedIcmp)),
        ("an echo request is no reply", v4(1, &echo(8, 7)), open(Reason::UndocumentedIcmp)),
    ];
    for (says, frame, verdict) in pings {
        assert_eq!(host.arriving(&back(frame), START), verdict, "{says}");
    }
    for (says, frame, after, verdict) in cases {
        assert_eq!(host.arriving(&back(frame), START + after * second), verdict, "{says}");
    }
}

#[test]
fn dhcp_replies_are_accepted_only_where_the_interface_uses_dhcp() {
    let rules = RuleSet { rules: Vec::new() };
    let reply = v4(UDP, &datagram(67, 68));
    for (dhcp, reason) in [(true, Reason::Dhcp), (false, Reason::UndocumentedUdp)] {
        let mut host = Evaluator::new(&rules, Settings { dhcp, ..SETTINGS });
        assert_eq!(host.arriving(&reply, START), Verdict::Reason(reason));
    }
}
