//! Interfaces that appear, vanish, are made anew or get another name while the agent runs.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    traffic::{Protocol, exchange},
};

use crate::{Edge, IMPATIENCE, opening, server};

/// How often an interface is removed and made again.
const CYCLES: usize = 20;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

#[test]
fn an_interface_that_is_made_anew_is_protected_at_once_and_counts_on() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    let mut agent = edge.agent(&opening(443), &[]);
    edge.assert_open(443, 8080);
    let counted = edge.operator.packets("edge0", "open");
    assert!(counted > 0);

    let mut unprotected = Vec::new();
    for _ in 0..CYCLES {
        host.run("ip", &["link", "del", "edge0"])?;
        assert_eq!(agent.event("vanished")["interface"], "edge0");
        let before = now();
        host.run("ip", &["link", "add", "edge0", "type", "veth", "peer", "name", "far0"])?;
        let applied = agent.event("applied");
        assert_eq!(applied["interface"], "edge0");
        assert_eq!(applied["generation"], 1, "it is the same generation, attached again");
        unprotected.push(applied["time"].as_f64().expect("a time") - before);
    }
    unprotected.sort_by(f64::total_cmp);
    println!(
        "from `ip link add` to protected, {CYCLES} cycles: {:.1} ms at best, {:.1} median, {:.1} at worst",
        unprotected[0] * 1e3,
        unprotected[CYCLES / 2] * 1e3,
        unprotected[CYCLES - 1] * 1e3,
    );
    assert!(unprotected[CYCLES - 1] < 5.0, "an interface stood open for {unprotected:?} seconds");

    // A generation that was put in place while its interface was gone, by somebody else or anew.
    host.run("ip", &["link", "del", "edge0"])?;
    agent.event("vanished");
    edge.operator
        .policy(&policy(&[interface("edge0", &[allow("open", "tcp", "443"), allow("x", "tcp", "1")])]))?;
    agent.event("awaited");
    host.run("ip", &["link", "add", "edge0", "type", "veth", "peer", "name", "far0"])?;
    let applied = agent.event("applied");
    assert_eq!((&applied["generation"], &applied["rules"]), (&2.into(), &2.into()), "counted on");

    let neighbour = edge.reconnect()?;
    assert!(exchange(&neighbour, Protocol::Tcp, server(443), crate::PATIENCE)?);
    assert!(!exchange(&neighbour, Protocol::Tcp, server(8080), IMPATIENCE)?);
    assert!(edge.operator.packets("edge0", "open") > counted, "what it had counted is not forgotten");
    Ok(())
}

#[test]
fn an_interface_that_the_policy_names_is_awaited() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    let both = policy(&[interface("edge0", &[allow("open", "tcp", "443")]), interface("later0", &[])]);
    let mut agent = edge.agent(&both, &[]);
    assert_eq!(agent.event("awaited")["interface"], "later0");
    let first = edge.operator.counters("edge0")["generation"].clone();

    host.run("ip", &["link", "add", "later0", "type", "veth", "peer", "name", "later1"])?;
    let applied = agent.event("applied");
    assert_eq!((&applied["interface"], &applied["generation"]), (&"later0".into(), &1.into()));
    assert_eq!(edge.operator.counters("edge0")["generation"], first, "only the new interface is loaded");
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn a_pattern_covers_what_appears_and_a_full_name_comes_first() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    let text = policy(&[
        interface("e*", &[allow("any", "tcp", "8080"), allow("more", "tcp", "9000")]),
        interface("edge0", &[allow("open", "tcp", "443")]),
    ]);
    let mut agent = edge.agent(&text, &[]);
    edge.assert_open(443, 8080);

    host.run("ip", &["link", "add", "extra0", "type", "veth", "peer", "name", "other0"])?;
    let applied = agent.event("applied");
    assert_eq!((&applied["interface"], &applied["rules"]), (&"extra0".into(), &2.into()));
    let status = edge.operator.run(&["status", "--json"]).exits(0).json();
    let names: Vec<_> =
        status["interfaces"].as_array().into_iter().flatten().map(|i| &i["interface"]).collect();
    assert_eq!(names, ["edge0", "extra0"], "other0 fits no name");
    Ok(())
}

