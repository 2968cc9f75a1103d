//! The kernel's verdicts: one sentence, one packet, one verdict, and exactly one counter that moves.
//!
//! The program is asked by BPF_PROG_TEST_RUN; the reference model is asked the same and must agree
//! with the table too.

mod ether_types;
mod headers;

use std::time::Duration;

use anyhow::Result;
use portcullis::{
    datapath::{LinkType, LoadOptions},
    evaluate::{Evaluator, Verdict},
    policy::{Enforcement, Settings, Unreadable, Wish},
    ruleset::RuleSet,
};
use portcullis_common::slot::Reason;
use portcullis_tests::{
    judge::{self, Judge},
    lab::Lab,
    packet::{Frame, Ip, Transport},
    rules,
    splice::{self, Extension},
};

const NOW: Duration = Duration::ZERO;

/// A sentence, a frame and its verdict.
type Case = (&'static str, Vec<u8>, Verdict);

/// Tries each case on the kernel and on the model; a packet without its Ethernet header has the same verdict on a
/// link that has none.
fn check(rules: &RuleSet, options: &LoadOptions, cases: &[Case]) -> Result<()> {
    let mut kernel = Judge::new(rules, options)?;
    let mut bare = Judge::new(rules, &LoadOptions { link: LinkType::Ip, ..options.clone() })?;
    let mut model = Evaluator::new(rules, options.settings);
    for (says, frame, verdict) in cases {
        assert_eq!(model.arriving(frame, NOW), *verdict, "the model: {says}: {frame:02x?}");
        if let Err(other) = kernel.alone(frame, *verdict)? {
            panic!("the kernel: {says}: {other}\n{frame:02x?}");
        }
        if let Some(packet) = without_ethernet(frame)
            && let Err(other) = bare.alone(packet, *verdict)?
        {
            panic!("the kernel, without an Ethernet header: {says}: {other}\n{packet:02x?}");
        }
    }
    bare.finish()?;
    kernel.finish()
}

/// The packet in a frame that a link without an Ethernet header could carry, where the kernel would run a program on
/// it.
fn without_ethernet(frame: &[u8]) -> Option<&[u8]> {
    let (ethernet, packet) = frame.split_at_checked(14)?;
    // What the frame says, the packet has to say there.
    let version = match ethernet[12..] {
        [0x08, 0x00] => 4,
        [0x86, 0xdd] => 6,
        _ => return None,
    };
    (packet.len() >= 14 && packet[0] >> 4 == version).then_some(packet)
}

fn rule(number: usize) -> Verdict {
    Verdict::Rule(number)
}

fn reason(reason: Reason) -> Verdict {
    Verdict::Reason(reason)
}

fn icmp(ip: Ip, kind: u8) -> Frame {
    Frame::new(ip, Transport::Icmp { kind, identifier: 7 })
}

fn protocol(ip: Ip, number: u8) -> Frame {
    Frame::new(ip, Transport::Other(number))
}

/// So many bytes behind an IP header without tags and options.
fn behind(ip: Ip, bytes: usize) -> usize {
    bytes + if ip == Ip::V4 { 34 } else { 54 }
}

/// ICMPv6 with a hop limit.
fn hops(kind: u8, hop_limit: u8) -> Vec<u8> {
    splice::set(&icmp(Ip::V6, kind).bytes(), 14 + 7, hop_limit)
}

const RULES: &str = "
    tcp/443 udp/3478
    tcp/400-500 udp/50000-50100
    tcp/0 tcp/65535 udp/0 udp/65535
    icmp/8 icmpv6/128
    ip47 ip1 ip58 sctp/36412-36422 sctp/65535
    tcp/440-450
";

#[test]
fn ports_types_and_protocols() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let mut cases: Vec<Case> = Vec::new();
    for ip in Ip::BOTH {
        cases.extend([
            ("an open TCP port", Frame::syn(ip, 443).bytes(), rule(0)),
            ("a later segment to it", Frame::ack(ip, 443).bytes(), rule(0)),
            ("a TCP port in two ranges is the narrower one's", Frame::syn(ip, 444).bytes(), rule(5)),
            ("a TCP port in one range", Frame::syn(ip, 451).bytes(), rule(1)),
            ("the first port of a range", Frame::syn(ip, 400).bytes(), rule(1)),
            ("the last port of a range", Frame::syn(ip, 500).bytes(), rule(1)),
            ("the port before a range", Frame::syn(ip, 399).bytes(), reason(Reason::UndocumentedTcp)),
            ("the port behind a range", Frame::syn(ip, 501).bytes(), reason(Reason::UndocumentedTcp)),
            ("TCP port 0", Frame::syn(ip, 0).bytes(), rule(2)),
            ("the last TCP port", Frame::syn(ip, 65_535).bytes(), rule(2)),
            // 443 and 47873 are each other's bytes swapped.
            ("an open port's bytes swapped", Frame::syn(ip, 47_873).bytes(), reason(Reason::UndocumentedTcp)),
            ("a segment to a closed port", Frame::ack(ip, 1).bytes(), reason(Reason::UndocumentedTcp)),
            ("an open UDP port", Frame::udp(ip, 3478).bytes(), rule(0)),
            ("a UDP port in a range", Frame::udp(ip, 50_050).bytes(), rule(1)),
            ("UDP port 0", Frame::udp(ip, 0).bytes(), rule(2)),
            ("the last UDP port", Frame::udp(ip, 65_535).bytes(), rule(2)),
            ("a port open for TCP only", Frame::udp(ip, 443).bytes(), reason(Reason::UndocumentedUdp)),
            ("a port open for UDP only", Frame::syn(ip, 3478).bytes(), reason(Reason::UndocumentedTcp)),
            ("an open protocol", protocol(ip, 47).bytes(), rule(4)),
            ("an open SCTP port", Frame::sctp(ip, 36_412).bytes(), rule(4)),
            ("the last SCTP port of a range", Frame::sctp(ip, 36_422).bytes(), rule(4)),
            ("the SCTP port behind it", Frame::sctp(ip, 36_423).bytes(), reason(Reason::UndocumentedSctp)),
            ("the last SCTP port", Frame::sctp(ip, 65_535).bytes(), rule(4)),
            ("SCTP port 0", Frame::sctp(ip, 0).bytes(), reason(Reason::UndocumentedSctp)),
            // 36412 and 15502 are each other's bytes swapped.
            (
                "an SCTP port's bytes swapped",
                Frame::sctp(ip, 15_502).bytes(),
                reason(Reason::UndocumentedSctp),
            ),
            ("SCTP to a port open for TCP", Frame::sctp(ip, 443).bytes(), reason(Reason::UndocumentedSctp)),
            ("SCTP to a port open for UDP", Frame::sctp(ip, 3478).bytes(), reason(Reason::UndocumentedSctp)),
            ("TCP to a port open for SCTP", Frame::syn(ip, 36_412).bytes(), reason(Reason::UndocumentedTcp)),
            ("UDP to a port open for SCTP", Frame::udp(ip, 36_412).bytes(), reason(Reason::UndocumentedUdp)),
            ("a whole SCTP header", Frame::sctp(ip, 36_412).bytes()[..behind(ip, 12)].to_vec(), rule(4)),
            (
                "SCTP short of its checksum",
                Frame::sctp(ip, 36_412).bytes()[..behind(ip, 11)].to_vec(),
                reason(Reason::Truncated),
            ),
            ("a closed protocol", protocol(ip, 50).bytes(), reason(Reason::UndocumentedProtocol)),
            ("the last protocol", protocol(ip, 255).bytes(), reason(Reason::UndocumentedProtocol)),
        ]);
    }
    cases.extend([
        ("a ping", icmp(Ip::V4, 8).bytes(), rule(3)),
        ("a ping over IPv6", icmp(Ip::V6, 128).bytes(), rule(3)),
        ("an echo reply to nobody", icmp(Ip::V4, 0).bytes(), reason(Reason::UndocumentedIcmp)),
        ("an echo reply to nobody over IPv6", icmp(Ip::V6, 129).bytes(), reason(Reason::UndocumentedIcmp)),
        ("a redirect", icmp(Ip::V4, 5).bytes(), reason(Reason::UndocumentedIcmp)),
        ("a timestamp request", icmp(Ip::V4, 13).bytes(), reason(Reason::UndocumentedIcmp)),
        ("ICMPv6's ping number in ICMP", icmp(Ip::V4, 128).bytes(), reason(Reason::UndocumentedIcmp)),
        ("ICMP's ping number in ICMPv6", icmp(Ip::V6, 8).bytes(), reason(Reason::UndocumentedIcmp)),
        ("destination unreachable", icmp(Ip::V4, 3).bytes(), reason(Reason::IcmpError)),
        ("source quench, long obsolete", icmp(Ip::V4, 4).bytes(), reason(Reason::UndocumentedIcmp)),
        ("time exceeded", icmp(Ip::V4, 11).bytes(), reason(Reason::IcmpError)),
        ("parameter problem", icmp(Ip::V4, 12).bytes(), reason(Reason::IcmpError)),
        ("packet too big", icmp(Ip::V6, 2).bytes(), reason(Reason::IcmpError)),
        ("the type before the errors", icmp(Ip::V6, 0).bytes(), reason(Reason::UndocumentedIcmp)),
        ("the type behind the errors", icmp(Ip::V6, 5).bytes(), reason(Reason::UndocumentedIcmp)),
        ("a listener report", hops(143, 1), reason(Reason::MulticastListener)),
        ("a listener query", hops(130, 1), reason(Reason::MulticastListener)),
        ("neighbour solicitation", hops(135, 255), reason(Reason::NeighbourDiscovery)),
        ("router advertisement", hops(134, 255), reason(Reason::NeighbourDiscovery)),
        ("neighbour solicitation from afar", hops(135, 64), reason(Reason::ForgedNeighbour)),
        ("router solicitation one hop away", hops(133, 254), reason(Reason::ForgedNeighbour)),
        ("redirect from afar", hops(137, 0), reason(Reason::ForgedNeighbour)),
        ("ICMP carried by IPv6 is protocol 1", protocol(Ip::V6, 1).bytes(), rule(4)),
        ("ICMPv6 carried by IPv4 is protocol 58", protocol(Ip::V4, 58).bytes(), rule(4)),
        ("ARP", splice::plain(0x0806, &[0; 28]), reason(Reason::Arp)),
        ("LLDP", splice::plain(0x88cc, &[0; 46]), reason(Reason::NonIp)),
        ("an 802.3 length", splice::plain(38, &[0x42; 46]), reason(Reason::NonIp)),
        ("nothing but an Ethernet header", splice::plain(0x0800, &[]), reason(Reason::Truncated)),
        ("an ARP header alone", splice::plain(0x0806, &[]), reason(Reason::Arp)),
    ]);
    check(&rules::parse(RULES), &judge::options(), &cases)
}

