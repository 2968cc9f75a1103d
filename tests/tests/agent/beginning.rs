//! What an agent puts in place when it starts: what was last in place, and a file that was changed meanwhile as any
//! other change.

use std::fs;

use anyhow::Result;
use nix::sys::signal::Signal;
use portcullis_tests::{
    operator::Operator,
    running::Running,
    traffic::{EchoServer, Protocol},
};

use crate::{
    Edge, IMPATIENCE, PATIENCE,
    guarded::{Session, text, with_logins},
    opening, server,
};

fn stop(mut agent: Running) {
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.end().code(), Some(0));
}

/// An agent that was stopped, with its file.
fn was_stopped(edge: &Edge, file: &str) {
    stop(edge.agent(file, &[]));
}

/// What is left after a boot: files.
fn reboot(edge: &Edge) -> Result<()> {
    edge.operator.run(&["detach", "--all"]).exits(0);
    Ok(fs::remove_dir_all(Operator::state())?)
}

#[test]
fn a_file_that_was_changed_while_no_agent_ran_is_asked_about_at_the_start() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.lab.cover("/etc/resolv.conf", "nameserver 203.0.113.2\n")?;
    was_stopped(&edge, &opening(443));
    let changed = opening(8080).replace("name = \"edge0\"", "name = \"edge0\"\noutbound = \"enforce\"");
    for is_rebooted in [false, true] {
        if is_rebooted {
            reboot(&edge)?;
        }
        // It waits for `applied`: what was last in place.
        let mut agent = edge.agent(&changed, &[]);
        let refused = agent.event("refused");
        assert!(text(&refused, "error").contains("answers of the name server 203.0.113.2"), "{refused}");
        edge.assert_open(443, 8080);
        edge.operator.run(&["status"]).exits(0).prints("the policy file is refused as it is now");
        stop(agent);
    }
    // It follows its file as ever, and is not needed for what it has restored.
    let mut agent = edge.agent(&changed, &[]);
    agent.event("refused");
    edge.operator.policy(&opening(8080))?;
    agent.event("applied");
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn a_file_that_was_changed_while_no_agent_ran_is_tried_where_somebody_is_logged_in() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let _logins = EchoServer::start(edge.lab.host(), Protocol::Tcp, server(22))?;
    was_stopped(&edge, &with_logins(443));
    let mut session = Session::begin(&edge, 22)?;
    let mut agent = edge.agent(&opening(8080), &["--trial", "4s"]);
    assert_eq!(agent.event("trying")["waits_for"], serde_json::json!([session.told()]));
    assert!(!session.lives(IMPATIENCE)?);
    agent.event("reverted");
    assert!(text(&agent.event("refused"), "error").contains("nothing was heard of"));
    edge.assert_open(443, 8080);
    stop(agent);

    // One that locks nobody out is kept, and so known to be good.
    let mut agent = edge.agent(&with_logins(8080), &["--trial", "60s"]);
    let mut session = Session::begin(&edge, 22)?;
    agent.event("trying");
    assert!(session.lives(PATIENCE)?);
    agent.event("kept");
    edge.assert_open(8080, 443);
    stop(agent);
    // It is the file that was last in place now: neither guarded nor tried.
    let agent = edge.agent(&with_logins(8080), &["--trial", "60s"]);
    let status = edge.operator.run(&["status", "--json"]).json();
    assert!(status["interfaces"][0]["pending"].is_null(), "{status:#}");
    stop(agent);
    Ok(())
}

#[test]
fn a_file_that_was_changed_before_a_boot_is_enforced_where_nobody_is_logged_in() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    was_stopped(&edge, &opening(443));
    reboot(&edge)?;
    let mut agent = edge.agent(&opening(8080), &["--trial", "60s"]);
    assert_eq!(agent.event("applied")["generation"], 2, "after what was last in place");
    edge.assert_open(8080, 443);
    stop(agent);
    // What cannot be read is not known, and the file is the first.
    fs::write(Operator::lasting().join("last-good.json"), "no JSON")?;
    reboot(&edge)?;
    let agent = edge.agent(&opening(443), &[]);
    edge.assert_open(443, 8080);
    stop(agent);
    Ok(())
}

#[test]
fn what_is_only_observed_is_not_replaced_by_what_was_enforced_before() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    was_stopped(&edge, &opening(443));
    let path = edge.operator.policy(&opening(8080))?;
    edge.operator.run(&["apply", "--observe", path.to_str().expect("text")]).exits(0).prints("generation 2");
    let agent = edge.agent(&opening(8080), &[]);
    assert_eq!(edge.operator.counters("edge0")["generation"], 3, "one alone");
    edge.assert_open(8080, 443);
    stop(agent);
    Ok(())
}
