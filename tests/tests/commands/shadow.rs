//! A shadow decides nothing, and tells exactly what it would decide otherwise.

use std::{io::Write as _, net::SocketAddr};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, allow_from, ether_types, interface, policy},
    operator::{Operator, Ran, lab},
    packet::Ip,
    programs::soon,
    splice, tagged,
    traffic::{EchoServer, Protocol, exchange},
};
use serde_json::Value;

use crate::{Edge, IMPATIENCE, PATIENCE, applied, left_behind, web};

fn shadowed(operator: &Operator, text: &str) -> Ran {
    let path = operator.policy(text).expect("the lab's folder can be written");
    operator.run(&["apply", "--shadow", path.to_str().expect("text")])
}

/// Packets by what would become of them and the rule, as `opens ssh`.
fn differences(operator: &Operator) -> Vec<(String, u64)> {
    let json = operator.run(&["shadow", "--json"]).json();
    let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
    let of = |row: &Value| {
        let name = format!("{} {}", text(row, "change"), text(row, "service"));
        (name, row["packets"].as_u64().expect("a number"))
    };
    json["interfaces"][0]["differences"].as_array().expect("a list").iter().map(of).collect()
}

#[test]
fn what_would_differ_is_counted_by_rule_with_an_example_and_nothing_changes() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let operator = &edge.operator;
    let ssh = SocketAddr::new(Ip::V4.address(1), 22);
    let _server = EchoServer::start(edge.lab.host(), Protocol::Tcp, ssh)?;
    operator.run(&["shadow"]).exits(1).complains("there is no shadow");
    shadowed(operator, &web()).exits(1).complains("nothing is enforced there");
    assert_eq!(left_behind(), Vec::<String>::new());

    applied(operator, &web());
    assert!(edge.answers(PATIENCE)?);
    let candidate = policy(&[interface(
        "edge0",
        &[allow_from("ssh", "tcp", "22", &["203.0.113.0/24"]), allow("dns", "udp", "53")],
    )]);
    shadowed(operator, &candidate)
        .exits(0)
        .prints("edge0: going on with 1 rule")
        .prints("edge0: 2 rules evaluated beside");
    operator.run(&["status"]).exits(0).prints("shadow");
    operator.run(&["shadow"]).exits(0).prints("would newly accept 0 packets and newly drop 0");
    operator.apply(&candidate).exits(1).complains("a shadow is running");

    let (web_before, closed_before) =
        (operator.packets("edge0", "web"), operator.packets("edge0", "undocumented-tcp"));
    assert!(edge.answers(PATIENCE)?, "the active policy decides");
    assert!(!exchange(&edge.neighbour, Protocol::Tcp, ssh, IMPATIENCE)?, "the active policy decides");
    let (web_now, closed_now) =
        (operator.packets("edge0", "web"), operator.packets("edge0", "undocumented-tcp"));
    assert_eq!(
        differences(operator),
        [
            ("closes web".to_owned(), web_now - web_before),
            ("opens ssh".to_owned(), closed_now - closed_before)
        ]
    );
    operator
        .run(&["shadow"])
        .exits(3)
        .prints("tcp 203.0.113.2:")
        .prints(" > 203.0.113.1:22")
        .prints("policy.toml:");

    // Begun again, it counts anew; ended, nothing of it is left.
    operator.run(&["rollback"]).exits(0);
    operator.run(&["shadow"]).exits(1);
    shadowed(operator, &candidate).exits(0);
    assert_eq!(differences(operator), []);

    operator.run(&["confirm"]).exits(0).prints("edge0: enforcing 2 rules");
    assert!(exchange(&edge.neighbour, Protocol::Tcp, ssh, PATIENCE)?);
    assert!(!edge.answers(IMPATIENCE)?);
    operator.run(&["rollback"]).exits(0);
    assert!(edge.answers(PATIENCE)?, "the policy before is the one that was shadowed");
    operator.run(&["detach", "--all"]).exits(0);
    assert_eq!(left_behind(), Vec::<String>::new());
    Ok(())
}

#[test]
fn replies_to_this_host_are_no_difference() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let there = SocketAddr::new(Ip::V6.address(2), 53);
    let _servers = [Protocol::Tcp, Protocol::Udp]
        .map(|protocol| EchoServer::start(&edge.neighbour, protocol, there).expect("a server"));
    // The active policy opens every UDP port, so that replies need no flow there; the shadow opens none.
    applied(&edge.operator, &policy(&[interface("edge0", &[allow("all", "udp", "1-65535")])]));
    shadowed(&edge.operator, &web()).exits(0);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        assert!(exchange(edge.lab.host(), protocol, there, PATIENCE)?);
    }
    assert_eq!(differences(&edge.operator), []);
    Ok(())
}

/// A frame of an EtherType that only the shadow names is read for it, and what its payload holds in the place of
/// addresses is told nobody.
#[test]
fn ether_types_of_a_shadow_are_compared() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let neighbour = lab.silent_neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let with = |name: &str, types: &[&str]| policy(&[interface("edge0", &[ether_types(name, types)])]);
    applied(&operator, &with("machines", &["profinet", "mrp"]));
    drop(shadowed(&operator, &with("clock", &["ptp", "profinet"])).exits(0));
    let mut sender = neighbour.within(|| tagged::packets("far0"))?;
    for ether_type in [0x8892, 0x88e3, 0x88f7, 0x88f7, 0x88cc] {
        let frame = splice::plain(ether_type, &[0x45; 46]);
        assert_eq!(sender.write(&frame)?, frame.len());
    }
    soon("the last frame", || operator.packets("edge0", "non-ip") == 3);
    assert_eq!(operator.packets("edge0", "machines"), 2);
    assert_eq!(differences(&operator), [("closes machines".to_owned(), 1), ("opens clock".to_owned(), 2)]);
    drop(operator.run(&["shadow"]).exits(3).keeps_quiet_about("69.69.69.69"));
    Ok(())
}