/// Holds: policy 13, security closed.
#[test]
fn every_prefix_of_a_frame_has_the_verdict_that_the_model_gives() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(RULES);
    let options = judge::options();
    let mut kernel = Judge::new(&rules, &options)?;
    let mut model = Evaluator::new(&rules, options.settings);
    let mut frames = vec![splice::plain(0x0806, &[0; 28]), hops(135, 255), hops(135, 64)];
    for ip in Ip::BOTH {
        frames.extend(
            [Frame::syn(ip, 443), Frame::ack(ip, 1), Frame::udp(ip, 3478), protocol(ip, 47)]
                .map(|f| f.bytes()),
        );
        frames.push(Frame::sctp(ip, 36_412).tagged(&[5, 6]).bytes());
        frames.push(icmp(ip, 0).bytes());
        frames.push(Frame::syn(ip, 443).tagged(&[5]).bytes());
        frames.push(Frame::udp(ip, 1).tagged(&[5, 6]).bytes());
    }
    frames.push(splice::options(&Frame::syn(Ip::V4, 443).bytes(), 10));
    let extensions = [Extension::padded(0, 2), Extension::fragment(0, true), Extension::authentication(3)];
    frames.push(splice::extend(&Frame::syn(Ip::V6, 443).bytes(), &extensions));
    frames.push(splice::extend(&Frame::udp(Ip::V6, 3478).tagged(&[5, 6]).bytes(), &extensions));

    let mut prefixes = 0;
    for frame in frames {
        // The kernel does not run a program on less than an Ethernet header.
        for end in 14..=frame.len() {
            let prefix = &frame[..end];
            let verdict = model.arriving(prefix, NOW);
            if let Err(other) = kernel.alone(prefix, verdict)? {
                panic!("{other}\n{prefix:02x?}");
            }
            prefixes += 1;
        }
    }
    println!("{prefixes} prefixes");
    kernel.finish()
}

