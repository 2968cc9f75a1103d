//! However the agent ends, what it put in place stays, and another one takes over.

use std::os::unix::process::ExitStatusExt as _;

use anyhow::Result;
use nix::sys::signal::Signal;
use portcullis_tests::running::Running;

use crate::{Edge, opening};

#[test]
fn a_stopped_agent_says_so_and_leaves_enforcement_in_place() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    for (generation, signal) in [(1, Signal::SIGTERM), (2, Signal::SIGINT)] {
        let mut agent = edge.agent(&opening(443), &[]);
        agent.signal(signal);
        agent.event("stopped");
        assert_eq!(agent.end().code(), Some(0), "{signal}");
        assert_eq!(edge.operator.counters("edge0")["generation"], generation);
        edge.assert_open(443, 8080);
    }
    Ok(())
}

#[test]
fn a_killed_agent_leaves_enforcement_in_place_and_another_takes_over() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    edge.assert_open(443, 8080);
    let counted = edge.operator.packets("edge0", "open");
    agent.signal(Signal::SIGKILL);
    assert_eq!(agent.end().signal(), Some(9));
    edge.assert_open(443, 8080);

    let mut agent = edge.agent(&opening(443), &[]);
    assert!(edge.operator.packets("edge0", "open") > counted, "its counters go on");
    edge.operator.policy(&opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 3);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn a_first_policy_that_is_not_valid_ends_the_agent() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let path = edge.operator.policy("version = 9\n")?;
    let path = path.to_str().expect("text");
    edge.operator.run(&["agent", "--policy", path]).exits(2).complains("policy.toml:1:11: version 9");
    edge.operator.run(&["agent", "--policy", "/mnt/nothing"]).exits(2).complains("/mnt/nothing");
    edge.operator.run(&["agent", "--policy", path, "--stream", "0"]).exits(2).complains("--stream");
    Ok(())
}

#[test]
fn an_agent_that_cannot_enforce_ends_and_says_why() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let path = edge.operator.policy(&opening(443))?;
    let path = path.to_str().expect("text");
    // Somebody else's program is on the interface.
    let other = ["/mnt/bpf/other", "/mnt/other"];
    std::fs::create_dir(other[0])?;
    edge.operator.run(&["apply", path, "--bpffs", other[0], "--state", other[1]]).exits(0);
    let mut agent = Running::start(edge.operator.command(&["agent", "--policy", path]));
    agent.complaint(|line| line.contains("another XDP program is attached to `edge0`"));
    assert_eq!(agent.end().code(), Some(1));
    Ok(())
}
