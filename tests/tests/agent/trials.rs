//! Trials that somebody begins beside the agent: it leaves them alone while they run, and tidies up after them.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::Result;
use nix::sys::signal::Signal;
use portcullis_tests::{
    edge::{Edge, opening},
    lab::Lab,
    operator::{Operator, Ran, left_behind, manifests_of},
    programs::soon,
    running::Running,
};
use serde_json::Value;

/// Tries a policy that lies elsewhere than the one that the agent follows.
fn tried(edge: &Edge, text: &str, time: &str) -> Result<Ran> {
    let path: PathBuf = Lab::state().join("tried.toml");
    fs::write(&path, text)?;
    Ok(edge.operator.run(&["apply", "--force", "--confirm", time, path.to_str().expect("text")]))
}

fn status(operator: &Operator) -> Value {
    operator.run(&["status", "--json"]).exits(0).json()
}

/// What is told of the only interface: stage, digest of the policy, revision.
fn told(operator: &Operator) -> [Value; 3] {
    let interface = status(operator)["interfaces"][0].clone();
    [interface["pending"]["stage"].clone(), interface["policy_sha256"].clone(), interface["revision"].clone()]
}

/// What the next boot would enforce.
fn last_good() -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(Operator::lasting().join("last-good.json"))?)?)
}

/// Manifests that are kept for the interface; one where nothing is left of others.
fn manifests() -> usize {
    fs::read_dir(manifests_of("edge0")).map_or(0, Iterator::count)
}

#[test]
fn the_agent_tidies_up_when_a_trial_has_ended() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    let [_, digest, revision] = told(&edge.operator);
    let good = last_good()?;

    tried(&edge, &opening(8080), "3s")?.exits(0);
    let begun = Instant::now();
    edge.assert_open(8080, 443);
    let [stage, tried_digest, _] = told(&edge.operator);
    assert_eq!(stage, "trial");
    assert_ne!(tried_digest, digest);
    assert_eq!(last_good()?, good, "what is only tried is not known to be good");

    assert_eq!(agent.event("reverted")["interface"], "edge0");
    println!("tidied up {:.1?} after the trial of 3 s began", begun.elapsed());
    assert_eq!(agent.event("applied")["interface"], "edge0");
    edge.assert_open(443, 8080);
    assert_eq!(told(&edge.operator), [Value::Null, digest, revision]);
    assert_eq!(last_good()?, good);
    assert_eq!(manifests(), 1, "{:?}", left_behind());

    // What the agent keeps for an interface that is made anew is the generation that holds now.
    let generation = status(&edge.operator)["interfaces"][0]["generation"].clone();
    let host = edge.lab.host();
    host.run("ip", &["link", "del", "edge0"])?;
    agent.event("vanished");
    host.run("ip", &["link", "add", "edge0", "type", "veth", "peer", "name", "far0"])?;
    assert_eq!(agent.event("applied")["generation"], generation);
    Ok(())
}

#[test]
fn a_file_that_changes_during_a_trial_has_its_turn_afterwards() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    tried(&edge, &opening(8080), "3s")?.exits(0);
    edge.operator.policy(&opening(8080))?;
    let refused = agent.event("refused");
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("a trial is running")), "{refused}");
    agent.event("reverted");
    // First what was before the trial, then what the file says by now.
    soon("what the file says", || edge.answers(8080, portcullis_tests::edge::IMPATIENCE));
    edge.assert_open(8080, 443);
    soon("a file that is not refused any more", || status(&edge.operator)["agent"]["refused"].is_null());
    Ok(())
}

#[test]
fn an_agent_that_starts_during_a_trial_leaves_it_alone() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut first = edge.agent(&opening(443), &[]);
    first.signal(Signal::SIGKILL);
    first.end();
    tried(&edge, &opening(8080), "30s")?.exits(0);
    let path = Operator::policy_path();
    let mut agent =
        Running::start(edge.operator.command(&["agent", "--policy", path.to_str().expect("text")]));
    agent.event("refused");
    edge.assert_open(8080, 443);
    edge.operator.run(&["confirm"]).exits(0);
    // The trial is over, as somebody wished; and the file is what the agent is for.
    assert_eq!(agent.event("applied")["interface"], "edge0");
    edge.assert_open(443, 8080);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.end().code(), Some(0));
    Ok(())
}