#[test]
fn rules_limited_by_source_and_address() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let limited = rules::parse(
        "tcp/5061 from 198.51.100.0/24 2001:db8:1::/48
         tcp/5061 from 198.51.100.128/25
         tcp/5000-5100 from 198.51.0.0/16
         udp/3478 at 203.0.113.1
         udp/3478 at 2001:db8::1
         udp/53 from 198.51.100.7/32 at 203.0.113.9
         udp/53 from 0.0.0.0/0
         icmp/8 from 198.51.100.0/24
         icmp/3 icmpv6/135 from 198.51.100.0/24 2001:db8:1::/48
         ip47 from 2001:db8:1::5/128
         tcp/8080 from ::/0
         sctp/36412 from 198.51.100.0/24 at 203.0.113.1",
    );
    let from = |mut frame: Frame, source: &str, address: &str| {
        frame.source = source.parse().unwrap();
        frame.destination = address.parse().unwrap();
        frame.bytes()
    };
    let (v4, v6) = (Ip::V4, Ip::V6);
    let other = reason(Reason::Source);
    let cases: Vec<Case> = vec![
        ("from the group", from(Frame::syn(v4, 5061), "198.51.100.1", "203.0.113.1"), rule(0)),
        (
            "from both groups: the first rule",
            from(Frame::syn(v4, 5061), "198.51.100.200", "203.0.113.1"),
            rule(0),
        ),
        (
            "only the wide range knows the source",
            from(Frame::syn(v4, 5061), "198.51.7.1", "203.0.113.1"),
            rule(2),
        ),
        ("the first address of a group", from(Frame::syn(v4, 5061), "198.51.100.0", "203.0.113.1"), rule(0)),
        ("the last address of a group", from(Frame::syn(v4, 5061), "198.51.255.255", "203.0.113.1"), rule(2)),
        ("behind the last address", from(Frame::syn(v4, 5061), "198.52.0.0", "203.0.113.1"), other),
        ("before the first address", from(Frame::syn(v4, 5061), "198.50.255.255", "203.0.113.1"), other),
        ("a later segment from elsewhere", from(Frame::ack(v4, 5061), "192.0.2.1", "203.0.113.1"), other),
        ("the group over IPv6", from(Frame::syn(v6, 5061), "2001:db8:1::9", "2001:db8::1"), rule(0)),
        ("elsewhere over IPv6", from(Frame::syn(v6, 5061), "2001:db8:2::9", "2001:db8::1"), other),
        (
            "a port that no rule opens",
            from(Frame::syn(v4, 5101), "198.51.100.1", "203.0.113.1"),
            reason(Reason::UndocumentedTcp),
        ),
        ("at the address", from(Frame::udp(v4, 3478), "192.0.2.1", "203.0.113.1"), rule(3)),
        ("at the other address", from(Frame::udp(v6, 3478), "2001:db8:2::9", "2001:db8::1"), rule(4)),
        ("at a third address", from(Frame::udp(v4, 3478), "192.0.2.1", "203.0.113.2"), other),
        ("source and address", from(Frame::udp(v4, 53), "198.51.100.7", "203.0.113.9"), rule(5)),
        ("the source elsewhere", from(Frame::udp(v4, 53), "198.51.100.7", "203.0.113.1"), rule(6)),
        ("the address from elsewhere", from(Frame::udp(v4, 53), "198.51.100.8", "203.0.113.9"), rule(6)),
        (
            "every IPv4 source is no IPv6 source",
            from(Frame::udp(v6, 53), "2001:db8:1::9", "2001:db8::1"),
            other,
        ),
        ("every IPv6 source", from(Frame::syn(v6, 8080), "2001:db8:7::9", "2001:db8::1"), rule(10)),
        (
            "every IPv6 source is no IPv4 source",
            from(Frame::syn(v4, 8080), "192.0.2.1", "203.0.113.1"),
            other,
        ),
        ("a ping from the group", from(icmp(v4, 8), "198.51.100.1", "203.0.113.1"), rule(7)),
        ("a ping from elsewhere", from(icmp(v4, 8), "192.0.2.1", "203.0.113.1"), other),
        ("an error from the group", from(icmp(v4, 3), "198.51.100.1", "203.0.113.1"), rule(8)),
        (
            "an error from elsewhere is always safe",
            from(icmp(v4, 3), "192.0.2.1", "203.0.113.1"),
            reason(Reason::IcmpError),
        ),
        ("discovery from the group", from(icmp(v6, 135), "2001:db8:1::9", "2001:db8::1"), rule(8)),
        (
            "discovery from elsewhere is always safe",
            from(icmp(v6, 135), "fe80::1", "2001:db8::1"),
            reason(Reason::NeighbourDiscovery),
        ),
        ("a protocol from one host", from(protocol(v6, 47), "2001:db8:1::5", "2001:db8::1"), rule(9)),
        ("a protocol from its neighbour", from(protocol(v6, 47), "2001:db8:1::4", "2001:db8::1"), other),
        ("SCTP from the group", from(Frame::sctp(v4, 36_412), "198.51.100.1", "203.0.113.1"), rule(11)),
        ("SCTP from elsewhere", from(Frame::sctp(v4, 36_412), "192.0.2.1", "203.0.113.1"), other),
        ("SCTP at another address", from(Frame::sctp(v4, 36_412), "198.51.100.1", "203.0.113.9"), other),
        (
            "a tagged packet from the group",
            from(Frame::syn(v4, 5061).tagged(&[5, 6]), "198.51.100.1", "203.0.113.1"),
            rule(0),
        ),
        (
            "options before the port",
            splice::options(&from(Frame::syn(v4, 5061), "198.51.100.1", "203.0.113.1"), 10),
            rule(0),
        ),
    ];
    check(&limited, &judge::options(), &cases)
}

