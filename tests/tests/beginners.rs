//! Who began a conversation, packet by packet: what a lab of real sockets cannot show.

use anyhow::Result;
use aya::maps::{Array, MapData};
use portcullis::{
    datapath::LoadOptions,
    evaluate::Verdict,
    policy::{Flows, Settings},
};
use portcullis_common::{
    abi::map,
    flow::{Set, state},
    slot::Reason,
};
use portcullis_tests::{
    host::Host,
    judge::{self, Judge},
    lab::Lab,
    packet::{Frame, Ip, Transport},
    rules,
};

const SERVICE: u16 = 9_999;

fn udp(ip: Ip, source: u16, destination: u16) -> Frame {
    Frame::new(ip, Transport::Udp { source, destination })
}

/// What the host sends, from the first port to the second.
fn sent(mut frame: Frame) -> Vec<u8> {
    std::mem::swap(&mut frame.source, &mut frame.destination);
    frame.bytes()
}

/// A table with as little room as there may be.
fn small() -> LoadOptions {
    let flows = Flows { entries: 1_024, ..Flows::STANDARD };
    LoadOptions::with(Settings { flows, ..judge::settings() })
}

/// UDP flows that this host began, as the table has them.
fn own(kernel: &mut Judge) -> Result<usize> {
    let flows = kernel.programs().object().map_mut(map::FLOWS).expect("the object has flows");
    let table: Array<&mut MapData, Set> = Array::try_from(flows)?;
    let mut own = 0;
    for index in 0..table.len() {
        let set = table.get(&index, 0)?;
        own += set
            .iter()
            .filter(|entry| entry.key.protocol() == 17 && entry.life.state() & state::VISIT == 0)
            .count();
    }
    Ok(own)
}

/// Holds: policy 7.
#[test]
fn an_answer_to_a_group_from_an_address_of_its_own_begins_nothing() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let groups = [(Ip::V4, "224.0.0.251"), (Ip::V6, "ff02::fb")];
    let rules = rules::parse("udp/5353 at 224.0.0.251\nudp/5353 at ff02::fb");
    let mut host = Host::new(&rules, &judge::options())?;
    for (number, (ip, group)) in groups.into_iter().enumerate() {
        let mut question = udp(ip, 5_353, 5_353);
        question.destination = group.parse()?;
        host.receives("a question to the group", &question.bytes(), Verdict::Rule(number))?;
        host.sends(&sent(udp(ip, 5_353, 5_353)))?;
        host.receives("to the host", &udp(ip, 5_353, 5_353).bytes(), Verdict::Reason(Reason::Source))?;
    }
    Ok(())
}

/// Holds: policy 7, policy 8.
#[test]
fn strangers_at_a_limited_port_do_not_crowd_out_what_this_host_began() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(&format!("udp/{SERVICE} from 203.0.113.0/24 2001:db8::/32"));
    for ip in Ip::BOTH {
        let mut kernel = Judge::new(&rules, &small())?;
        for port in 0..200 {
            kernel.leaving(&sent(udp(ip, 20_000 + port, 53)))?;
        }
        for port in 0..8_192 {
            let question = udp(ip, 30_000 + port, SERVICE);
            assert_eq!(kernel.arriving(&question.bytes(), Verdict::Rule(0))?, Ok(()));
            kernel.leaving(&sent(udp(ip, SERVICE, 30_000 + port)))?;
        }
        for port in 0..200 {
            let answer = udp(ip, 53, 20_000 + port).bytes();
            assert_eq!(kernel.arriving(&answer, Verdict::Reason(Reason::FlowUdp))?, Ok(()), "{ip:?} {port}");
        }
        kernel.finish()?;
    }
    Ok(())
}

/// Holds: policy 7, policy 8.
#[test]
fn an_answer_to_a_visit_that_gave_way_begins_nothing() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let rules = rules::parse(&format!("udp/{SERVICE}"));
    let mut kernel = Judge::new(&rules, &small())?;
    let question = |number: u16| udp(Ip::V4, 1_024 + number, SERVICE);
    let answer = |number: u16| sent(udp(Ip::V4, SERVICE, 1_024 + number));
    for number in 0..8_192 {
        assert_eq!(kernel.arriving(&question(number).bytes(), Verdict::Rule(0))?, Ok(()));
    }
    assert!(kernel.programs().flow_totals()?.evicted > 4_000, "the table is full");
    for number in 0..8_192 {
        kernel.leaving(&answer(number))?;
    }
    assert_eq!(own(&mut kernel)?, 0, "conversations of clients that are taken for this host's");
    // Other ports of this host are not concerned, also where a client has asked from the same number.
    for number in 0..100 {
        kernel.leaving(&sent(udp(Ip::V4, 1_024 + number, 53)))?;
    }
    assert_eq!(own(&mut kernel)?, 100, "what this host begins");
    Ok(())
}
