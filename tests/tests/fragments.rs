//! Fragments: the later ones follow the verdict of their first, and no trick with them reaches a port.

use std::time::Duration;

use anyhow::Result;
use aya::maps::{HashMap, MapData};
use portcullis::{
    datapath::LoadOptions,
    evaluate::{Evaluator, Verdict},
    policy::{Settings, Unreadable, Wish},
    ruleset::RuleSet,
};
use portcullis_common::{
    abi::map,
    fragment::{Datagram, First},
    slot::Reason,
};
use portcullis_tests::{
    judge::{self, Judge},
    lab::Lab,
    packet::{Frame, Ip, Transport},
    rules,
    splice::{self, Extension},
};

const RULES: &str =
    "tcp/443 udp/3478\n udp/53 from 198.51.100.0/24 2001:db8:1::/48\n icmp/8 icmpv6/128\n ip47\n sctp/36412";

/// The kernel and the model, which must say the same.
struct Host<'a> {
    kernel: Judge,
    model: Evaluator<'a>,
    now: Duration,
}

impl<'a> Host<'a> {
    fn new(rules: &'a RuleSet, unreadable: Unreadable) -> Result<Self> {
        let options = LoadOptions::with(Settings { unreadable, ..judge::settings() });
        let model = Evaluator::new(rules, options.settings);
        Ok(Self { kernel: Judge::new(rules, &options)?, model, now: Duration::ZERO })
    }

    fn receives(&mut self, says: &str, frame: &[u8], verdict: Verdict) -> Result<()> {
        assert_eq!(self.model.arriving(frame, self.now), verdict, "the model: {says}: {frame:02x?}");
        if let Err(other) = self.kernel.alone(frame, verdict)? {
            panic!("the kernel: {says}: {other}\n{frame:02x?}");
        }
        Ok(())
    }
}

/// A piece of the datagram with this identification; `offset` counts eight-byte units.
fn piece(ip: Ip, frame: &Frame, identification: u8, offset: u16, more: bool) -> Vec<u8> {
    match ip {
        Ip::V4 => splice::fragment4_of(&frame.bytes(), identification, offset, more),
        Ip::V6 => splice::extend(&frame.bytes(), &[Extension::fragment_of(identification, offset, more)]),
    }
}

/// A frame whose IP header is followed by nothing that could be taken for a port.
fn rest(ip: Ip, protocol: u8) -> Frame {
    Frame::new(ip, Transport::Other(protocol))
}

fn reason(reason: Reason) -> Verdict {
    Verdict::Reason(reason)
}

/// Holds: policy 11.
#[test]
fn later_fragments_follow_their_first() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(RULES);
    for ip in Ip::BOTH {
        let mut host = Host::new(&rules, Unreadable::DROP)?;
        let (echo, icmp) = if ip == Ip::V4 { (8, 1) } else { (128, 58) };
        let echo = Frame::new(ip, Transport::Icmp { kind: echo, identifier: 7 });
        let mut limited = Frame::udp(ip, 53);
        limited.source = if ip == Ip::V4 { "198.51.100.9" } else { "2001:db8:1::9" }.parse()?;
        let rule = Verdict::Rule;
        let cases = [
            ("an open UDP port", Frame::udp(ip, 3478), 17, rule(0)),
            ("an open TCP port", Frame::ack(ip, 443), 6, rule(0)),
            ("a port open to its source", limited, 17, rule(1)),
            ("a ping", echo, icmp, rule(2)),
            ("a protocol", rest(ip, 47), 47, rule(3)),
            ("an open SCTP port", Frame::sctp(ip, 36_412), 132, rule(4)),
            ("a closed SCTP port", Frame::sctp(ip, 1), 132, reason(Reason::UndocumentedSctp)),
            ("a closed UDP port", Frame::udp(ip, 1), 17, reason(Reason::UndocumentedUdp)),
            ("a closed TCP port", Frame::ack(ip, 1), 6, reason(Reason::UndocumentedTcp)),
            ("a port open to others", Frame::udp(ip, 53), 17, reason(Reason::Source)),
        ];
        for (n, (says, first, protocol, verdict)) in (1..).zip(cases) {
            let mut later = rest(ip, protocol);
            later.source = first.source;
            host.receives("before its first", &piece(ip, &later, n, 185, false), reason(Reason::Fragment))?;
            host.receives(says, &piece(ip, &first, n, 0, true), verdict)?;
            host.receives(says, &piece(ip, &later, n, 8, true), verdict)?;
            host.receives(says, &piece(ip, &later, n, 185, false), verdict)?;
            host.receives(says, &splice::tag(&piece(ip, &later, n, 8, true), 0x8100, 5), verdict)?;
            // Fragments come twice, too.
            host.receives(says, &piece(ip, &first, n, 0, true), verdict)?;
            host.receives(says, &piece(ip, &later, n, 8, true), verdict)?;

            let unseen = reason(Reason::Fragment);
            host.receives("another datagram", &piece(ip, &later, n + 100, 8, true), unseen)?;
            let mut stranger = later.clone();
            stranger.source = ip.address(77);
            host.receives("another source", &piece(ip, &stranger, n, 8, true), unseen)?;
            let mut elsewhere = later.clone();
            elsewhere.destination = ip.address(78);
            host.receives("another destination", &piece(ip, &elsewhere, n, 8, true), unseen)?;
            if ip == Ip::V4 {
                let mut other = rest(ip, 99);
                other.source = first.source;
                host.receives("another protocol", &piece(ip, &other, n, 8, true), unseen)?;
            }
        }
        host.kernel.finish()?;
    }
    Ok(())
}