/// Holds: policy 13.
#[test]
fn what_cannot_be_read_has_the_verdict_that_the_policy_gives_it() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let open = Frame::syn(Ip::V4, 443).bytes();
    let tags = splice::tag(&Frame::syn(Ip::V4, 443).tagged(&[5, 6]).bytes(), 0x8100, 7);
    let chain = splice::extend(&Frame::syn(Ip::V6, 443).bytes(), &vec![Extension::padded(60, 1); 8]);
    let none = Unreadable::default();
    // What is not read, the wish that lets it in, and its reason with and without.
    let cases = [
        (
            "not IP",
            splice::plain(0x88cc, &[0; 46]),
            Unreadable { non_ip: Wish::Accept, ..none },
            (Reason::NonIp, Reason::NonIpAccepted),
        ),
        (
            "three tags",
            tags,
            Unreadable { vlan_depth: Wish::Accept, ..none },
            (Reason::VlanDepth, Reason::VlanDepthAccepted),
        ),
        (
            "eight extension headers",
            chain,
            Unreadable { header_limit: Wish::Accept, ..none },
            (Reason::HeaderLimit, Reason::HeaderLimitAccepted),
        ),
        (
            "a cut header",
            open[..40].to_vec(),
            Unreadable { truncated: Wish::Accept, ..none },
            (Reason::Truncated, Reason::TruncatedAccepted),
        ),
        (
            "IHL 4",
            splice::set(&open, 14, 0x44),
            Unreadable { malformed: Wish::Accept, ..none },
            (Reason::Malformed, Reason::MalformedAccepted),
        ),
        (
            "a fragment from nowhere",
            splice::fragment4(&open, 8, true),
            Unreadable { fragment: Wish::Accept, ..none },
            (Reason::Fragment, Reason::FragmentAccepted),
        ),
        (
            "a protocol that no rule allows",
            protocol(Ip::V6, 50).bytes(),
            Unreadable { undocumented_protocol: Wish::Accept, ..none },
            (Reason::UndocumentedProtocol, Reason::UndocumentedProtocolAccepted),
        ),
    ];
    for (number, (says, frame, wish, (dropped, _))) in cases.iter().enumerate() {
        let with = |unreadable| LoadOptions::with(Settings { unreadable, ..judge::settings() });
        check(&rules::parse(RULES), &with(none), &[(says, frame.clone(), reason(*dropped))])?;
        // Each wish lets in what it names, and nothing else.
        let all: Vec<Case> = cases
            .iter()
            .enumerate()
            .map(|(n, (says, frame, _, (dropped, accepted)))| {
                (*says, frame.clone(), reason(if n == number { *accepted } else { *dropped }))
            })
            .collect();
        check(&rules::parse(RULES), &with(*wish), &all)?;
    }
    // A protocol that a rule allows to some is not undocumented; what is always dropped stays so.
    let wish = Unreadable { undocumented_protocol: Wish::Accept, truncated: Wish::Accept, ..none };
    let options = LoadOptions::with(Settings { unreadable: wish, ..judge::settings() });
    let limited = rules::parse("ip47 from 198.51.100.0/24");
    let cases = [
        ("a protocol for others", protocol(Ip::V4, 47).bytes(), reason(Reason::Source)),
        ("SCTP has ports", Frame::sctp(Ip::V4, 36_412).bytes(), reason(Reason::UndocumentedSctp)),
        ("forged discovery", hops(135, 64), reason(Reason::ForgedNeighbour)),
        (
            "a first fragment that is cut",
            splice::fragment4(&open[..40], 0, true),
            reason(Reason::FragmentHeader),
        ),
    ];
    check(&limited, &options, &cases)
}

