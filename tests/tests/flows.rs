//! Replies: what this host began is answered, nothing else comes in with it.

use std::time::Duration;

use anyhow::Result;
use aya::maps::HashMap;
use portcullis::{
    datapath::{Flows, LoadOptions},
    evaluate::{Evaluator, Verdict},
    ruleset::RuleSet,
};
use portcullis_common::{
    abi::map,
    flow::{Flow, FlowKey4},
    slot::Reason,
};
use portcullis_tests::{
    judge::{self, Judge},
    lab::Lab,
    packet::{Frame, Ip, Transport},
    rules,
    splice::{self, Extension},
};

const NOW: Duration = Duration::ZERO;

/// The kernel and the model as one host.
struct Host<'a> {
    kernel: Judge,
    model: Evaluator<'a>,
}

impl<'a> Host<'a> {
    fn new(rules: &'a RuleSet, options: &LoadOptions) -> Result<Self> {
        let model = Evaluator::new(rules, judge::evaluate_options(options));
        Ok(Self { kernel: Judge::new(rules, options)?, model })
    }

    fn sends(&mut self, frame: &[u8]) -> Result<()> {
        self.model.leaving(frame, NOW);
        self.kernel.leaving(frame)
    }

    fn receives(&mut self, says: &str, frame: &[u8], verdict: Verdict) -> Result<()> {
        assert_eq!(self.model.arriving(frame, NOW), verdict, "the model: {says}: {frame:02x?}");
        if let Err(other) = self.kernel.alone(frame, verdict)? {
            panic!("the kernel: {says}: {other}\n{frame:02x?}");
        }
        Ok(())
    }
}

fn tcp(ip: Ip, source: u16, destination: u16, syn: bool, ack: bool) -> Frame {
    Frame::new(ip, Transport::Tcp { source, destination, syn, ack })
}

fn udp(ip: Ip, source: u16, destination: u16) -> Frame {
    Frame::new(ip, Transport::Udp { source, destination })
}

fn echo(ip: Ip, request: bool, identifier: u16) -> Frame {
    let kind = match (ip, request) {
        (Ip::V4, true) => 8,
        (Ip::V4, false) => 0,
        (Ip::V6, true) => 128,
        (Ip::V6, false) => 129,
    };
    Frame::new(ip, Transport::Icmp { kind, identifier })
}

/// What the host sends: the frames above arrive, so these go the other way.
fn sent(frame: Frame) -> Vec<u8> {
    let mut frame = frame;
    std::mem::swap(&mut frame.source, &mut frame.destination);
    frame.bytes()
}

fn elsewhere(mut frame: Frame) -> Frame {
    frame.source = if frame.source.is_ipv4() { Ip::V4 } else { Ip::V6 }.address(3);
    frame
}

fn other_address(mut frame: Frame) -> Frame {
    frame.destination = if frame.source.is_ipv4() { Ip::V4 } else { Ip::V6 }.address(9);
    frame
}

