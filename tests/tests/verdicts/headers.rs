//! Headers between the frame and what it is addressed to.

use anyhow::Result;
use portcullis_common::slot::Reason;
use portcullis_tests::{
    judge,
    lab::Lab,
    packet::{Frame, Ip},
    rules,
    splice::{self, Extension},
};

use crate::{Case, RULES, check, hops, icmp, protocol, reason, rule};

/// Holds: policy 10.
#[test]
fn headers_in_the_way() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let closed = reason(Reason::UndocumentedTcp);
    let mut cases: Vec<Case> = Vec::new();
    for ip in Ip::BOTH {
        let (open, shut) = (Frame::syn(ip, 443), Frame::syn(ip, 1));
        let twice = open.clone().tagged(&[5, 6]).bytes();
        cases.extend([
            ("one tag", open.clone().tagged(&[5]).bytes(), rule(0)),
            ("one service tag", splice::tag(&open.bytes(), 0x88a8, 5), rule(0)),
            ("two tags", twice.clone(), rule(0)),
            ("two customer tags", splice::tag(&splice::tag(&open.bytes(), 0x8100, 5), 0x8100, 5), rule(0)),
            ("three tags", splice::tag(&twice, 0x8100, 7), reason(Reason::VlanDepth)),
            ("a tag before a closed port", shut.clone().tagged(&[5]).bytes(), closed),
            ("two tags before a closed port", shut.clone().tagged(&[5, 6]).bytes(), closed),
            ("a tagged UDP datagram", Frame::udp(ip, 3478).tagged(&[5]).bytes(), rule(0)),
            ("a tagged SCTP packet", Frame::sctp(ip, 36_412).tagged(&[5, 6]).bytes(), rule(4)),
            ("a tagged ping", icmp(ip, if ip == Ip::V4 { 8 } else { 128 }).tagged(&[5]).bytes(), rule(3)),
        ]);
    }
    cases.extend([
        ("tagged ARP", splice::tag(&splice::plain(0x0806, &[0; 28]), 0x8100, 5), reason(Reason::Arp)),
        (
            "an old kind of service tag",
            splice::tag(&Frame::syn(Ip::V4, 443).bytes(), 0x9100, 5),
            reason(Reason::NonIp),
        ),
    ]);

    let (open, shut) = (Frame::syn(Ip::V4, 443).bytes(), Frame::syn(Ip::V4, 1).bytes());
    cases.extend([
        ("one word of options", splice::options(&open, 1), rule(0)),
        ("ten words of options", splice::options(&open, 10), rule(0)),
        ("options before a closed port", splice::options(&shut, 10), closed),
        ("options before SCTP", splice::options(&Frame::sctp(Ip::V4, 36_412).bytes(), 10), rule(4)),
        ("options and a tag", splice::tag(&splice::options(&open, 3), 0x8100, 5), rule(0)),
        // The first bytes of the options say port 443 where a header without options has its port.
        ("options that pose as a port", pose(&shut), closed),
        ("IHL 4", splice::set(&open, 14, 0x44), reason(Reason::Malformed)),
        ("IHL 0", splice::set(&open, 14, 0x40), reason(Reason::Malformed)),
        ("IHL beyond the end", splice::set(&open[..54], 14, 0x4f), reason(Reason::Truncated)),
        ("version 6 under IPv4's type", splice::set(&open, 14, 0x65), reason(Reason::Malformed)),
        ("version 0 under IPv4's type", splice::set(&open, 14, 0x05), reason(Reason::Malformed)),
        ("a first fragment", splice::fragment4(&open, 0, true), rule(0)),
        ("a first fragment to a closed port", splice::fragment4(&shut, 0, true), closed),
        ("a fragment from nowhere", splice::fragment4_of(&open, 9, 8, true), reason(Reason::Fragment)),
        ("the last one from nowhere", splice::fragment4_of(&open, 9, 185, false), reason(Reason::Fragment)),
        ("the largest offset", splice::fragment4_of(&open, 9, 0x1fff, false), reason(Reason::Fragment)),
        ("may not be fragmented", splice::set(&open, 14 + 6, 0x40), rule(0)),
        ("the reserved flag", splice::set(&open, 14 + 6, 0x80), rule(0)),
        ("a total length of nothing", splice::set(&splice::set(&open, 16, 0), 17, 0), rule(0)),
        ("a total length of too much", splice::set(&open, 16, 0xff), rule(0)),
    ]);

    let (open, shut) = (Frame::syn(Ip::V6, 443).bytes(), Frame::syn(Ip::V6, 1).bytes());
    let with = |frame: &[u8], extensions: &[Extension]| splice::extend(frame, extensions);
    let all_six = [
        Extension::padded(0, 1),
        Extension::padded(60, 2),
        Extension::padded(43, 3),
        Extension::fragment(0, true),
        Extension::padded(60, 1),
        Extension::padded(0, 3),
    ];
    let fragment = |offset| [Extension::fragment_of(if offset == 0 { 1 } else { 9 }, offset, true)];
    for kind in [0, 43, 60] {
        cases.push(("an extension header", with(&open, &[Extension::padded(kind, 1)]), rule(0)));
        cases.push(("one before a closed port", with(&shut, &[Extension::padded(kind, 4)]), closed));
        // A next header that names its own kind again: the chain advances by eight bytes at a time.
        let eight = vec![Extension::padded(kind, 1); 8];
        cases.push(("seven of a kind", with(&open, &eight[..7]), rule(0)));
        cases.push(("eight of a kind", with(&open, &eight), reason(Reason::HeaderLimit)));
        cases.push((
            "nothing but a kind",
            with(&open, &vec![Extension::padded(kind, 1); 100]),
            reason(Reason::HeaderLimit),
        ));
    }
    cases.extend([
        ("six extension headers", with(&open, &all_six), rule(0)),
        ("a long one", with(&open, &[Extension::padded(0, 100)]), rule(0)),
        (
            "one that ends behind the packet",
            with(&open, &[Extension::padded(0, 1).claiming(255)]),
            reason(Reason::Truncated),
        ),
        ("a first fragment", with(&open, &fragment(0)), rule(0)),
        ("a whole packet as a fragment", with(&open, &[Extension::fragment(0, false)]), rule(0)),
        ("its reserved byte set", with(&open, &[Extension::fragment(0, true).claiming(0xff)]), rule(0)),
        ("the same to a closed port", with(&shut, &[Extension::fragment(0, true).claiming(0xff)]), closed),
        ("a fragment from nowhere", with(&open, &fragment(8)), reason(Reason::Fragment)),
        ("a far fragment", with(&open, &fragment(0x1fff)), reason(Reason::Fragment)),
        (
            "a fragment of a fragment",
            with(&open, &vec![Extension::fragment(0, true); 8]),
            reason(Reason::Malformed),
        ),
        (
            "encrypted: the protocol counts",
            with(&protocol(Ip::V6, 50).bytes(), &all_six[..2]),
            reason(Reason::UndocumentedProtocol),
        ),
        ("no next header", with(&protocol(Ip::V6, 59).bytes(), &[]), reason(Reason::UndocumentedProtocol)),
        (
            "extensions and two tags",
            with(&Frame::udp(Ip::V6, 3478).tagged(&[5, 6]).bytes(), &all_six),
            rule(0),
        ),
        ("extensions before SCTP", with(&Frame::sctp(Ip::V6, 36_412).bytes(), &all_six), rule(4)),
        (
            "extensions before a closed SCTP port",
            with(&Frame::sctp(Ip::V6, 1).bytes(), &all_six[..2]),
            reason(Reason::UndocumentedSctp),
        ),
        (
            "discovery behind an extension",
            with(&hops(135, 255), &all_six[..1]),
            reason(Reason::NeighbourDiscovery),
        ),
        ("forged behind an extension", with(&hops(135, 64), &all_six[..1]), reason(Reason::ForgedNeighbour)),
        ("version 4 under IPv6's type", splice::set(&open, 14, 0x40), reason(Reason::Malformed)),
        ("a payload length of nothing", splice::set(&open, 19, 0), rule(0)),
        ("a traffic class and a flow label", splice::set(&splice::set(&open, 14, 0x6f), 15, 0xff), rule(0)),
    ]);
    check(&rules::parse(RULES), &judge::options(), &cases)
}

/// Sockets of these protocols got such packets although no rule named the protocol: what stands after the header was
/// taken for what the packet is addressed to.
///
/// Holds: policy 10.
#[test]
fn no_open_port_lets_another_protocol_in() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let closed = reason(Reason::UndocumentedProtocol);
    let open = Frame::syn(Ip::V6, 443).bytes();
    let mut cases: Vec<Case> = Vec::new();
    let headers = [135, 139, 140].map(|kind| Extension::padded(kind, 1)).into_iter();
    for header in headers.chain([Extension::authentication(3), Extension::authentication(4)]) {
        cases.push((
            "a header of another protocol",
            splice::extend(&open, std::slice::from_ref(&header)),
            closed,
        ));
        let options = Extension::padded(60, 1);
        cases.push(("one after an extension", splice::extend(&open, &[options, header]), closed));
    }
    check(&rules::parse(RULES), &judge::options(), &cases)
}

/// IPv4 options that hold what a TCP header to port 443 would, before the real one.
fn pose(frame: &[u8]) -> Vec<u8> {
    let mut frame = splice::options(frame, 5);
    let segment = Frame::syn(Ip::V4, 443).bytes();
    frame[34..54].copy_from_slice(&segment[34..54]);
    frame
}
