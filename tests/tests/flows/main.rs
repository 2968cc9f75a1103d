//! Replies: what this host began is answered, nothing else comes in with it.

mod silence;

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use portcullis::{
    datapath::LoadOptions,
    evaluate::Verdict,
    policy::{Flows, Settings},
};
use portcullis_common::slot::Reason;
use portcullis_tests::{
    host::Host,
    judge::{self, Judge},
    lab::Lab,
    packet::{Frame, Ip, Transport},
    raw, rules,
    splice::{self, Extension},
};

fn tcp(ip: Ip, source: u16, destination: u16, syn: bool, ack: bool) -> Frame {
    Frame::new(ip, Transport::Tcp { source, destination, syn, ack })
}

fn udp(ip: Ip, source: u16, destination: u16) -> Frame {
    Frame::new(ip, Transport::Udp { source, destination })
}

fn sctp(ip: Ip, source: u16, destination: u16) -> Frame {
    Frame::new(ip, Transport::Sctp { source, destination })
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

/// Holds: policy 7.
#[test]
fn replies_come_in_and_nothing_else_with_them() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(
        "tcp/22\n udp/123\n tcp/5061 from 198.51.100.0/24 2001:db8:1::/48\n sctp/36412\n sctp/2905 from 198.51.100.0/24",
    );
    let (no_tcp, no_udp) = (Reason::UndocumentedTcp, Reason::UndocumentedUdp);
    let (flow_tcp, flow_udp, flow_echo) = (Reason::FlowTcp, Reason::FlowUdp, Reason::FlowEcho);
    let (no_sctp, flow_sctp) = (Reason::UndocumentedSctp, Reason::FlowSctp);
    for ip in Ip::BOTH {
        let mut host = Host::new(&rules, &judge::options())?;
        let early = [
            ("an answer before its question", tcp(ip, 80, 50_000, true, true), no_tcp),
            ("the same over UDP", udp(ip, 53, 50_000), no_udp),
            ("the same over SCTP", sctp(ip, 36_412, 50_000), no_sctp),
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
        host.sends(&sent(sctp(ip, 50_000, 36_412)))?;
        host.sends(&sent(sctp(ip, 36_412, 36_413)))?;
        host.sends(&sent(sctp(ip, 2_905, 2_905)))?;
        host.sends(&sent(sctp(ip, 68, 67)))?;
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
            ("an SCTP answer", sctp(ip, 36_412, 50_000), flow_sctp),
            ("an SCTP answer from another port", sctp(ip, 36_413, 50_000), no_sctp),
            ("an SCTP answer to another port", sctp(ip, 36_412, 50_001), no_sctp),
            ("an SCTP answer from another host", elsewhere(sctp(ip, 36_412, 50_000)), no_sctp),
            ("an SCTP answer to another address", other_address(sctp(ip, 36_412, 50_000)), no_sctp),
            ("SCTP with the ports of a UDP flow", sctp(ip, 53, 50_000), no_sctp),
            ("UDP with the ports of an SCTP flow", udp(ip, 36_412, 50_000), no_udp),
            ("an SCTP answer to a port open to others", sctp(ip, 2_905, 2_905), flow_sctp),
            ("SCTP with the ports of DHCP is none", sctp(ip, 67, 68), flow_sctp),
            ("nor where nobody asked", sctp(ip, 547, 546), no_sctp),
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
        let association = sctp(ip, 36_413, 36_412).bytes();
        host.receives("an open SCTP port too", &association, Verdict::Rule(3))?;
        let reply = tcp(ip, 80, 50_000, false, true).bytes();
        let (hidden, later) = match ip {
            Ip::V4 => (splice::options(&reply, 5), splice::fragment4(&reply, 100, false)),
            Ip::V6 => (
                splice::extend(&reply, &[Extension::padded(60, 1)]),
                splice::extend(&reply, &[Extension::fragment(100, false)]),
            ),
        };
        host.receives("a reply behind options", &hidden, Verdict::Reason(flow_tcp))?;
        host.receives("a later fragment of a reply", &later, Verdict::Reason(Reason::Fragment))?;
        host.kernel.finish()?;
    }
    Ok(())
}

/// Holds: policy 9.
#[test]
fn dhcp_replies_come_in_where_the_interface_uses_dhcp() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("udp/68 udp/546 from 198.51.100.0/24");
    let no = Reason::UndocumentedUdp;
    for (dhcp, reason) in [(true, Reason::Dhcp), (false, Reason::Source)] {
        let mut host = Host::new(&rules, &LoadOptions::with(Settings { dhcp, ..judge::settings() }))?;
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
        let mut host = Host::new(&unlimited, &LoadOptions::with(Settings { dhcp, ..judge::settings() }))?;
        let reason = if dhcp { Reason::Dhcp } else { no };
        host.receives("without a rule", &udp(Ip::V4, 67, 68).bytes(), Verdict::Reason(reason))?;
    }
    Ok(())
}

