//! What the agent tells while it runs: counters, and lines of the kernel program.

use std::time::{Duration, Instant};

use anyhow::Result;
use portcullis_common::slot::{FIRST_RULE, Reason, Slot};
use portcullis_tests::{
    draft::{interface, policy},
    operator::rows,
    traffic::{Protocol, exchange},
};

use crate::{Edge, IMPATIENCE, Noise, PATIENCE, opening, server};

#[test]
fn counters_are_streamed_and_grow_with_the_traffic() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &["--stream", "1"]);
    let packets = |event: serde_json::Value| -> u64 {
        let counters = &event["counters"];
        assert_eq!(counters["interface"], "edge0");
        let total = counters["total"]["packets"].as_u64().expect("a number");
        let sum: u64 = rows(counters).filter_map(|row| row["packets"].as_u64()).sum();
        assert_eq!(sum, total, "every packet is in one row of {counters}");
        rows(counters)
            .find(|row| row["service"] == "open")
            .and_then(|row| row["packets"].as_u64())
            .expect("counted")
    };
    let before = packets(agent.event("counters"));
    assert!(exchange(&edge.neighbour, Protocol::Tcp, server(443), PATIENCE)?);
    while packets(agent.event("counters")) <= before {}
    Ok(())
}

#[test]
fn counters_are_streamed_on_after_an_interface_was_detached_by_hand() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.lab.host().run("ip", &["link", "add", "edge1", "type", "veth", "peer", "name", "edge1x"])?;
    let mut agent =
        edge.agent(&policy(&[interface("edge0", &[]), interface("edge1", &[])]), &["--stream", "1"]);
    // Until it has applied the whole policy it holds the lock.
    assert_eq!(agent.event("applied")["interface"], "edge1");
    let deadline = Instant::now() + PATIENCE;
    while edge.operator.run(&["detach", "edge0"]).code != Some(0) {
        assert!(Instant::now() < deadline, "the agent should let go of the lock");
    }
    while agent.event("counters")["counters"]["interface"] != "edge1" {}
    while agent.event("counters")["counters"]["interface"] != "edge1" {}
    Ok(())
}

#[test]
fn the_kernel_program_logs_each_packet_if_asked() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &["--kernel-log", "debug"]);
    assert!(exchange(&edge.neighbour, Protocol::Tcp, server(443), PATIENCE)?);
    let counted = |slot: Slot| move |line: &str| line.contains(&format!("slot {slot} bytes "));
    agent.complaint(counted(FIRST_RULE));
    assert!(!exchange(&edge.neighbour, Protocol::Tcp, server(8080), IMPATIENCE)?);
    agent.complaint(counted(Reason::UndocumentedTcp.slot()));

    // The next generation's program is followed as well.
    edge.operator.policy(&opening(8080))?;
    agent.event("applied");
    assert!(exchange(&edge.neighbour, Protocol::Tcp, server(8080), PATIENCE)?);
    agent.complaint(counted(FIRST_RULE));
    Ok(())
}

#[test]
fn a_change_is_noticed_under_a_constant_stream_of_lines() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &["--kernel-log", "debug", "--stream", "1"]);
    let neighbour = edge.neighbour.clone();
    let noise = Noise::start(move || {
        let _ = exchange(&neighbour, Protocol::Udp, server(9), Duration::from_millis(5));
    });
    let closed = format!("slot {} bytes ", Reason::UndocumentedUdp.slot());
    agent.complaint(|line| line.contains(&closed));
    edge.operator.policy(&opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 2);
    drop(noise);
    Ok(())
}
