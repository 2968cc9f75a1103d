//! What leaves, where the policy has it judged: documented rows, replies, and nothing else.

use anyhow::Result;
use portcullis::{
    datapath::LoadOptions,
    evaluate::Verdict,
    policy::{Deployment, Enforcement, Settings, Unreadable, Wish},
};
use portcullis_common::slot::Reason;
use portcullis_tests::{
    host::Host,
    judge::{self, Judge},
    lab::Lab,
    packet::{Frame, Ip, Transport},
    rules,
    splice::{self, Extension},
};

fn judged() -> LoadOptions {
    LoadOptions::with(Settings { outbound: Some(Enforcement::Enforce), ..judge::settings() })
}

fn reason(reason: Reason) -> Verdict {
    Verdict::Reason(reason)
}

/// What the host sends: from the first test address to the second.
fn sent(ip: Ip, transport: Transport) -> Vec<u8> {
    let mut frame = Frame::new(ip, transport);
    std::mem::swap(&mut frame.source, &mut frame.destination);
    frame.bytes()
}

fn tcp(source: u16, destination: u16, syn: bool, ack: bool) -> Transport {
    Transport::Tcp { source, destination, syn, ack }
}

fn udp(source: u16, destination: u16) -> Transport {
    Transport::Udp { source, destination }
}

fn sctp(source: u16, destination: u16) -> Transport {
    Transport::Sctp { source, destination }
}

fn icmp(kind: u8) -> Transport {
    Transport::Icmp { kind, identifier: 7 }
}

const RULES: &str = "
    tcp/443 udp/3478
    tcp/5061 from 203.0.113.2/32 2001:db8::2/128
    tcp/5062 from 198.51.100.0/24 2001:db8:1::/48
    icmp/8 icmpv6/128
    out tcp/443 udp/53
    out tcp/5061 to 203.0.113.2/32 2001:db8::2/128
    out tcp/5062 to 198.51.100.0/24 2001:db8:1::/48
    out udp/123 at 203.0.113.9
    out ip47
    sctp/36412
    out sctp/3868
    out sctp/2905 to 198.51.100.0/24
";

