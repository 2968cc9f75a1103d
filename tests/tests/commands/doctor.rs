//! What the doctor finds on a host with bonds, bridges and VLANs, and what it mends.

use anyhow::Result;
use portcullis::doctor::{Finding, Remedy, Severity, links};
use portcullis_tests::{
    draft::{interface, policy},
    lab::Lab,
    operator::{Operator, lab},
};
use serde_json::Value;
use xtask::skip::{Need, skip};

use crate::Edge;

/// Interface and kind of everything that is found.
fn found(operator: &Operator, more: &[&str], code: i32) -> Vec<String> {
    let said = operator.run(&[&["doctor", "--json"], more].concat()).exits(code).json();
    let text = |value: &Value| value.as_str().unwrap_or("host").to_owned();
    let findings = said["findings"].as_array().expect("a list").iter();
    let mut found: Vec<String> = findings
        .map(|finding| format!("{} {}", text(&finding["interface"]), text(&finding["kind"])))
        .collect();
    found.sort();
    found
}

/// Runs iproute2 with these words. Gives false, and says so, where the kernel has no such interfaces.
fn ip(lab: &Lab, line: &str) -> Result<bool> {
    match lab.host().run("ip", &line.split(' ').collect::<Vec<_>>()) {
        Err(error) if error.to_string().contains("Unknown device type") => {
            skip(Need::Kernel, &format!("this kernel cannot `ip {line}`"));
            Ok(false)
        }
        other => other.map(|_| true),
    }
}

#[test]
fn a_plain_host_is_well() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    edge.operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    assert_eq!(found(&edge.operator, &[], 0), [""; 0]);
    let said = edge.operator.run(&["doctor"]).exits(0).prints("edge0: veth, MTU 1500, native XDP");
    said.prints("enforced").prints("0 findings");
    edge.operator.run(&["doctor", "nosuch0"]).exits(1).complains("there is no interface `nosuch0` here");
    Ok(())
}

#[test]
fn packets_that_name_their_way_are_warned_of() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    edge.operator.apply(&policy(&[interface("edge0", &[])])).exits(0);
    std::fs::write("/proc/sys/net/ipv4/conf/all/accept_source_route", "1")?;
    assert_eq!(found(&edge.operator, &[], 3), ["host source-routes"]);
    edge.operator.run(&["doctor"]).exits(3).prints("net.ipv4.conf.all.accept_source_route is on");
    Ok(())
}

#[test]
fn where_to_attach_is_told_for_bonds_bridges_and_vlans() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let expect = |all: &[&str]| {
        let found = found(&edge.operator, &[], 3);
        for expected in all {
            assert!(found.iter().any(|found| found == expected), "{expected} is missing in {found:?}");
        }
    };
    if ip(&edge.lab, "link add bond0 type bond mode active-backup")? {
        ip(&edge.lab, "link add port0 type veth peer name port0x")?;
        ip(&edge.lab, "link set port0 master bond0")?;
        expect(&["port0 port-of-bond"]);
        let said = edge.operator.run(&["doctor", "port0"]).exits(3);
        said.prints("name `bond0` in the policy").keeps_quiet_about("edge0");
    }
    if ip(&edge.lab, "link add br0 type bridge")? {
        ip(&edge.lab, "link add port1 type veth peer name port1x")?;
        ip(&edge.lab, "link set port1 master br0")?;
        expect(&["port1 port-of-bridge", "br0 bridge"]);
    }
    Ok(())
}

#[test]
fn hidden_tags_are_brought_to_light() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    if !ip(&edge.lab, "link add link edge0 name edge0.7 type vlan id 7")? {
        return Ok(());
    }
    assert_eq!(found(&edge.operator, &["edge0"], 3), ["edge0 hidden-tags"]);
    let said = edge.operator.run(&["doctor", "edge0"]).exits(3).prints("look untagged");
    said.prints("ethtool -K edge0 rxvlan off");
    edge.operator.run(&["doctor", "edge0", "--fix"]).exits(0).prints("mended: `ethtool -K edge0 rxvlan off`");
    assert_eq!(found(&edge.operator, &["edge0"], 0), [""; 0]);
    assert_eq!(found(&edge.operator, &["edge0.7"], 3), ["edge0.7 vlan"]);
    Ok(())
}

#[test]
fn the_driver_is_asked_to_leave_tags_in_packets() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let _edge = Edge::new(lab)?;
    let strips = || -> Result<Option<bool>> {
        Ok(links()?.into_iter().find(|link| link.interface == "edge0").and_then(|link| link.strips_tags))
    };
    assert_eq!(strips()?, Some(true), "veth takes tags out unless told otherwise");
    let finding = Finding {
        interface: Some("edge0".to_owned()),
        severity: Severity::Warning,
        kind: "hidden-tags",
        message: String::new(),
        advice: String::new(),
        remedy: Some(Remedy::LeaveTags),
    };
    finding.mend(&Lab::bpffs())?;
    assert_eq!(strips()?, Some(false));
    let missing = Finding { interface: Some("nosuch0".to_owned()), ..finding };
    assert!(missing.mend(&Lab::bpffs()).is_err());
    Ok(())
}

#[test]
fn another_tools_program_and_missing_rights_are_told() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let path = edge.operator.policy(&policy(&[interface("edge0", &[])]))?;
    let other = ["/mnt/bpf/other", "/mnt/other"];
    std::fs::create_dir(other[0])?;
    let path = path.to_str().expect("text");
    edge.operator.run(&["apply", path, "--bpffs", other[0], "--state", other[1]]).exits(0);
    // It is our own, and not to be taken off by a tool that cannot.
    assert_eq!(found(&edge.operator, &[], 3), ["edge0 enforced-elsewhere"]);
    let said = edge
        .operator
        .run(&["doctor"])
        .exits(3)
        .prints("portcullis itself enforces it, with pins below /mnt/bpf/other");
    let said = said.prints("`portcullis detach edge0 --bpffs /mnt/bpf/other` ends it");
    said.keeps_quiet_about("xdp off");
    edge.operator.run(&["detach", "edge0", "--bpffs", other[0], "--state", other[1]]).exits(0);
    assert_eq!(found(&edge.operator, &[], 0), [""; 0]);

    // Somebody without rights may ask, too.
    let said = portcullis_tests::operator::Ran::of(edge.operator.command_as(65534, "", &["doctor"]));
    said.exits(3).prints("problem: this process may not load programs").prints("run it with sudo");
    Ok(())
}

#[test]
fn a_missing_bpf_file_system_is_told_and_not_mounted_anywhere() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let folder = Lab::state().join("nothing");
    std::fs::create_dir(&folder)?;
    let folder = ["--bpffs", folder.to_str().expect("text")];
    assert_eq!(found(&edge.operator, &folder, 3), ["host bpffs"]);
    let said = edge.operator.run(&["doctor", "--fix", folder[0], folder[1]]).exits(1);
    said.prints("cannot be mended here").prints("meant for something else");
    Ok(())
}
