//! Every way in which a policy file changes, and policies that are refused.

use std::{fs, thread, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;
use portcullis_tests::{
    draft::{interface, policy},
    lab::Lab,
    operator::Operator,
    traffic::{Protocol, exchange},
};

use crate::{Edge, IMPATIENCE, Noise, opening, point, replace, server};

#[test]
fn a_file_that_is_written_in_place_or_replaced_is_applied() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    edge.assert_open(443, 8080);

    edge.operator.policy(&opening(8080))?;
    let applied = agent.event("applied");
    assert_eq!((&applied["interface"], &applied["generation"]), (&"edge0".into(), &2.into()));
    assert_eq!(
        (&applied["rules"], &applied["mode"], &applied["xdp"]),
        (&1.into(), &"enforce".into(), &"native".into())
    );
    edge.assert_open(8080, 443);

    replace(&Operator::policy_path(), &opening(443))?;
    assert_eq!(agent.event("applied")["generation"], 3);
    edge.assert_open(443, 8080);

    // The file that was put in place of the first is followed like the first.
    edge.operator.policy(&opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 4);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn a_file_behind_links_is_followed_wherever_they_point() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let folder = Lab::state().join("links");
    let (first, second) = (folder.join("first"), folder.join("second"));
    for (version, port) in [(&first, 443), (&second, 8080)] {
        fs::create_dir_all(version)?;
        fs::write(version.join("policy.toml"), opening(port))?;
    }
    // As Kubernetes mounts a ConfigMap: the file is a link through a folder that is itself a link.
    point(&folder.join("data"), "first".as_ref())?;
    point(&folder.join("policy.toml"), "data/policy.toml".as_ref())?;
    let mut agent = edge.agent_on(&folder.join("policy.toml"), &[]);
    edge.assert_open(443, 8080);

    point(&folder.join("data"), "second".as_ref())?;
    assert_eq!(agent.event("applied")["generation"], 2);
    edge.assert_open(8080, 443);

    // What the link points at now is followed, too.
    fs::write(second.join("policy.toml"), opening(443))?;
    assert_eq!(agent.event("applied")["generation"], 3);
    edge.assert_open(443, 8080);

    point(&folder.join("policy.toml"), &second.join("other.toml"))?;
    assert!(agent.event("refused")["error"].as_str().is_some_and(|error| error.contains("cannot read")));
    replace(&second.join("other.toml"), &opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 4);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn a_folder_that_is_itself_a_link_may_be_switched() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let folder = Lab::state().join("switched");
    for (version, port) in [("first", 443), ("second", 8080)] {
        fs::create_dir_all(folder.join(version))?;
        fs::write(folder.join(version).join("policy.toml"), opening(port))?;
    }
    point(&folder.join("current"), "first".as_ref())?;
    let mut agent = edge.agent_on(&folder.join("current/policy.toml"), &[]);
    point(&folder.join("current"), "second".as_ref())?;
    assert_eq!(agent.event("applied")["generation"], 2);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn a_folder_that_is_removed_and_made_again_is_followed() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let folder = Lab::state().join("etc");
    fs::create_dir(&folder)?;
    fs::write(folder.join("policy.toml"), opening(443))?;
    let mut agent = edge.agent_on(&folder.join("policy.toml"), &[]);
    fs::remove_dir_all(&folder)?;
    agent.event("refused");
    edge.assert_open(443, 8080);

    fs::create_dir(&folder)?;
    fs::write(folder.join("policy.toml"), opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 2);
    fs::write(folder.join("policy.toml"), opening(443))?;
    assert_eq!(agent.event("applied")["generation"], 3);
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn a_hangup_applies_the_file_again_even_if_it_is_the_same() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    agent.signal(Signal::SIGHUP);
    assert_eq!(agent.event("applied")["generation"], 2);
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn what_is_not_valid_is_refused_and_the_policy_before_it_goes_on() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    let refused = |event: serde_json::Value, part: &str| {
        let error = event["error"].as_str().expect("a refusal has an error");
        assert!(error.contains(part), "`{part}` is missing in {error}");
    };

    edge.operator.policy(&opening(8080).replace("tcp", "tpc"))?;
    refused(agent.event("refused"), "policy.toml:8:12: `tpc` is no protocol");
    agent.complaint(|line| line.contains("the policy was refused"));
    edge.assert_open(443, 8080);

    edge.operator.policy(&policy(&[interface("edge7", &[])]))?;
    refused(agent.event("refused"), "there is no interface `edge7`");
    edge.assert_open(443, 8080);

    fs::remove_file(Operator::policy_path())?;
    refused(agent.event("refused"), "cannot read the policy");
    edge.assert_open(443, 8080);
    agent.signal(Signal::SIGHUP);
    refused(agent.event("refused"), "cannot read the policy");
    assert_eq!(edge.operator.counters("edge0")["generation"], 1, "nothing was swapped");

    edge.operator.policy(&opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 2);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn a_refusal_is_told_once_however_often_its_folder_changes() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &["--stream", "1"]);
    edge.operator.policy("version = 9\n")?;
    agent.event("refused");
    // Two rounds of counters later, the agent has surely looked at the folder again.
    fs::write(Lab::state().join("unrelated"), "a change")?;
    let between = [agent.line(|_| true), agent.line(|_| true), agent.line(|_| true)];
    assert!(!between.iter().any(|line| line.contains("refused")), "{between:?}");
    Ok(())
}

#[test]
fn a_folder_that_is_never_quiet_does_not_keep_the_policy_waiting() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    let noise = Noise::start(|| {
        let _ = fs::write(Lab::state().join("noise"), "noise");
        thread::sleep(Duration::from_millis(5));
    });
    edge.operator.policy(&opening(8080))?;
    assert_eq!(agent.event("applied")["generation"], 2);
    drop(noise);
    edge.assert_open(8080, 443);
    Ok(())
}

#[test]
fn an_interface_that_the_file_drops_is_detached() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    host.run("ip", &["link", "add", "edge1", "type", "veth", "peer", "name", "edge1x"])?;
    let mut agent = edge.agent(&policy(&[interface("edge0", &[]), interface("edge1", &[])]), &[]);
    assert!(!exchange(&edge.neighbour, Protocol::Tcp, server(443), IMPATIENCE)?);
    edge.operator.policy(&policy(&[interface("edge1", &[])]))?;
    assert_eq!(agent.event("detached")["interface"], "edge0");
    assert!(exchange(&edge.neighbour, Protocol::Tcp, server(443), crate::PATIENCE)?);
    Ok(())
}

#[test]
fn a_trial_that_somebody_runs_is_not_overrun() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    let tried = Lab::state().join("tried.toml");
    fs::write(&tried, opening(8080))?;
    let tried = tried.to_str().expect("text");
    edge.operator.run(&["apply", "--confirm", "5m", tried]).exits(0);
    edge.assert_open(8080, 443);

    edge.operator.policy(&opening(4430))?;
    let refused = agent.event("refused");
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("a trial is running")), "{refused}");
    edge.assert_open(8080, 443);
    edge.operator.run(&["confirm"]).exits(0);
    edge.assert_open(8080, 443);
    agent.signal(Signal::SIGHUP);
    assert_eq!(agent.event("applied")["generation"], 4);
    Ok(())
}