/// Holds: policy 14, policy 15, policy 16.
#[test]
fn documented_rows_and_replies_leave_and_nothing_else() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(RULES);
    for ip in Ip::BOTH {
        let mut host = Host::new(&rules, &judged())?;
        let (ping, pong, error) = if ip == Ip::V4 { (8, 0, 3) } else { (128, 129, 1) };
        let rule = Verdict::Rule;
        let cases = [
            ("an allowed port", tcp(40_000, 443, true, false), rule(4)),
            ("a later segment to it", tcp(40_000, 443, false, true), rule(4)),
            ("an allowed UDP port", udp(40_000, 53), rule(4)),
            ("the same port, not allowed for TCP", tcp(40_000, 53, true, false), reason(Reason::OutboundTcp)),
            ("a port that is only open to what arrives", udp(40_000, 3478), reason(Reason::OutboundUdp)),
            ("allowed to this destination", tcp(40_000, 5061, true, false), rule(5)),
            ("allowed to others", tcp(40_000, 5062, true, false), reason(Reason::Destination)),
            ("allowed from another address", udp(40_000, 123), reason(Reason::Destination)),
            ("an allowed protocol", Transport::Other(47), rule(8)),
            ("another protocol", Transport::Other(50), reason(Reason::OutboundProtocol)),
            ("an answer from an open port", tcp(443, 40_000, true, true), reason(Reason::OutboundReplyTcp)),
            ("a segment from an open port", tcp(443, 40_000, false, true), reason(Reason::OutboundReplyTcp)),
            ("an open port is no way out", tcp(443, 40_000, true, false), reason(Reason::OutboundTcp)),
            (
                "an answer from a port open to the other side",
                tcp(5061, 40_000, false, true),
                reason(Reason::OutboundReplyTcp),
            ),
            (
                "an answer from a port open to others",
                tcp(5062, 40_000, false, true),
                reason(Reason::OutboundTcp),
            ),
            ("an answer from a closed port", tcp(80, 40_000, false, true), reason(Reason::OutboundTcp)),
            ("a datagram to nobody who asked", udp(3478, 40_000), reason(Reason::OutboundUdp)),
            ("an allowed SCTP port", sctp(40_000, 3868), rule(10)),
            ("the same port, not allowed for UDP", udp(40_000, 3868), reason(Reason::OutboundUdp)),
            ("an SCTP port allowed to others", sctp(40_000, 2905), reason(Reason::Destination)),
            ("an SCTP port that is only open to what arrives", sctp(1, 36_412), reason(Reason::OutboundSctp)),
            ("SCTP to nobody who asked", sctp(36_412, 40_000), reason(Reason::OutboundSctp)),
            ("SCTP with the ports of DHCP", sctp(68, 67), reason(Reason::OutboundSctp)),
            ("a ping", icmp(ping), reason(Reason::OutboundIcmp)),
            ("an echo reply", icmp(pong), reason(Reason::OutboundReplyEcho)),
            ("an error", icmp(error), reason(Reason::OutboundIcmpError)),
        ];
        for (says, transport, verdict) in cases {
            host.lets_out(says, &sent(ip, transport), verdict)?;
            host.lets_out(says, &splice::tag(&sent(ip, transport), 0x8100, 5), verdict)?;
        }
        // What was let out is answered; what was not is not even known.
        let answer = Frame::new(ip, tcp(443, 40_000, true, true)).bytes();
        host.receives("the answer to a connection", &answer, reason(Reason::FlowTcp))?;
        let answer = Frame::new(ip, tcp(5062, 40_000, true, true)).bytes();
        host.receives("to one that was not let out", &answer, reason(Reason::UndocumentedTcp))?;

        // A datagram that comes in is answered to whom it came from, and to nobody else.
        let question = Frame::udp(ip, 3478);
        host.receives("a question", &question.bytes(), rule(0))?;
        host.lets_out("its answer", &question.clone().reply().bytes(), reason(Reason::OutboundReplyUdp))?;
        host.lets_out("and another", &question.clone().reply().bytes(), reason(Reason::OutboundReplyUdp))?;
        let other = udp(3478, 40_001);
        host.lets_out("to another port", &sent(ip, other), reason(Reason::OutboundUdp))?;
        let mut elsewhere = question.clone().reply();
        elsewhere.destination = ip.address(3);
        host.lets_out("to another host", &elsewhere.bytes(), reason(Reason::OutboundUdp))?;
        // Its conversation does not turn around: it opens nothing to what arrives.
        let mut closed = Frame::new(ip, udp(40_000, 3479));
        closed.source = question.source;
        host.receives("no other port is open", &closed.bytes(), reason(Reason::UndocumentedUdp))?;

        // So with associations.
        let answer = Frame::new(ip, sctp(3868, 40_000)).bytes();
        host.receives("the answer to an association", &answer, reason(Reason::FlowSctp))?;
        let answer = Frame::new(ip, sctp(2905, 40_000)).bytes();
        host.receives("to one that was not let out", &answer, reason(Reason::UndocumentedSctp))?;
        let asks = Frame::sctp(ip, 36_412);
        host.receives("an association", &asks.bytes(), rule(9))?;
        host.lets_out("its answer", &asks.clone().reply().bytes(), reason(Reason::OutboundReplySctp))?;
        host.lets_out("to another port", &sent(ip, sctp(36_412, 40_001)), reason(Reason::OutboundSctp))?;
        host.lets_out("over UDP", &sent(ip, udp(36_412, 40_000)), reason(Reason::OutboundUdp))?;
        let mut elsewhere = asks.clone().reply();
        elsewhere.destination = ip.address(3);
        host.lets_out("to another host", &elsewhere.bytes(), reason(Reason::OutboundSctp))?;
        let closed = Frame::sctp(ip, 36_413).bytes();
        host.receives("no other port is open", &closed, reason(Reason::UndocumentedSctp))?;
        host.kernel.finish()?;
    }
    Ok(())
}

#[test]
fn a_gateway_passes_associations_of_its_clients() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("sctp/36412");
    let settings = Settings { deployment: Deployment::Gateway, ..judged().settings };
    for ip in Ip::BOTH {
        let mut host = Host::new(&rules, &LoadOptions::with(settings))?;
        let asks = Frame::sctp(ip, 36_412);
        host.lets_out("an answer to nobody", &asks.clone().reply().bytes(), reason(Reason::OutboundSctp))?;
        host.receives("a client asks", &asks.bytes(), Verdict::Rule(0))?;
        host.lets_out("it is answered", &asks.clone().reply().bytes(), reason(Reason::OutboundReplySctp))?;
        // As on the interface behind which the server is: the answer arrives, the request leaves.
        let answer = asks.clone().reply().bytes();
        host.receives("the answer arrives elsewhere", &answer, reason(Reason::FlowSctp))?;
        host.receives("another port", &Frame::sctp(ip, 36_413).bytes(), reason(Reason::UndocumentedSctp))?;
        host.kernel.finish()?;
    }
    Ok(())
}

