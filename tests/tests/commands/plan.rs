//! `plan` says what `apply` would change, and changes nothing.

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, allow_from, interface, observed, policy},
    operator::{Operator, Ran, lab},
};
use serde_json::Value;

use crate::{Edge, applied, enforced, left_behind, web};

fn plan(operator: &Operator, text: &str) -> Ran {
    let path = operator.policy(text).expect("the lab's folder can be written");
    operator.run(&["plan", path.to_str().expect("text")])
}

fn plan_json(operator: &Operator, text: &str) -> Value {
    let path = operator.policy(text).expect("the lab's folder can be written");
    let ran = operator.run(&["plan", "--json", path.to_str().expect("text")]);
    let json = ran.json();
    assert_eq!(ran.code, Some(if json["different"] == true { 3 } else { 0 }), "{ran}");
    json
}

/// The changes on `edge0` as `opens tcp/443`.
fn changes(json: &Value) -> Vec<String> {
    let word = |change: &Value, key: &str| change[key].as_str().expect("text").to_owned();
    let list = json["interfaces"][0]["changes"].as_array().expect("a list");
    list.iter().map(|change| format!("{} {}", word(change, "change"), word(change, "what"))).collect()
}

#[test]
fn what_opens_and_closes_is_told_with_its_rule_and_changes_nothing() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    plan(&edge.operator, &web())
        .exits(3)
        .prints("edge0: would be enforced for the first time")
        .prints("tcp/443");
    assert_eq!(changes(&plan_json(&edge.operator, &web())), ["stays-open tcp/443"]);
    assert_eq!(left_behind(), Vec::<String>::new());

    applied(&edge.operator, &web());
    let before = enforced(&edge.operator);
    plan(&edge.operator, &web()).exits(0).prints("edge0: nothing would change");
    let pattern = web().replace("name = \"edge0\"", "name = \"edge*\"");
    plan(&edge.operator, &pattern).exits(0).prints("edge0: nothing would change");
    assert_eq!(changes(&plan_json(&edge.operator, &web())), Vec::<String>::new());

    let other = policy(&[interface(
        "edge0",
        &[allow_from("ssh", "tcp", "22", &["198.51.100.0/24"]), allow("web", "tcp", "80,443-445")],
    )]);
    plan(&edge.operator, &other)
        .exits(3)
        .prints("edge0: 3 ranges open, 0 ranges close")
        .prints("198.51.100.0/24")
        .prints("policy.toml:");
    let json = plan_json(&edge.operator, &other);
    assert_eq!(changes(&json), ["opens tcp/22", "opens tcp/80", "opens tcp/444-445"]);
    let ssh = &json["interfaces"][0]["changes"][0];
    assert_eq!(ssh["sources"], serde_json::json!(["198.51.100.0/24"]));
    assert_eq!((&ssh["rule"], &ssh["service"]), (&"allow/ssh".into(), &"ssh".into()));

    plan(&edge.operator, &policy(&[interface("edge0", &[])])).exits(3).prints("closes").prints("tcp/443");
    plan(&edge.operator, &policy(&[interface("edge0", &[allow("renamed", "tcp", "443")])]))
        .exits(3)
        .prints("1 rule comes and 1 rule goes without opening or closing anything");
    plan(&edge.operator, &policy(&[observed("edge0", &[allow("web", "tcp", "443")])]))
        .exits(3)
        .prints("drops nothing any more");
    let without_dhcp = web().replace("name = \"edge0\"\n", "name = \"edge0\"\ndhcp = false\n");
    plan(&edge.operator, &without_dhcp).exits(3).prints("edge0: drops DHCP replies");
    plan(&edge.operator, &policy(&[interface("lo", &[])]))
        .exits(3)
        .prints("lo: would be enforced for the first time")
        .prints("edge0: would be detached");
    plan(&edge.operator, "version = 2").exits(2);
    assert_eq!(enforced(&edge.operator), before);
    Ok(())
}

#[test]
fn an_interface_that_is_not_there_is_not_said_to_be_enforced() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let missing = policy(&[interface("edge7", &[allow("web", "tcp", "443")])]);
    plan(&edge.operator, &missing)
        .exits(3)
        .prints("edge7: there is no such interface here; this would stay open where it appears:")
        .prints("tcp/443")
        .prints("`apply` would refuse the policy as long as an interface is missing; there are: edge0")
        .keeps_quiet_about("would be enforced");
    assert_eq!(plan_json(&edge.operator, &missing)["missing"], serde_json::json!(["edge7"]));
    assert_eq!(plan_json(&edge.operator, &web())["missing"], serde_json::json!([]));
    Ok(())
}

#[test]
fn a_source_that_is_narrowed_is_told_as_what_it_was_and_will_be() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    let narrow = policy(&[interface("edge0", &[allow_from("web", "tcp", "443", &["10.0.0.0/24"])])]);
    plan(&edge.operator, &narrow)
        .exits(3)
        .prints("edge0: 0 ranges open, 1 range closes\n")
        .prints("closes  tcp/443  any -> 10.0.0.0/24  any")
        .keeps_quiet_about("0.0.0.0/5");
    let json = plan_json(&edge.operator, &narrow);
    let change = &json["interfaces"][0]["changes"][0];
    assert_eq!(
        change["whole"],
        serde_json::json!({ "before": ["0.0.0.0/0", "::/0"], "after": ["10.0.0.0/24"] })
    );
    // Exactly those for whom it closes, for programs.
    assert!(change["sources"].as_array().is_some_and(|sources| sources.len() > 20), "{change:#}");
    applied(&edge.operator, &narrow);
    plan(&edge.operator, &web()).exits(3).prints("opens  tcp/443  10.0.0.0/24 -> any  any");
    Ok(())
}

#[test]
fn every_source_but_some_is_told_by_those_at_a_first_enforcement_too() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let overlapping = policy(&[interface(
        "edge0",
        &[allow_from("ssh", "tcp", "22", &["10.0.0.0/24", "2001:db8::/32"]), allow("all", "tcp", "22-23")],
    )]);
    let told = |said: Ran, verb: &str| {
        said.exits(3)
            .prints(&format!("{verb}  tcp/22  10.0.0.0/24,2001:db8::/32          any  (policy)  ssh"))
            .prints(&format!("{verb}  tcp/22  any but 10.0.0.0/24,2001:db8::/32  any  (policy)  all"))
            .prints(&format!("{verb}  tcp/23  any                                any  (policy)  all"))
            .keeps_quiet_about("0.0.0.0/5")
    };
    told(plan(&edge.operator, &overlapping), "stays");
    // What opens where nothing was open, and what closes.
    applied(&edge.operator, &policy(&[interface("edge0", &[])]));
    told(plan(&edge.operator, &overlapping), "opens");
    applied(&edge.operator, &overlapping);
    plan(&edge.operator, &policy(&[interface("edge0", &[])]))
        .exits(3)
        .prints("closes  tcp/22  any but 10.0.0.0/24,2001:db8::/32  any");
    Ok(())
}

#[test]
fn a_plan_against_lost_state_is_refused() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    applied(&edge.operator, &web());
    std::fs::remove_dir_all(Operator::state())?;
    plan(&edge.operator, &web())
        .exits(1)
        .complains("edge0: enforced, but")
        .complains("apply the policy again");
    Ok(())
}
