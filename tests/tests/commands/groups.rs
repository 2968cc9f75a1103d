//! Groups that the host has joined, and VRRP: what a policy would drop of them is told before.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

use anyhow::Result;
use portcullis_tests::{
    draft::{allow, interface, policy},
    operator::{device, lab},
    portless,
};

use crate::{Edge, left_behind, web};

/// The address of the edge, and the groups of VRRP, of mDNS and of nobody in particular.
const EDGE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const VRRP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const MDNS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const OTHER: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

/// An allow for VRRP.
fn vrrp(direction: &str) -> String {
    format!(
        "\n[[interface.allow]]\nname = \"vrrp-{direction}\"\nprotocol = \"vrrp\"\ndirection = \"{direction}\"\n"
    )
}

fn edge0(allows: &[String]) -> String {
    policy(&[interface("edge0", &[&[allow("web", "tcp", "22,443")], allows].concat())])
}

#[test]
fn check_names_the_groups_that_this_host_has_joined() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let check = |text: &str| {
        let path = edge.operator.policy(text).expect("the lab's folder can be written");
        edge.operator.run(&["check", path.to_str().expect("text")])
    };
    // What every host is in is not worth a word.
    drop(check(&edge0(&[])).exits(0).prints("valid: 1 interface, 0 warnings, 0 notes"));

    let (four, six) = (UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?);
    four.join_multicast_v4(&OTHER, &EDGE)?;
    six.join_multicast_v6(&MDNS, device("edge0").index)?;
    let said = check(&edge0(&[])).exits(3).prints("note: edge0: this host has joined groups here: ");
    let said = said.prints("nothing opens what is sent to mDNS (udp/5353) at ff02::fb");
    drop(said.prints("datagrams to 239.1.2.3 pass only where a rule opens their port"));
    // A pattern names the interface all the same, and another interface has joined nothing.
    drop(check(&edge0(&[]).replace("\"edge0\"", "\"edge*\"")).exits(3).prints("note: edge0: this host has"));
    drop(check(&edge0(&[]).replace("\"edge0\"", "\"edge1\"")).exits(0));
    let open = edge0(&[allow("mdns", "udp", "5353")]);
    drop(check(&open).exits(3).keeps_quiet_about("mDNS").prints("239.1.2.3"));

    four.leave_multicast_v4(&OTHER, &EDGE)?;
    drop(check(&open).exits(0));

    // A group that anybody may join does not make a router of this host; reading VRRP does.
    four.join_multicast_v4(&VRRP, &EDGE)?;
    drop(
        check(&open)
            .exits(3)
            .prints("note: edge0: this host has joined groups here: nothing opens what is sent to VRRP"),
    );
    let _router = portless::socket(112)?;
    drop(
        check(&open).exits(3).prints("warning: edge0: this host speaks VRRP here, and nothing lets VRRP in"),
    );
    drop(check(&edge0(&[allow("mdns", "udp", "5353"), vrrp("in")])).exits(0));
    Ok(())
}

/// Once this passed without a word, and both routers were master.
#[test]
fn a_policy_that_would_cut_vrrp_is_refused() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let edge = Edge::new(lab)?;
    let apply = |text: &str, more: &[&str]| {
        let path = edge.operator.policy(text).expect("the lab's folder can be written");
        edge.operator.run(&[&["apply", path.to_str().expect("text")], more].concat())
    };
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.join_multicast_v4(&VRRP, &EDGE)?;
    let router = portless::socket(112)?;
    let sentence = "edge0: would drop the VRRP of the other routers: two would be master";
    let refused = apply(&web(), &[]).exits(1).complains(sentence).complains("nothing has changed");
    drop(refused.complains("protocol  = \"vrrp\""));
    assert_eq!(left_behind(), Vec::<String>::new());

    drop(apply(&edge0(&[vrrp("in")]), &[]).exits(0).complains_not("VRRP"));
    // Its own has to leave as well, where that is judged.
    let judged = |allows: &[String]| {
        edge0(allows).replace("name = \"edge0\"\n", "name = \"edge0\"\noutbound = \"enforce\"\n")
    };
    let refused = apply(&judged(&[vrrp("in")]), &[]).exits(1);
    let refused = refused.complains("edge0: would drop the VRRP of this host: two would be master");
    drop(refused.complains("direction = \"out\""));
    drop(apply(&judged(&[vrrp("in"), vrrp("out")]), &[]).exits(0));
    drop(apply(&web(), &["--force"]).exits(0).complains(&format!("forced: {sentence}")));

    // Whoever only joins the group keeps nobody from enforcing a policy.
    drop(router);
    drop(apply(&edge0(&[allow("dns", "udp", "53")]), &[]).exits(0).complains_not("VRRP"));
    Ok(())
}
