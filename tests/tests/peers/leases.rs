//! DHCP: dhclient on the protected host, dnsmasq on its neighbour. Nothing but `dhcp` in the policy speaks of
//! it.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use anyhow::Result;
use portcullis_tests::{
    draft::{interface, policy},
    programs::soon,
    running::Running,
};

use crate::Edge;

/// What dhclient calls when a lease changes: takes over the address, and says so.
const SCRIPT: &str = r#"#!/bin/sh
case "$reason" in
    BOUND | RENEW) ip address replace "$new_ip_address/24" dev "$interface" ;;
    BOUND6) ip -6 address replace "$new_ip6_address/128" dev "$interface" nodad ;;
    PREINIT6) while ip -6 address show dev "$interface" tentative | grep -q inet6; do sleep 0.05; done ;;
esac
echo "script: $reason $new_ip_address$new_ip6_address"
"#;

/// Renews after a second or two, whatever the server says.
const CONFIGURATION: &str = "timeout 3;\ninitial-interval 1;\nsupersede dhcp-renewal-time 2;\n";

#[test]
fn a_lease_is_had_and_renewed() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&policy(&[interface("edge0", &[])]));
    let _server = server(&edge);

    let mut client = Running::start(client(&edge, "-4"));
    let bound = client.line(|line| line.starts_with("script: BOUND "));
    let leased = edge.counted("dhcp");
    assert!(leased >= 2, "an offer and an acknowledgement");
    for _ in 0..2 {
        let renewed = client.line(|line| line.starts_with("script: RENEW "));
        assert_eq!(renewed.rsplit(' ').next(), bound.rsplit(' ').next(), "the same address");
    }
    assert!(edge.counted("dhcp") >= leased + 2, "an acknowledgement each");
    println!("{bound}, renewed twice");

    let mut six = Running::start(self::client(&edge, "-6"));
    println!("{}", six.line(|line| line.starts_with("script: BOUND6 2001:db8::")));
    assert!(edge.counted("dhcp") >= leased + 4, "an advertisement and a reply");
    edge.operator.show("edge0", "leases");
    Ok(())
}

#[test]
fn without_dhcp_in_the_policy_there_is_no_lease() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&policy(&[interface("edge0", &["dhcp = false\n".into()])]));
    let _server = server(&edge);

    let mut client = Running::start(client(&edge, "-4"));
    client.complaint(|line| line.contains("No DHCPOFFERS received"));
    assert_eq!(client.end().code(), Some(2));
    let dropped = edge.counted("undocumented-udp");
    assert!(dropped > 0, "the offers are dropped");

    let mut six = Running::start(self::client(&edge, "-6"));
    // A client of DHCPv6 asks a group, so that what its server says is an answer from elsewhere.
    soon("two advertisements", || edge.counted("group-answer") >= 2);
    assert!(!six.has_complained(|line| line.contains("Advertise")), "and the client has seen none");
    assert_eq!(edge.counted("dhcp"), 0);
    let addresses = edge.host().run("ip", &["address", "show", "dev", "edge0", "scope", "global"])?;
    assert_eq!(addresses, "");
    edge.operator.show("edge0", "dhcp = false");
    Ok(())
}

fn edge() -> Result<Option<Edge>> {
    let Some(edge) = Edge::without_addresses(&["dhclient", "dnsmasq"])? else { return Ok(None) };
    let folder = edge.lab.folder("dhcp")?;
    fs::write(folder.join("configuration"), CONFIGURATION)?;
    let script = folder.join("script");
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    for version in ["-4", "-6"] {
        fs::write(folder.join(format!("leases{version}")), "")?;
    }
    Ok(Some(edge))
}

/// The server on the neighbour, for both versions of IP.
fn server(edge: &Edge) -> Running {
    for address in ["203.0.113.2/24", "2001:db8::2/64"] {
        edge.neighbour.address("far0", address).expect("the interface is there");
    }
    let mut server = edge.dnsmasq(&[
        "--port=0",
        "--dhcp-range=203.0.113.50,203.0.113.60,2m",
        "--dhcp-range=2001:db8::50,2001:db8::60,64,2m",
        "--dhcp-leasefile=/mnt/dhcp/leases",
        "--dhcp-authoritative",
        "--no-ping",
    ]);
    server.complaint(|line| line.contains("sockets bound exclusively to interface far0"));
    server
}

/// A client on the protected host that gives up when nothing comes.
fn client(edge: &Edge, version: &str) -> Command {
    let mut client = edge.programs.command(edge.host(), "dhclient");
    client.args([version, "-d", "-1", "-cf", "/mnt/dhcp/configuration", "-sf", "/mnt/dhcp/script"]);
    client.args([
        "-lf",
        &format!("/mnt/dhcp/leases{version}"),
        "-pf",
        &format!("/mnt/dhcp/pid{version}"),
        "edge0",
    ]);
    client
}