/// Holds: policy 8, security full-table.
#[test]
fn a_full_table_forgets_what_ends_first_and_says_so() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("");
    let flows = Flows { entries: 1_024, ..Flows::STANDARD };
    let options = LoadOptions::with(Settings { flows, ..judge::settings() });
    let mut host = Host::new(&rules, &options)?;
    let question = |number: u16| sent(tcp(Ip::V4, 10_000 + number, 80, true, false));
    let answer = |number: u16| tcp(Ip::V4, 80, 10_000 + number, true, true).bytes();
    let accepted = Verdict::Reason(Reason::FlowTcp);
    // Three quarters of what the table is made for.
    for number in 0..768 {
        host.kernel.leaving(&question(number))?;
        assert_eq!(host.kernel.arriving(&answer(number), accepted)?, Ok(()));
    }
    let totals = host.kernel.programs().flow_totals()?;
    println!("{totals:?}");
    assert_eq!((totals.entries, totals.begun, totals.missed), (1_024, 768, 0));
    assert!(totals.evicted < 4, "{totals:?}");

    // Conversations that only open end sooner than established ones, and so give way before them.
    for number in 0..8_192 {
        host.kernel.leaving(&sent(tcp(Ip::V6, 30_000 + number, 80, true, false)))?;
    }
    let mut kept = 0;
    for number in 0..768 {
        if host.kernel.arriving(&answer(number), accepted)?.is_ok() {
            kept += 1;
        }
    }
    let totals = host.kernel.programs().flow_totals()?;
    println!("{totals:?}, {kept} of 768 kept");
    assert_eq!(totals.begun, 768 + 8_192);
    assert!(totals.evicted >= 8_192 - 1_280, "{totals:?}");
    assert!(kept >= 760, "only {kept} of the established conversations are left");
    Ok(())
}

#[test]
fn half_a_key_is_never_taken_for_a_whole_one() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse("");
    let flows = Flows { entries: 1_024, ..Flows::STANDARD };
    let mut judge = Judge::new(&rules, &LoadOptions::with(Settings { flows, ..judge::settings() }))?;
    // Conversations of two addresses: with the one the ports are even, with the other odd. Whoever
    // mixes the words of two keys finds an address with the wrong ports.
    let conversation = |number: u16, mixed: bool| {
        let mut frame = udp(Ip::V6, 53, 20_000 + number);
        frame.source = Ip::V6.address(if (number.is_multiple_of(2)) ^ mixed { 20 } else { 21 });
        frame
    };
    let ingress = raw::program(judge.programs().id()?)?;
    let done = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| -> Result<u64> {
        let asking = scope.spawn(|| -> Result<u64> {
            let mut asked = 0;
            let mut whole = 0;
            while !done.load(Ordering::Relaxed) {
                for number in 0..4_096 {
                    let (action, _) = raw::run(&ingress, &conversation(number, true).bytes(), 1)?;
                    anyhow::ensure!(action == 1, "conversation {number}, which nobody began, is answered");
                    let (action, _) = raw::run(&ingress, &conversation(number, false).bytes(), 1)?;
                    whole += u64::from(action == 2);
                    asked += 1;
                }
            }
            anyhow::ensure!(whole > 0, "no conversation was answered at all");
            Ok(asked)
        });
        // More than there is room for: each is begun again and again.
        for round in 0..12 {
            for number in 0..4_096 {
                let begun = judge.leaving(&conversation(number, false).reply().bytes());
                if asking.is_finished() || begun.is_err() {
                    done.store(true, Ordering::Relaxed);
                    begun.with_context(|| format!("round {round}"))?;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        asking.join().expect("the asking thread does not panic")
    })?;
    println!("{asked} times asked, {:?}", judge.programs().flow_totals()?);
    Ok(())
}
