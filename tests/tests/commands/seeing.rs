//! `status`, `counters` and `check`: for people, and for programs.

use std::{net::SocketAddr, process::Stdio};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, observed, policy},
    operator::{Operator, Ran, lab, rows},
    packet::Ip,
    running::Running,
    traffic::{Protocol, exchange},
};
use serde_json::Value;

use crate::{Edge, IMPATIENCE, PATIENCE, applied, web};

/// An edge that has seen web requests (accepted) and telnet (dropped).
fn busy_edge() -> Result<Option<Edge>> {
    let Some(lab) = lab() else { return Ok(None) };
    let edge = Edge::new(lab)?;
    let rules = [allow("web", "tcp", "443"), allow("dns", "udp", "53")];
    applied(&edge.operator, &policy(&[interface("edge0", &rules)]));
    assert!(edge.answers(PATIENCE)?);
    let telnet = SocketAddr::new(Ip::V4.address(1), 23);
    assert!(!exchange(&edge.neighbour, Protocol::Tcp, telnet, IMPATIENCE)?);
    Ok(Some(edge))
}

/// Holds: policy 1, readme counted-once.
#[test]
fn every_packet_is_in_exactly_one_row() -> Result<()> {
    let Some(edge) = busy_edge()? else { return Ok(()) };
    let json = edge.operator.run(&["counters", "--json"]).exits(0).json();
    assert_eq!(json["schema"], 1);
    let counters = &json["interfaces"][0];
    assert_eq!(counters["interface"], "edge0");
    assert_eq!(counters["mode"], "enforce");
    assert_eq!(counters["generation"], 1);
    for unit in ["packets", "bytes"] {
        let number = |value: &Value| value[unit].as_u64().unwrap_or_else(|| panic!("{unit} in {value}"));
        let sum = |verdict: &str| -> u64 {
            rows(counters)
                .filter(|row| row.get("verdict").is_none_or(|told| told == verdict))
                .filter(|row| verdict == "accept" || row.get("verdict").is_some())
                .map(number)
                .sum()
        };
        let (accepted, dropped) = (number(&counters["accepted"]), number(&counters["dropped"]));
        assert!(accepted > 0 && dropped > 0, "both were seen in {counters:#}");
        assert_eq!(sum("accept"), accepted, "{unit} accepted in {counters:#}");
        assert_eq!(sum("drop"), dropped, "{unit} dropped in {counters:#}");
        assert_eq!(accepted + dropped, number(&counters["total"]));
    }
    Ok(())
}

/// Holds: readme origin.
#[test]
fn a_rule_is_told_with_all_that_explains_it() -> Result<()> {
    let Some(edge) = busy_edge()? else { return Ok(()) };
    let counters = edge.operator.counters("edge0");
    let web = &counters["rules"][0];
    assert_eq!(web["service"], "web");
    assert_eq!(web["opens"], serde_json::json!(["tcp/443"]));
    assert_eq!(web["line"], 7);
    assert!(web["document"].as_str().is_some_and(|path| path.ends_with("policy.toml")), "{web}");
    assert_eq!((&web["retired"], &web["shadowed"]), (&Value::from(false), &Value::from(false)));
    assert!(web.get("role").is_none(), "an allow has no role: {web}");

    // Once retired it is still there, and says so.
    applied(&edge.operator, &policy(&[interface("edge0", &[allow("dns", "udp", "53")])]));
    let counters = edge.operator.counters("edge0");
    let retired = rows(&counters).find(|row| row["service"] == "web").expect("the row is kept");
    assert_eq!(retired["retired"], true);
    edge.operator.run(&["counters"]).exits(0).prints("(retired)");
    Ok(())
}

#[test]
fn tables_are_by_rule_role_service_or_reason() -> Result<()> {
    let Some(edge) = busy_edge()? else { return Ok(()) };
    let show = |by: &str| {
        edge.operator.run(&["counters", "--by", by]).exits(0).prints("edge0 (enforce, generation 1)")
    };
    let by_rule = show("rule").prints("DOCUMENT:LINE").prints("tcp/443").prints("policy.toml:7");
    by_rule.prints("1 rule has not counted a packet (--all shows it)").keeps_quiet_about("udp/53");
    show("role").prints("ROLE").prints("(policy)").keeps_quiet_about("tcp/443");
    show("service")
        .prints("1 service has not counted a packet")
        .prints("SERVICE")
        .prints("(policy): web")
        .keeps_quiet_about("dns");
    let by_reason = show("reason").prints("undocumented-tcp").keeps_quiet_about("web");
    by_reason.prints("accepted").prints("dropped").keeps_quiet_about("DOCUMENT");
    let all = edge.operator.run(&["counters", "--all"]).exits(0);
    all.prints("udp/53").prints("vlan-depth").keeps_quiet_about("--all shows");
    edge.operator.run(&["counters", "--by", "colour"]).exits(2).complains("rule, role, service, reason");
    Ok(())
}

