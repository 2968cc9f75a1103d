//! `rollback` puts back what was enforced before; a swap that cannot be finished is undone.

use anyhow::Result;
use portcullis::{
    catalog::Catalog,
    datapath::{LoadOptions, Programs},
    generation::{ApplyOptions, Roots, prepare},
    policy::Policy,
    tables::Tables,
};
use portcullis_tests::{
    draft::{allow, interface, policy},
    lab::Lab,
    operator::{Operator, lab},
};

use crate::{Edge, IMPATIENCE, PATIENCE, applied, enforced, web};

fn closed() -> String {
    policy(&[interface("edge0", &[])])
}

#[test]
fn the_policy_before_comes_back_with_its_counters() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let operator = &edge.operator;
    operator.run(&["rollback"]).exits(1).complains("no interface is enforced");
    applied(operator, &web());
    operator.run(&["rollback"]).exits(1).complains("there is no policy before this one");
    assert!(edge.answers(PATIENCE)?);
    let counted = operator.packets("edge0", "web");

    applied(operator, &closed());
    assert!(!edge.answers(IMPATIENCE)?);
    // What the file says by now does not matter.
    operator.policy("nonsense")?;
    operator.run(&["rollback"]).exits(0).prints("edge0: enforcing 1 rule, generation 3").prints("done in");
    assert!(edge.answers(PATIENCE)?);
    assert!(operator.packets("edge0", "web") > counted, "its counter goes on");

    // Back at the first, there is nothing before it; what is applied next has it before.
    operator.run(&["rollback"]).exits(1).complains("there is no policy before this one");
    applied(operator, &closed());
    let list = operator.run(&["rollback", "--list", "--json"]).exits(0).json();
    assert_eq!((&list["active"], &list["revisions"][2]["previous"]), (&3.into(), &1.into()));
    let said = operator.run(&["rollback", "--list"]).exits(0).prints("active  ").prints("APPLIED");
    // `2026-11-28 09:47`, before the interface.
    let is_date = |text: &str| {
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        shape == "0000-00-00 00:00"
    };
    for line in said.stdout.lines().skip(1) {
        let date = line.split("  ").map(str::trim).find(|cell| is_date(cell));
        assert!(date.is_some(), "no date in {line}");
    }
    operator.run(&["rollback"]).exits(0);
    assert!(edge.answers(PATIENCE)?);

    operator.run(&["detach", "--all"]).exits(0);
    operator.run(&["rollback"]).exits(1).complains("no interface is enforced");
    Ok(())
}

#[test]
fn a_list_of_nothing_says_what_to_do() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    operator
        .run(&["rollback", "--list"])
        .exits(0)
        .prints("nothing was applied yet; `portcullis apply POLICY` begins");
    Ok(())
}

#[test]
fn rollback_attaches_and_detaches_whole_interfaces() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let ip = |args: &[&str]| edge.lab.host().run("ip", args);
    ip(&["link", "add", "edge1", "type", "veth", "peer", "name", "edge1x"])?;
    let names = || -> Vec<String> {
        let of = |interface: &serde_json::Value| interface["interface"].as_str().expect("text").to_owned();
        enforced(&edge.operator).iter().map(of).collect()
    };
    applied(&edge.operator, &policy(&[interface("edge0", &[]), interface("edge1", &[])]));
    applied(&edge.operator, &closed());
    assert_eq!(names(), ["edge0"]);
    edge.operator.run(&["rollback"]).exits(0).prints("edge1: enforcing 0 rules, generation 1");
    assert_eq!(names(), ["edge0", "edge1"]);
    Ok(())
}

#[test]
fn only_the_last_policies_are_kept() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    for port in 1..=12 {
        applied(&edge.operator, &policy(&[interface("edge0", &[allow("web", "tcp", &port.to_string())])]));
    }
    let kept = |expected: &[u64]| {
        let list = edge.operator.run(&["rollback", "--list", "--json"]).exits(0).json();
        let numbers: Vec<u64> = list["revisions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|revision| revision["revision"].as_u64().expect("a number"))
            .collect();
        assert_eq!(numbers, expected);
    };
    kept(&[3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    for _ in 3..12 {
        edge.operator.run(&["rollback"]).exits(0);
    }
    edge.operator.run(&["rollback"]).exits(1).complains("is not kept any more: only 10 are");
    kept(&[3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    Ok(())
}

#[test]
fn a_swap_that_fails_on_the_second_interface_is_undone_on_the_first() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let ip = |args: &[&str]| edge.lab.host().run("ip", args);
    ip(&["link", "add", "edge1", "type", "veth", "peer", "name", "edge1x"])?;
    let both = policy(&[interface("edge0", &[allow("web", "tcp", "443")]), interface("edge1", &[])]);
    applied(&edge.operator, &both);
    let before = enforced(&edge.operator);

    let roots = Roots::new(Operator::state(), Operator::lasting(), Lab::bpffs());
    let text = policy(&[interface("edge0", &[]), interface("edge1", &[])]);
    let catalog = Catalog::builtin();
    let other = Policy::parse(&text, "policy.toml", &catalog).expect("a valid policy");
    // The library passes a map of 128 KiB by value, which the stack of a test's thread has no room for.
    std::thread::scope(|scope| -> Result<()> {
        let work = || -> Result<()> {
            let lock = roots.lock()?;
            let prepared = prepare(&roots, &lock, &other, &text, &catalog, ApplyOptions::default())?;
            // Somebody who knows nothing of the lock replaces the program on the second one.
            let attachment = roots.attachment("edge1")?;
            let stranger =
                Programs::load(&Tables::deny_all(), &LoadOptions::default(), Some(attachment.pins()))?;
            let held = attachment.held()?;
            attachment.attach(&stranger)?;
            let (applied, error) = prepared.commit();
            let error = error.expect("the second cannot be swapped").to_string();
            assert!(error.contains("edge1") && error.contains("replaced meanwhile"), "{error}");
            assert!(applied.is_empty());
            assert!(attachment.put_back(&held.expect("it was attached"))?, "as the stranger found it");
            Ok(())
        };
        let thread = std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, work)?;
        thread.join().expect("no panic")
    })?;
    assert_eq!(enforced(&edge.operator), before);
    assert!(edge.answers(PATIENCE)?, "the first one has its old policy");
    edge.operator.run(&["rollback"]).exits(1).complains("there is no policy before this one");
    Ok(())
}