#[test]
fn a_reply_in_fragments_comes_in_whole() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("");
    for ip in Ip::BOTH {
        let mut host = Host::new(&rules, Unreadable::DROP)?;
        let answer = Frame::new(ip, Transport::Udp { source: 53, destination: 40_000 });
        let question = answer.clone().reply().bytes();
        host.kernel.leaving(&question)?;
        host.model.leaving(&question, host.now);
        let flow = reason(Reason::FlowUdp);
        host.receives("the first fragment", &piece(ip, &answer, 5, 0, true), flow)?;
        host.receives("the last one", &piece(ip, &rest(ip, 17), 5, 100, false), flow)?;
        host.kernel.finish()?;
    }
    Ok(())
}

/// Holds: policy 12.
#[test]
fn no_fragment_brings_a_header_that_was_not_judged() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(RULES);
    let split = reason(Reason::FragmentHeader);
    for ip in Ip::BOTH {
        // Accepting what is not seen must not help either.
        for fragment in [Wish::Drop, Wish::Accept] {
            let unreadable = Unreadable { fragment, truncated: Wish::Accept, ..Unreadable::DROP };
            let mut host = Host::new(&rules, unreadable)?;
            let unseen = if fragment == Wish::Drop { Reason::Fragment } else { Reason::FragmentAccepted };
            let tcp = rest(ip, 6);
            let open = Frame::ack(ip, 443);
            // RFC 3128: an innocent first fragment, whose flags the second would overwrite.
            host.receives("the first fragment", &piece(ip, &open, 1, 0, true), Verdict::Rule(0))?;
            host.receives("flags again", &piece(ip, &tcp, 1, 1, true), split)?;
            host.receives("the end of the header again", &piece(ip, &tcp, 1, 2, true), split)?;
            host.receives("behind the header", &piece(ip, &tcp, 1, 3, true), Verdict::Rule(0))?;
            // RFC 1858: a first fragment that ends before the flags, or later within the header.
            let whole = piece(ip, &open, 2, 0, true);
            let header = if ip == Ip::V4 { 34 } else { 62 };
            host.receives("ports alone", &whole[..header + 8], split)?;
            host.receives("up to the flags", &whole[..header + 13], split)?;
            host.receives("its second fragment", &piece(ip, &tcp, 2, 1, true), split)?;
            host.receives("with the flags", &whole[..header + 14], split)?;
            host.receives("up to the last byte", &whole[..header + 19], split)?;
            host.receives("a whole header", &whole[..header + 20], Verdict::Rule(0))?;
            // Before its first, nobody knows what a fragment overwrites.
            host.receives("early, within a header", &piece(ip, &tcp, 3, 1, true), split)?;
            host.receives("early, within options", &piece(ip, &tcp, 3, 7, true), split)?;
            host.receives("early, behind them", &piece(ip, &tcp, 3, 8, true), reason(unseen))?;
            // A UDP header has eight bytes, so the second fragment may follow at once.
            host.receives("a datagram", &piece(ip, &Frame::udp(ip, 3478), 4, 0, true), Verdict::Rule(0))?;
            host.receives("its second", &piece(ip, &rest(ip, 17), 4, 1, false), Verdict::Rule(0))?;
            // That of SCTP has twelve.
            let open = Frame::sctp(ip, 36_412);
            let whole = piece(ip, &open, 6, 0, true);
            let sctp = rest(ip, 132);
            host.receives("ports and tag alone", &whole[..header + 11], split)?;
            host.receives("an association", &whole[..header + 12], Verdict::Rule(4))?;
            host.receives("its checksum again", &piece(ip, &sctp, 6, 1, true), split)?;
            host.receives("behind it", &piece(ip, &sctp, 6, 2, false), Verdict::Rule(4))?;
            let open = Frame::ack(ip, 443);
            // A whole packet in a fragment's clothes (RFC 6946) is no first fragment.
            host.receives("an only fragment", &piece(ip, &open, 5, 0, false), Verdict::Rule(0))?;
            host.receives("nothing comes behind it", &piece(ip, &tcp, 5, 9, false), reason(unseen))?;
            host.kernel.finish()?;
        }
    }
    Ok(())
}

