//! What is kept of counters: when rules counted, and what removed ones had counted.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use nix::sys::signal::Signal;
use portcullis_common::slot;
use portcullis_tests::{
    draft::{allow, interface, policy},
    operator::{Operator, device, lab, manifests_of, rows},
    programs::soon,
    running::Running,
};
use serde_json::Value;

use crate::{Edge, PATIENCE, applied, web};

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// Between which readings a rule last counted: after which, and before which.
fn last_hit(operator: &Operator, rule: &str) -> (Option<f64>, Option<f64>) {
    let counters = operator.counters("edge0");
    let named = |row: &&Value| row["service"] == rule || row["reason"] == rule;
    let hit = rows(&counters).find(named).expect("the row is there")["last_hit"].clone();
    (hit["after"].as_f64(), hit["before"].as_f64())
}

/// The removed rules of an interface: service, packets, and whether the counter was given away.
fn removed(operator: &Operator, interface: &str) -> Vec<(String, u64, bool)> {
    let archived = operator.run(&["counters", "--archived", "--json"]).exits(0).json();
    let of =
        archived["interfaces"].as_array().into_iter().flatten().filter(|of| of["interface"] == interface);
    let rules = of.flat_map(|of| of["rules"].as_array().expect("rules").clone());
    rules
        .map(|rule| {
            let packets = rule["packets"].as_u64().expect("packets");
            (rule["service"].as_str().expect("a service").to_owned(), packets, !rule["archived"].is_null())
        })
        .collect()
}

#[test]
fn each_rule_tells_between_which_readings_it_last_counted() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    assert_eq!(last_hit(&edge.operator, "web"), (None, None));
    let before = now();
    assert!(edge.answers(PATIENCE)?);
    let (after, seen) = last_hit(&edge.operator, "web");
    let (after, seen) = (after.expect("it was read before"), seen.expect("it has counted"));
    assert!(after <= before && before <= seen && seen <= now(), "{after} {before} {seen}");
    // Readings that find nothing new tell the same.
    assert_eq!(last_hit(&edge.operator, "web"), (Some(after), Some(seen)));
    edge.operator.run(&["counters"]).exits(0).prints("LAST HIT").prints(" s ago");
    let status = edge.operator.run(&["status", "--json"]).exits(0).json();
    assert!(
        status["interfaces"][0]["last_hit"]["before"].as_f64().is_some_and(|time| time >= seen),
        "{status}"
    );

    // What the agent reads every second is known to a second, or to two on a busy machine.
    let path = Operator::policy_path();
    let args = ["agent", "--sample", "1", "--policy", path.to_str().expect("text")];
    let mut agent = Running::start(edge.operator.command(&args));
    agent.event("applied");
    let hits = Operator::state().join(format!("hits/{}.json", device("edge0")));
    let read = || fs::metadata(&hits).and_then(|file| file.modified()).expect("it is kept");
    let first = read();
    soon("two readings", || read().duration_since(first).is_ok_and(|since| since.as_secs_f64() > 1.5));
    let mark = now();
    assert!(edge.answers(PATIENCE)?);
    let answered = SystemTime::now();
    soon("a reading of the agent", || read() > answered);
    let (after, before) = last_hit(&edge.operator, "web");
    let (after, before) = (after.expect("read before"), before.expect("counted"));
    assert!(mark - 5.0 < after && after <= before && before - after < 5.0, "{after} {mark} {before}");

    // And it outlasts the agent.
    agent.signal(Signal::SIGKILL);
    agent.end();
    assert_eq!(last_hit(&edge.operator, "web"), (Some(after), Some(before)));
    edge.operator.run(&["detach", "--all"]).exits(0);
    assert!(!hits.exists(), "counters that are forgotten have no times");
    Ok(())
}

#[test]
fn a_removed_rule_tells_what_it_had_counted_also_when_its_interface_is_not_enforced_any_more() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    edge.operator.run(&["counters", "--archived"]).exits(0).prints("no removed rule has counted anything");
    applied(&edge.operator, &web());
    assert!(edge.answers(PATIENCE)?);
    let counted = edge.operator.packets("edge0", "web");
    assert_eq!(removed(&edge.operator, "edge0"), []);
    applied(&edge.operator, &policy(&[interface("edge0", &[allow("other", "udp", "9")])]));
    assert_eq!(removed(&edge.operator, "edge0"), [("web".to_owned(), counted, false)], "its counter stands");
    edge.operator.run(&["counters", "--archived"]).exits(0).prints("edge0, removed rules").prints("stands");

    // Another interface in its place: the counters go, the totals stay.
    edge.lab.host().run("ip", &["link", "add", "edge1", "type", "veth", "peer", "name", "edge1x"])?;
    applied(&edge.operator, &policy(&[interface("edge1", &[])])).prints("edge0: detached");
    assert_eq!(removed(&edge.operator, "edge0"), [("web".to_owned(), counted, true)]);
    let text = edge.operator.run(&["counters", "--archived", "--interface", "edge0"]).exits(0);
    text.prints("archived").prints("policy.toml");
    edge.operator
        .run(&["counters", "--archived", "--interface", "edge9"])
        .exits(1)
        .complains("`edge9` is not enforced, and nothing is archived of it");

    // It is enforced again, and the rule is there again: it counts from zero, and the archive stands.
    applied(&edge.operator, &web());
    assert_eq!(edge.operator.packets("edge0", "web"), 0);
    assert_eq!(removed(&edge.operator, "edge0"), [("web".to_owned(), counted, true)]);
    // Who ends enforcement by hand wants to forget.
    edge.operator.run(&["detach", "--all"]).exits(0);
    assert_eq!(removed(&edge.operator, "edge0"), []);
    Ok(())
}

#[test]
fn a_counter_that_is_given_to_another_rule_is_archived_first() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    assert!(edge.answers(PATIENCE)?);
    let counted = edge.operator.packets("edge0", "web");
    assert!(counted > 0);
    applied(&edge.operator, &policy(&[interface("edge0", &[allow("other", "udp", "9")])]));
    assert_eq!(removed(&edge.operator, "edge0"), [("web".to_owned(), counted, false)]);

    // As if so many rules had come and gone that the last slot is in use.
    let manifest = fs::read_dir(manifests_of("edge0"))?.next().expect("one is kept")?.path();
    let mut edited: Value = serde_json::from_slice(&fs::read(&manifest)?)?;
    edited["rules"][0]["slot"] = (slot::COUNT - 1).into();
    fs::write(&manifest, serde_json::to_vec(&edited)?)?;
    applied(&edge.operator, &policy(&[interface("edge0", &[allow("third", "udp", "10")])]));
    assert_eq!(removed(&edge.operator, "edge0"), [("web".to_owned(), counted, true)]);
    // Nothing of it counts twice: whoever has its counter now begins from zero.
    assert_eq!(edge.operator.packets("edge0", "third"), 0);
    Ok(())
}
