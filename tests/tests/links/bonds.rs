//! Links that carry the frames of one: bonds whose ends agree on that by LACP (IEEE 802.1AX). Not every kernel has
//! them.

use anyhow::{Context as _, Result};
use portcullis_tests::{
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    packet::Ip,
    programs::soon,
};

use crate::{expect_judged, ip, opened, serve};

const PORTS: [&str; 2] = ["port0", "port1"];

/// A host and its neighbour, joined by two cables. Both ends of each are ports of a bond, which nobody has up yet.
struct Bonded {
    neighbour: Namespace,
    operator: Operator,
    lab: Lab,
}

impl Bonded {
    /// `None` where that is not possible here.
    fn new() -> Result<Option<Self>> {
        let Some(lab) = lab() else { return Ok(None) };
        let neighbour = lab.silent_neighbour(PORTS[0], "far0")?;
        let pair = "link add port1 type veth peer name far1";
        ip(lab.host(), &format!("{pair} netns {}", neighbour.path()))?;
        for (namespace, bond, ports) in
            [(lab.host(), "bond0", PORTS), (&neighbour, "bond1", ["far0", "far1"])]
        {
            if !ip(namespace, &format!("link add {bond} type bond mode 802.3ad miimon 50 lacp_rate fast"))? {
                return Ok(None);
            }
            for port in ports {
                ip(namespace, &format!("link set {port} down"))?;
                ip(namespace, &format!("link set {port} master {bond}"))?;
            }
        }
        let operator = Operator::new(&lab)?;
        Ok(Some(Self { neighbour, operator, lab }))
    }

    /// Brings both bonds up and waits until they agree, each with the other.
    fn up(&self) -> Result<()> {
        for (namespace, bond, own) in [(self.lab.host(), "bond0", 1), (&self.neighbour, "bond1", 2)] {
            ip(namespace, &format!("link set {bond} up"))?;
            namespace.address(bond, &format!("203.0.113.{own}/24"))?;
            namespace.address(bond, &format!("2001:db8::{own}/64"))?;
        }
        for (namespace, bond, other, of) in [
            (self.lab.host(), "bond0", &self.neighbour, "bond1"),
            (&self.neighbour, "bond1", self.lab.host(), "bond0"),
        ] {
            let link: serde_json::Value =
                serde_json::from_str(&other.run("ip", &["-j", "link", "show", of])?)?;
            let address = link[0]["address"].as_str().context("a bond has an address")?;
            let partner = format!("ad_partner_mac {address}");
            let agrees = || {
                let told = namespace.run("ip", &["-d", "link", "show", bond]).expect("iproute2 answers");
                told.contains(&partner) && told.contains("ad_num_ports 2")
            };
            soon("the bonds agree", agrees);
        }
        Ok(())
    }

    #[track_caller]
    fn is_judged(&self, interfaces: &[&str]) -> Result<()> {
        self.up()?;
        let control: u64 = interfaces.iter().map(|name| self.operator.packets(name, "link-control")).sum();
        assert!(control > 0, "LACP passes, and is counted");
        let _servers = [serve(self.lab.host(), 1, &Ip::BOTH)?, serve(&self.neighbour, 2, &Ip::BOTH)?];
        expect_judged((&self.lab, &self.operator), &self.neighbour, interfaces, &Ip::BOTH);
        Ok(())
    }
}

/// Holds: policy 9, security always-safe.
#[test]
fn a_protected_bond_comes_up_and_is_judged() -> Result<()> {
    let Some(bonded) = Bonded::new()? else { return Ok(()) };
    bonded.operator.apply(&opened("bond0")).exits(0).prints("native XDP");
    let said = bonded.operator.run(&["doctor", PORTS[0]]).exits(3);
    said.prints("name `bond0` in the policy");
    bonded.is_judged(&["bond0"])
}

/// Holds: policy 9, security always-safe.
#[test]
fn a_bond_of_protected_ports_comes_up_and_is_judged() -> Result<()> {
    let Some(bonded) = Bonded::new()? else { return Ok(()) };
    bonded.operator.apply(&opened("port*")).exits(0).prints("port0: enforcing").prints("port1: enforcing");
    bonded.is_judged(&PORTS)?;
    // The bond takes no native program as long as its ports have some of their own.
    let said = bonded.operator.apply(&opened("bond0")).exits(0).prints("bond0: enforcing");
    said.prints("generic XDP").prints("port0: detached").prints("port1: detached");
    let _servers = [serve(bonded.lab.host(), 1, &Ip::BOTH)?, serve(&bonded.neighbour, 2, &Ip::BOTH)?];
    expect_judged((&bonded.lab, &bonded.operator), &bonded.neighbour, &["bond0"], &Ip::BOTH);
    Ok(())
}