#[test]
fn observing_drops_nothing_and_counts_the_same() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let options = LoadOptions::with(Settings { mode: Enforcement::Observe, ..judge::settings() });
    let later = splice::fragment4(&Frame::syn(Ip::V4, 443).bytes(), 100, false);
    // Judge knows that the action of every one of these is XDP_PASS.
    let cases = vec![
        ("an open port", Frame::syn(Ip::V4, 443).bytes(), rule(0)),
        ("a closed port", Frame::syn(Ip::V4, 1).bytes(), reason(Reason::UndocumentedTcp)),
        ("a closed UDP port", Frame::udp(Ip::V6, 1).bytes(), reason(Reason::UndocumentedUdp)),
        ("a later fragment", later, reason(Reason::Fragment)),
        ("not IP", splice::plain(0x88cc, &[0; 46]), reason(Reason::NonIp)),
        ("truncated", splice::plain(0x86dd, &[0x60; 39]), reason(Reason::Truncated)),
    ];
    check(&rules::parse(RULES), &options, &cases)
}

/// Holds: policy 9, security always-safe.
#[test]
fn a_policy_without_rules_keeps_the_host_on_its_link() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let cases = vec![
        ("ARP", splice::plain(0x0806, &[0; 28]), reason(Reason::Arp)),
        ("neighbour solicitation", hops(135, 255), reason(Reason::NeighbourDiscovery)),
        ("router advertisement", hops(134, 255), reason(Reason::NeighbourDiscovery)),
        ("packet too big", icmp(Ip::V6, 2).bytes(), reason(Reason::IcmpError)),
        ("fragmentation needed", icmp(Ip::V4, 3).bytes(), reason(Reason::IcmpError)),
        ("SSH", Frame::syn(Ip::V4, 22).bytes(), reason(Reason::UndocumentedTcp)),
        ("a ping", icmp(Ip::V4, 8).bytes(), reason(Reason::UndocumentedIcmp)),
    ];
    check(&rules::parse(""), &judge::options(), &cases)
}