/// Holds: policy 17.
#[test]
fn what_the_link_needs_always_leaves() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("");
    for dhcp in [true, false] {
        let mut host = Host::new(&rules, &LoadOptions::with(Settings { dhcp, ..judged().settings }))?;
        let asks = if dhcp { Reason::OutboundDhcp } else { Reason::OutboundUdp };
        let discovery = sent(Ip::V6, icmp(135));
        let cases = [
            ("ARP", splice::plain(0x0806, &[0; 28]), Reason::OutboundArp),
            ("LLDP", splice::plain(0x88cc, &[0; 46]), Reason::OutboundNonIp),
            ("neighbour solicitation", discovery.clone(), Reason::OutboundNeighbourDiscovery),
            ("one that was forwarded", splice::set(&discovery, 21, 64), Reason::OutboundForgedNeighbour),
            ("a listener report", sent(Ip::V6, icmp(143)), Reason::OutboundMulticastListener),
            ("DHCP", sent(Ip::V4, udp(68, 67)), asks),
            ("DHCPv6", sent(Ip::V6, udp(546, 547)), asks),
            ("as a DHCP server", sent(Ip::V4, udp(67, 68)), Reason::OutboundUdp),
            ("SSH", sent(Ip::V4, tcp(40_000, 22, true, false)), Reason::OutboundTcp),
        ];
        for (says, frame, expected) in cases {
            host.lets_out(says, &frame, reason(expected))?;
        }
        host.kernel.finish()?;
    }
    Ok(())
}

#[test]
fn leaving_fragments_follow_their_first_too() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(RULES);
    let unreadable = Unreadable { fragment: Wish::Accept, ..Unreadable::DROP };
    for (unreadable, unseen) in
        [(Unreadable::DROP, Reason::OutboundFragment), (unreadable, Reason::OutboundFragmentAccepted)]
    {
        let mut host = Host::new(&rules, &LoadOptions::with(Settings { unreadable, ..judged().settings }))?;
        for ip in Ip::BOTH {
            let piece = |frame: &[u8], number, offset, more| match ip {
                Ip::V4 => splice::fragment4_of(frame, number, offset, more),
                Ip::V6 => splice::extend(frame, &[Extension::fragment_of(number, offset, more)]),
            };
            let open = sent(ip, udp(40_000, 53));
            let shut = sent(ip, udp(40_000, 54));
            host.lets_out("a first fragment", &piece(&open, 1, 0, true), Verdict::Rule(4))?;
            host.lets_out("the last one", &piece(&open, 1, 100, false), Verdict::Rule(4))?;
            host.lets_out("one that is shut", &piece(&shut, 2, 0, true), reason(Reason::OutboundUdp))?;
            host.lets_out("its last", &piece(&shut, 2, 100, false), reason(Reason::OutboundUdp))?;
            host.lets_out("one unseen", &piece(&open, 3, 100, false), reason(unseen))?;
            let again = sent(ip, tcp(40_000, 443, false, true));
            host.lets_out("a first segment", &piece(&again, 4, 0, true), Verdict::Rule(4))?;
            let split = reason(Reason::OutboundFragmentHeader);
            host.lets_out("its flags again", &piece(&again, 4, 1, true), split)?;
        }
        host.kernel.finish()?;
    }
    Ok(())
}

/// Holds: policy 19.
#[test]
fn observing_lets_everything_out_and_its_answers_in() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("");
    let options = LoadOptions::with(Settings { outbound: Some(Enforcement::Observe), ..judge::settings() });
    let mut host = Host::new(&rules, &options)?;
    // Judge knows that the action is to pass.
    let question = tcp(40_000, 80, true, false);
    host.lets_out("a connection", &sent(Ip::V4, question), reason(Reason::OutboundTcp))?;
    let answer = Frame::new(Ip::V4, tcp(80, 40_000, true, true)).bytes();
    host.receives("its answer", &answer, reason(Reason::FlowTcp))?;
    host.kernel.finish()
}

#[test]
fn where_it_is_not_asked_for_nothing_that_leaves_is_judged() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(RULES);
    let mut kernel = Judge::new(&rules, &judge::options())?;
    assert_eq!(kernel.leaves(&sent(Ip::V4, tcp(40_000, 22, true, false)), None)?, Ok(()));
    kernel.finish()
}

#[test]
fn every_byte_of_a_packet_in_several_buffers_is_counted() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("udp/3478");
    let mut kernel = Judge::new(&rules, &judge::options())?;
    // Judge counts the frame's bytes. The kernel puts what does not fit into a page into further buffers
    // (bpf_prog_test_run_xdp in net/bpf/test_run.c), as drivers do.
    for payload in [0, 900, 1_000, 1_023, 1_024, 1_400, 3_300, 4_096, 8_900] {
        let mut frame = Frame::udp(Ip::V4, 3478);
        frame.payload = payload;
        assert_eq!(kernel.alone(&frame.bytes(), Verdict::Rule(0))?, Ok(()), "{payload} bytes");
    }
    kernel.finish()
}