/// Holds: policy 12.
#[test]
fn extension_headers_of_a_first_fragment_are_not_overwritten() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(RULES);
    let mut host = Host::new(&rules, Unreadable::DROP)?;
    let behind = |frame: &Frame, offset, more| {
        let chain = [Extension::fragment_of(1, offset, more), Extension::padded(60, 10)];
        splice::extend(&frame.bytes(), &chain)
    };
    let first = behind(&Frame::syn(Ip::V6, 443), 0, true);
    host.receives("eighty bytes of options", &first, Verdict::Rule(0))?;
    let later = |offset| piece(Ip::V6, &rest(Ip::V6, 59), 1, offset, true);
    let split = reason(Reason::FragmentHeader);
    host.receives("within the options", &later(9), split)?;
    host.receives("the TCP header", &later(10), split)?;
    host.receives("its end", &later(12), split)?;
    host.receives("behind it, whatever it says it is", &later(13), Verdict::Rule(0))?;
    host.receives("a chain that is cut", &first[..100], split)?;
    host.kernel.finish()
}

/// Holds: policy 11.
#[test]
fn a_datagram_is_forgotten_after_a_minute() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(RULES);
    let mut host = Host::new(&rules, Unreadable::DROP)?;
    let first = piece(Ip::V4, &Frame::udp(Ip::V4, 3478), 1, 0, true);
    let later = piece(Ip::V4, &rest(Ip::V4, 17), 1, 100, true);
    host.receives("the first fragment", &first, Verdict::Rule(0))?;
    for (seconds, verdict) in [(50, Verdict::Rule(0)), (20, reason(Reason::Fragment))] {
        host.now += Duration::from_secs(seconds);
        age(&mut host.kernel, Duration::from_secs(seconds))?;
        host.receives("a later one", &later, verdict)?;
    }
    Ok(())
}

/// Makes the only datagram older.
fn age(kernel: &mut Judge, by: Duration) -> Result<()> {
    let datagrams = kernel.programs().object().map_mut(map::FRAGMENTS).expect("the object has fragments");
    let mut datagrams: HashMap<&mut MapData, Datagram, First> = HashMap::try_from(datagrams)?;
    let all: Vec<(Datagram, First)> = datagrams.iter().collect::<Result<_, _>>()?;
    let [(key, first)] = all[..] else { panic!("one datagram, not {all:?}") };
    let ticks = portcullis::datapath::ticks(by)?;
    datagrams.insert(key, First { seen: first.seen - ticks, ..first }, 0)?;
    Ok(())
}