#[test]
fn replies_come_in_and_nothing_else_with_them() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("tcp/22\n udp/123\n tcp/5061 from 198.51.100.0/24 2001:db8:1::/48");
    let (no_tcp, no_udp) = (Reason::UndocumentedTcp, Reason::UndocumentedUdp);
    let (flow_tcp, flow_udp, flow_echo) = (Reason::FlowTcp, Reason::FlowUdp, Reason::FlowEcho);
    for ip in Ip::BOTH {
        let mut host = Host::new(&rules, &judge::options())?;
        let early = [
            ("an answer before its question", tcp(ip, 80, 50_000, true, true), no_tcp),
            ("the same over UDP", udp(ip, 53, 50_000), no_udp),
            ("an echo reply before its request", echo(ip, false, 7), Reason::UndocumentedIcmp),
        ];
        for (says, frame, reason) in early {
            host.receives(says, &frame.bytes(), Verdict::Reason(reason))?;
        }

        host.sends(&sent(tcp(ip, 50_000, 80, true, false)))?;
        host.sends(&sent(tcp(ip, 5_061, 80, true, false)))?;
        host.sends(&sent(tcp(ip, 50_001, 80, false, true)))?;
        host.sends(&sent(tcp(ip, 50_002, 80, true, true)))?;
        host.sends(&sent(udp(ip, 50_000, 53)))?;
        host.sends(&sent(udp(ip, 123, 123)))?;
        host.sends(&sent(echo(ip, true, 7)))?;
        host.sends(&sent(echo(ip, false, 8)))?;
        host.sends(&splice::tag(&sent(tcp(ip, 50_003, 80, true, false)), 0x8100, 5))?;

        let cases = [
            ("the answer to a SYN", tcp(ip, 80, 50_000, true, true), flow_tcp),
            ("a later segment", tcp(ip, 80, 50_000, false, true), flow_tcp),
            ("a segment without ACK", tcp(ip, 80, 50_000, false, false), flow_tcp),
            ("a SYN is never a reply", tcp(ip, 80, 50_000, true, false), no_tcp),
            ("from another port", tcp(ip, 81, 50_000, false, true), no_tcp),
            ("to another port", tcp(ip, 80, 50_009, false, true), no_tcp),
            ("the ports exchanged", tcp(ip, 50_000, 80, false, true), no_tcp),
            ("from another host", elsewhere(tcp(ip, 80, 50_000, false, true)), no_tcp),
            ("to another address", other_address(tcp(ip, 80, 50_000, false, true)), no_tcp),
            ("a segment does not begin a conversation", tcp(ip, 80, 50_001, false, true), no_tcp),
            ("an answer does not begin one", tcp(ip, 80, 50_002, false, true), no_tcp),
            ("a reply to a port open to others", tcp(ip, 80, 5_061, false, true), flow_tcp),
            ("a request to that port", tcp(ip, 80, 5_061, true, false), Reason::Source),
            ("the reply of a tagged conversation", tcp(ip, 80, 50_003, false, true), flow_tcp),
            ("UDP with the ports of a TCP flow", udp(ip, 80, 50_000), no_udp),
            ("a UDP answer", udp(ip, 53, 50_000), flow_udp),
            ("TCP with the ports of a UDP flow", tcp(ip, 53, 50_000, false, true), no_tcp),
            ("a UDP answer from another port", udp(ip, 54, 50_000), no_udp),
            ("a UDP answer from another host", elsewhere(udp(ip, 53, 50_000)), no_udp),
            ("an echo reply", echo(ip, false, 7), flow_echo),
            ("an echo reply from another host", elsewhere(echo(ip, false, 7)), Reason::UndocumentedIcmp),
            ("another ping's echo reply", echo(ip, false, 9), Reason::UndocumentedIcmp),
            ("a reply does not begin an echo", echo(ip, false, 8), Reason::UndocumentedIcmp),
            ("an echo request is no reply", echo(ip, true, 7), Reason::UndocumentedIcmp),
        ];
        for (says, frame, reason) in cases {
            let verdict = Verdict::Reason(reason);
            host.receives(says, &frame.bytes(), verdict)?;
            host.receives(says, &frame.clone().tagged(&[5]).bytes(), verdict)?;
            host.receives(says, &frame.clone().tagged(&[5, 6]).bytes(), verdict)?;
        }
        host.receives("an open port counts under its rule", &udp(ip, 123, 123).bytes(), Verdict::Rule(1))?;
        let reply = tcp(ip, 80, 50_000, false, true).bytes();
        let (hidden, later) = match ip {
            Ip::V4 => (splice::options(&reply, 5), splice::fragment4(&reply, 1, false)),
            Ip::V6 => (
                splice::extend(&reply, &[Extension::padded(60, 1)]),
                splice::extend(&reply, &[Extension::fragment(1, false)]),
            ),
        };
        host.receives("a reply behind options", &hidden, Verdict::Reason(flow_tcp))?;
        host.receives("a later fragment of a reply", &later, Verdict::Reason(Reason::Fragment))?;
        host.kernel.finish()?;
    }
    Ok(())
}

