//! Names and pings: the C library's resolver asks dnsmasq, and ping goes both ways.

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, pings, policy},
    lab::Namespace,
    programs::listens,
    running::Running,
};

use crate::Edge;

const NAME: &str = "service.portcullis.example";

#[test]
fn names_are_resolved_over_udp_and_tcp() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&policy(&[interface("edge0", &[])]));
    let _server = resolver(&edge, &edge.neighbour);
    for server in ["203.0.113.2", "2001:db8::2"] {
        for (options, reason) in [("attempts:2", "flow-udp"), ("use-vc", "flow-tcp")] {
            let before = edge.counted(reason);
            ask(&edge, server, options);
            assert_eq!(resolved(edge.host())?, "192.0.2.7", "{server}, {options}");
            assert!(edge.counted(reason) > before, "{server}: counted under {reason}");
        }
    }
    assert_eq!(edge.counted("undocumented-udp") + edge.counted("undocumented-tcp"), 0);
    edge.operator.show("edge0", "names");
    Ok(())
}

#[test]
fn a_resolver_on_the_host_serves_only_by_rule() -> Result<()> {
    let Some(edge) = edge()? else { return Ok(()) };
    edge.apply(&policy(&[interface("edge0", &[])]));
    let _server = resolver(&edge, edge.host());
    ask(&edge, "203.0.113.1", "timeout:1 attempts:1");
    resolved(&edge.neighbour).expect_err("no rule opens the port");
    assert!(edge.counted("undocumented-udp") > 0);
    edge.apply(&policy(&[interface("edge0", &[allow("dns", "udp", "53")])]));
    ask(&edge, "203.0.113.1", "attempts:2");
    assert_eq!(resolved(&edge.neighbour)?, "192.0.2.7");
    assert!(edge.counted("dns") > 0);
    edge.operator.show("edge0", "resolver");
    Ok(())
}

#[test]
fn ping_goes_out_and_comes_in_by_rule() -> Result<()> {
    let Some(edge) = Edge::new(&["ping"])? else { return Ok(()) };
    edge.apply(&policy(&[interface("edge0", &[])]));
    let ping = |from: &Namespace, to: &str, code| {
        let ran = edge.programs.run(from, "ping", 20, &["-c", "3", "-i", "0.2", "-W", "1", to]);
        drop(ran.exits(code));
    };
    for (host, neighbour, kind) in
        [("203.0.113.1", "203.0.113.2", "icmp"), ("2001:db8::1", "2001:db8::2", "icmpv6")]
    {
        edge.apply(&policy(&[interface("edge0", &[])]));
        let before = (edge.counted("flow-echo"), edge.counted("undocumented-icmp"));
        ping(edge.host(), neighbour, 0);
        assert_eq!(edge.counted("flow-echo"), before.0 + 3);
        ping(&edge.neighbour, host, 1);
        assert_eq!(edge.counted("undocumented-icmp"), before.1 + 3);
        let rule = pings(&format!("{kind}-ping"), &[kind]);
        edge.apply(&policy(&[interface("edge0", &[rule])]));
        ping(&edge.neighbour, host, 0);
        assert_eq!(edge.counted(&format!("{kind}-ping")), 3);
    }
    edge.operator.show("edge0", "pings");
    Ok(())
}

fn edge() -> Result<Option<Edge>> {
    let Some(edge) = Edge::new(&["dnsmasq"])? else { return Ok(None) };
    edge.lab.cover("/etc/nsswitch.conf", "hosts: dns\n")?;
    Ok(Some(edge))
}

/// A resolver that knows one name.
fn resolver(edge: &Edge, namespace: &Namespace) -> Running {
    let known = format!("--address=/{NAME}/192.0.2.7");
    let server = edge.dnsmasq_in(namespace, &["--port=53", "--no-resolv", "--no-hosts", &known]);
    listens(namespace, 53);
    server
}

/// Makes the C library ask this server.
fn ask(edge: &Edge, server: &str, options: &str) {
    let configuration = format!("nameserver {server}\noptions {options}\n");
    edge.lab.cover("/etc/resolv.conf", &configuration).expect("it can be covered");
}

/// The address of the name, as the C library finds it.
fn resolved(namespace: &Namespace) -> Result<String> {
    let found = namespace.run("getent", &["ahostsv4", NAME])?;
    Ok(found.split(' ').next().unwrap_or_default().to_owned())
}