#[test]
fn an_interface_that_vanishes_under_a_pattern_takes_nothing_of_others_along() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    let all = opening(443).replace("edge0", "*");
    host.run("ip", &["link", "add", "extra0", "type", "veth", "peer", "name", "extra1"])?;
    let mut agent = edge.agent(&all, &[]);
    edge.assert_open(443, 8080);
    let counted = edge.operator.packets("edge0", "open");
    host.run("ip", &["link", "del", "extra0"])?;
    assert_eq!(agent.event("vanished")["interface"], "extra0");

    edge.operator.run(&["reload"]).exits(0).prints("edge0: generation 2");
    edge.operator.run(&["status"]).exits(0).prints("edge0 ").keeps_quiet_about("lost");
    assert!(edge.operator.packets("edge0", "open") >= counted, "what its counters stand for is known");
    edge.operator.run(&["rollback", "--list"]).exits(0).prints("edge0");
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(agent.end().code(), Some(0));
    let _next = edge.agent(&all, &[]);
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn a_renamed_interface_takes_its_counters_along_if_the_policy_covers_it() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    let mut agent = edge.agent(&policy(&[interface("edge*", &[allow("open", "tcp", "443")])]), &[]);
    edge.assert_open(443, 8080);
    let counted = edge.operator.packets("edge0", "open");

    // Running interfaces can be renamed since Linux 6.2.
    host.run("ip", &["link", "set", "edge0", "name", "edge7"])?;
    let renamed = agent.event("renamed");
    assert_eq!((&renamed["interface"], &renamed["to"]), (&"edge0".into(), &"edge7".into()));
    let applied = agent.event("applied");
    assert_eq!((&applied["interface"], &applied["generation"]), (&"edge7".into(), &2.into()));
    edge.assert_open(443, 8080);
    assert!(edge.operator.packets("edge7", "open") > counted, "what it had counted is not forgotten");

    // A name that nothing covers: nobody said that it may be open.
    host.run("ip", &["link", "set", "edge7", "name", "wild0"])?;
    agent.complaint(|line| line.contains("wild0: the policy does not name it"));
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn a_renamed_interface_stays_closed_when_another_gets_its_name() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    let mut agent = edge.agent(&opening(443), &[]);
    host.run("ip", &["link", "set", "edge0", "name", "old0"])?;
    agent.complaint(|line| {
        line.contains("old0: the policy does not name it; what was enforced as edge0 stays")
    });
    host.run("ip", &["link", "add", "edge0", "type", "veth", "peer", "name", "far1"])?;
    let applied = agent.event("applied");
    assert_eq!((&applied["interface"], &applied["generation"]), (&"edge0".into(), &1.into()));
    edge.assert_open(443, 8080);
    assert!(edge.operator.packets("old0", "undocumented-tcp") > 0);

    // Also when the file is read again, and when the second one goes.
    edge.operator.run(&["reload"]).exits(0);
    agent.complaint(|line| line.contains("old0: the policy does not name it"));
    edge.assert_open(443, 8080);
    host.run("ip", &["link", "del", "edge0"])?;
    assert_eq!(agent.event("vanished")["interface"], "edge0");
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn an_interface_that_was_renamed_while_no_agent_ran_counts_on() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    edge.operator.apply(&opening(443)).exits(0);
    edge.assert_open(443, 8080);
    let counted = edge.operator.packets("edge0", "open");
    for (from, to, generation) in [("edge0", "edge5", 2), ("edge5", "edge6", 3)] {
        edge.lab.host().run("ip", &["link", "set", from, "name", to])?;
        let text = opening(443).replace("edge0", to);
        if generation == 2 {
            edge.operator.apply(&text).exits(0).prints("edge5: enforcing 1 rule, generation 2");
        } else {
            let _agent = edge.agent(&text, &[]);
        }
        edge.assert_open(443, 8080);
        assert_eq!(edge.operator.counters(to)["generation"], generation);
    }
    assert!(edge.operator.packets("edge6", "open") > counted);
    Ok(())
}

#[test]
fn an_interface_that_cannot_be_protected_is_told_and_tried_again() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    let both = policy(&[interface("edge0", &[]), interface("later0", &[])]);
    let mut agent = edge.agent(&both, &[]);
    // Somebody who changes something holds the lock, and so keeps the agent from protecting it.
    let held = std::fs::File::open(portcullis_tests::operator::Operator::state().join("lock"))?;
    let held =
        nix::fcntl::Flock::lock(held, nix::fcntl::FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    host.run("ip", &["link", "add", "later0", "type", "veth", "peer", "name", "later1"])?;
    let told = agent.event("unprotected");
    assert_eq!(told["interface"], "later0");
    assert!(told["error"].as_str().is_some_and(|error| error.contains("another portcullis command")));
    drop(held);
    assert_eq!(agent.event("applied")["interface"], "later0");
    Ok(())
}

#[test]
fn many_interfaces_that_come_and_go_leave_nothing_unprotected() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let host = edge.lab.host();
    let mut agent = edge.agent(&policy(&[interface("edge0", &[]), interface("m*", &[])]), &[]);
    for n in 0..40 {
        let (name, peer) = (format!("m{n}"), format!("x{n}"));
        host.run("ip", &["link", "add", &name, "type", "veth", "peer", "name", &peer])?;
        if n < 38 {
            host.run("ip", &["link", "del", &name])?;
        }
    }
    // The last two stay; those between may have come and gone unseen.
    let mut wanted = vec!["m38", "m39"];
    while !wanted.is_empty() {
        let applied = agent.event("applied");
        wanted.retain(|name| applied["interface"] != *name);
    }
    let status = edge.operator.run(&["status", "--json"]).exits(0).json();
    let names: Vec<_> =
        status["interfaces"].as_array().into_iter().flatten().map(|i| &i["interface"]).collect();
    assert_eq!(names, ["edge0", "m38", "m39"]);
    let remembered = status["without_interface"].as_array().expect("a list").len();
    assert!(remembered <= 8, "{remembered} interfaces that are gone keep their counters");
    Ok(())
}

#[test]
fn a_misspelt_name_does_not_leave_an_interface_open() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let mut agent = edge.agent(&opening(443), &[]);
    edge.operator.policy(&opening(443).replace("edge0", "egde0"))?;
    let refused = agent.event("refused");
    let error = refused["error"].as_str().expect("a refusal has an error");
    assert!(error.contains("there is no interface `egde0` here; there are: edge0"), "{error}");
    assert!(error.contains("`edge0` would not be protected any more"), "{error}");
    edge.assert_open(443, 8080);
    Ok(())
}

#[test]
fn apply_takes_patterns_for_what_is_there() -> Result<()> {
    let Some(edge) = Edge::new()? else { return Ok(()) };
    let text = policy(&[interface("edge*", &[allow("open", "tcp", "443")])]);
    edge.operator.apply(&text).exits(0).prints("edge0: enforcing 1 rule");
    edge.assert_open(443, 8080);
    let said = edge.operator.apply(&policy(&[interface("none*", &[])])).exits(0);
    said.prints("no interface here fits a name of the policy yet").prints("edge0: detached");
    Ok(())
}