#[test]
fn dhcp_replies_come_in_where_the_interface_uses_dhcp() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("udp/68 udp/546 from 198.51.100.0/24");
    let no = Reason::UndocumentedUdp;
    for (dhcp, reason) in [(true, Reason::Dhcp), (false, Reason::Source)] {
        let mut host = Host::new(&rules, &LoadOptions { dhcp, ..judge::options() })?;
        let cases = [
            ("DHCP", udp(Ip::V4, 67, 68), reason),
            ("DHCPv6", udp(Ip::V6, 547, 546), reason),
            ("to the client from another port", udp(Ip::V4, 68, 68), Reason::Source),
            ("DHCPv6 to the client from another port", udp(Ip::V6, 546, 546), Reason::Source),
            ("to the server", udp(Ip::V4, 68, 67), no),
            ("DHCP's ports over IPv6", udp(Ip::V6, 67, 68), Reason::Source),
            ("DHCPv6's ports over IPv4", udp(Ip::V4, 547, 546), Reason::Source),
        ];
        for (says, frame, reason) in cases {
            host.receives(says, &frame.bytes(), Verdict::Reason(reason))?;
        }
        let unlimited = rules::parse("");
        let mut host = Host::new(&unlimited, &LoadOptions { dhcp, ..judge::options() })?;
        let reason = if dhcp { Reason::Dhcp } else { no };
        host.receives("without a rule", &udp(Ip::V4, 67, 68).bytes(), Verdict::Reason(reason))?;
    }
    Ok(())
}

#[test]
fn a_silent_conversation_ends() -> Result<()> {
    const SECOND: u64 = 1_000_000_000;
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("");
    let (tcp_timeout, udp_timeout) = (Duration::from_secs(200), Duration::from_secs(30));
    let flows = Flows { tcp_timeout, udp_timeout, ..judge::options().flows };
    let cases = [
        ("TCP", sent(tcp(Ip::V4, 50_000, 80, true, false)), tcp(Ip::V4, 80, 50_000, false, true), 200),
        ("UDP", sent(udp(Ip::V4, 50_000, 53)), udp(Ip::V4, 53, 50_000), 30),
        ("echo", sent(echo(Ip::V4, true, 7)), echo(Ip::V4, false, 7), 30),
    ];
    let accepted = [Reason::FlowTcp, Reason::FlowUdp, Reason::FlowEcho];
    let dropped = [Reason::UndocumentedTcp, Reason::UndocumentedUdp, Reason::UndocumentedIcmp];
    for (n, (says, question, answer, timeout)) in cases.into_iter().enumerate() {
        let answer = answer.bytes();
        let mut kernel = Judge::new(&rules, &LoadOptions { flows, dhcp: false, ..judge::options() })?;
        kernel.leaving(&question)?;
        let begun = age(&mut kernel, (timeout - 20) * SECOND)?;
        let in_time = kernel.alone(&answer, Verdict::Reason(accepted[n]))?;
        assert_eq!(in_time, Ok(()), "{says}: in time");
        // The answer counts as life: the flow is as young as it was in the beginning, and may be
        // silent for as long again.
        assert!(age(&mut kernel, (timeout - 20) * SECOND)? >= begun, "{says}: not refreshed");
        assert_eq!(kernel.alone(&answer, Verdict::Reason(accepted[n]))?, Ok(()), "{says}: refreshed");
        age(&mut kernel, (timeout + 1) * SECOND)?;
        assert_eq!(kernel.alone(&answer, Verdict::Reason(dropped[n]))?, Ok(()), "{says}: too late");
        // A new question opens the conversation again.
        kernel.leaving(&question)?;
        assert_eq!(kernel.alone(&answer, Verdict::Reason(accepted[n]))?, Ok(()), "{says}: again");
        kernel.finish()?;
    }
    Ok(())
}

/// Makes the only flow older by `nanoseconds`; gives when it was last seen before that.
fn age(kernel: &mut Judge, nanoseconds: u64) -> Result<u64> {
    let flows = kernel.programs().object().map_mut(map::FLOWS4).expect("the object has flows");
    let mut flows: HashMap<_, FlowKey4, Flow> = HashMap::try_from(flows)?;
    let all: Vec<(FlowKey4, Flow)> = flows.iter().collect::<Result<_, _>>()?;
    let [(key, Flow { last_seen })] = all[..] else { panic!("one flow, not {all:?}") };
    flows.insert(key, Flow { last_seen: last_seen - nanoseconds }, 0)?;
    Ok(last_seen)
}