#[test]
fn lines_have_no_blanks_at_their_ends() -> Result<()> {
    let Some(edge) = busy_edge()? else { return Ok(()) };
    for args in [&["counters", "--all"][..], &["counters", "--by", "reason"], &["status"]] {
        let Ran { stdout, .. } = edge.operator.run(args).exits(0);
        assert!(stdout.lines().all(|line| line == line.trim_end()), "{stdout}");
    }
    Ok(())
}

#[test]
fn watch_prints_again() -> Result<()> {
    let Some(edge) = busy_edge()? else { return Ok(()) };
    let mut watch = Running::start(edge.operator.command(&["counters", "--watch", "1", "--by", "reason"]));
    let total = |line: &str| line.starts_with("total ");
    let first = watch.line(total);
    assert!(edge.answers(PATIENCE)?);
    while watch.line(total) == first {}

    let mut watch = Running::start(edge.operator.command(&["counters", "--watch", "--json"]));
    for _ in 0..2 {
        let line = watch.line(|_| true);
        let json: Value = serde_json::from_str(&line)?;
        assert_eq!(json["interfaces"][0]["interface"], "edge0", "one JSON document a line");
    }
    Ok(())
}

#[test]
fn a_reader_who_leaves_early_is_no_error() -> Result<()> {
    let Some(edge) = busy_edge()? else { return Ok(()) };
    for args in [&["counters", "--all"][..], &["counters", "--json"], &["status"], &["status", "--json"]] {
        let mut command = edge.operator.command(args);
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn()?;
        drop(command);
        let ended = child.wait_with_output()?;
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*complaint), (Some(0), ""), "{args:?}");
    }
    Ok(())
}

/// Holds: security status-shows.
#[test]
fn status_tells_what_is_enforced_where() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    edge.operator
        .run(&["status"])
        .exits(0)
        .prints("no interface is enforced; `portcullis apply POLICY` begins");
    edge.operator
        .run(&["counters"])
        .exits(1)
        .complains("no interface is enforced; `portcullis apply POLICY` begins");
    let empty = edge.operator.run(&["status", "--json"]).exits(0).json();
    assert_eq!(
        empty,
        serde_json::json!({
            "schema": 1, "interfaces": [], "flows": null, "without_manifest": [], "without_interface": [], "agent": null,
            "well": false, "troubles": []
        })
    );

    applied(&edge.operator, &policy(&[observed("edge0", &[allow("web", "tcp", "443")])]));
    let said = edge.operator.run(&["status"]).exits(0);
    let fields: Vec<&str> = said.stdout.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(fields[..5], ["edge0", "observe", "native", "1", "1"], "{said}");
    let json = edge.operator.run(&["status", "--json"]).exits(0).json();
    let edge0 = &json["interfaces"][0];
    assert_eq!((&edge0["mode"], &edge0["xdp"]), (&Value::from("observe"), &Value::from("native")));
    assert_eq!((&edge0["rules"], &edge0["generation"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(edge0["policy"], Operator::policy_path().to_str().expect("text"));
    assert_eq!(edge0["policy_sha256"].as_str().map(str::len), Some(64));
    assert!(edge0["applied"].as_u64().is_some_and(|time| time > 1_000_000_000), "{edge0}");
    assert!(edge0["program"].as_u64().is_some_and(|program| program > 0), "{edge0}");
    Ok(())
}

/// Holds: policy 5.
#[test]
fn check_tells_what_to_know_and_programs_by_its_exit_code() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let check = |text: &str, args: &[&str]| -> Result<Ran> {
        let path = operator.policy(text)?;
        Ok(operator.run(&[&["check", path.to_str().expect("text")], args].concat()))
    };
    check(&web(), &[])?
        .exits(3)
        .prints("policy.toml:4:8: warning: edge0: nothing opens tcp/22")
        .prints("1 warning, 0 notes");
    check(&policy(&[interface("edge0", &[])]), &[])?.exits(3).prints("the interface lets nothing in");
    let wide = policy(&[interface("edge0", &[allow("ssh", "tcp", "22"), allow("wide", "udp", "1-9999")])]);
    check(&wide, &[])?
        .exits(3)
        .prints("policy.toml:12:8: warning: edge0: ")
        .prints("opens 9,999 ports to any source");
    let twice = policy(&[interface("edge0", &[allow("ssh", "tcp", "22"), allow("again", "tcp", "22")])]);
    check(&twice, &[])?.exits(3).prints("never counts").prints("0 warnings, 1 note\n");
    let fine = policy(&[interface("edge0", &[allow("ssh", "tcp", "22")])]);
    check(&fine, &[])?.exits(0).prints("valid: 1 interface, 0 warnings, 0 notes\n");

    let json = check(&web(), &["--json"])?.exits(3).json();
    let finding = &json["findings"][0];
    assert_eq!((&finding["severity"], &finding["kind"]), (&Value::from("warning"), &Value::from("no-ssh")));
    assert_eq!(finding["place"], serde_json::json!({ "line": 4, "column": 8 }));
    Ok(())
}
