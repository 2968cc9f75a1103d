//! Tunnels that the kernel makes, each between a protected host and its neighbour. Not every kernel has them.

use std::fs;

use anyhow::Result;
use portcullis_tests::{
    draft::{interface, policy},
    lab::{Lab, Namespace},
    operator::{Operator, lab},
    packet::Ip,
    programs::Programs,
};

use crate::{expect_judged, ip, opened, serve};

/// The way that the packets of tunnels take.
const OUTER4: &str = "198.51.100.";
const OUTER6: &str = "2001:db8:1::";

/// A host and its neighbour with a tunnel between them.
struct Tunnel {
    neighbour: Namespace,
    operator: Operator,
    lab: Lab,
}

impl Tunnel {
    /// Makes both ends by `line`, with the outer addresses of its own end and the other one for `OWN` and `OTHER`.
    /// `None` where that is not possible here.
    fn new(line: &str) -> Result<Option<Self>> {
        let Some(lab) = lab() else { return Ok(None) };
        let neighbour = lab.neighbour_in("under0", "far0", OUTER4, OUTER6)?;
        let outer = if line.contains('6') && !line.contains("sit") { OUTER6 } else { OUTER4 };
        for (namespace, name, own, other) in [(lab.host(), "tunnel0", 1, 2), (&neighbour, "tunnel1", 2, 1)] {
            let line =
                line.replace("OWN", &format!("{outer}{own}")).replace("OTHER", &format!("{outer}{other}"));
            if !ip(namespace, &format!("link add {name} {line}"))? {
                return Ok(None);
            }
        }
        let operator = Operator::new(&lab)?;
        Ok(Some(Self { neighbour, operator, lab }))
    }

    /// Brings both ends up, with addresses of these versions of IP.
    fn up(&self, versions: &[Ip]) -> Result<()> {
        for (namespace, name, own) in [(self.lab.host(), "tunnel0", 1), (&self.neighbour, "tunnel1", 2)] {
            namespace.run("ip", &["link", "set", name, "up"])?;
            for ip in versions {
                let bits = if *ip == Ip::V4 { 24 } else { 64 };
                namespace.address(name, &format!("{}/{bits}", ip.address(own)))?;
            }
        }
        Ok(())
    }

    /// Expects that what the tunnel carries is judged.
    #[track_caller]
    fn is_judged(&self, versions: &[Ip]) -> Result<()> {
        self.up(versions)?;
        let _servers = [serve(self.lab.host(), 1, versions)?, serve(&self.neighbour, 2, versions)?];
        self.operator.apply(&opened("tunnel0")).exits(0);
        expect_judged((&self.lab, &self.operator), &self.neighbour, &["tunnel0"], versions);
        Ok(())
    }

    /// Expects that a policy which names the tunnel is refused, and one that only covers it leaves it out.
    #[track_caller]
    fn is_refused(&self, why: &str) {
        self.operator.apply(&opened("tunnel0")).exits(1).complains("packets of `tunnel0` cannot be judged: ");
        let covered = policy(&[interface("under0", &[]), interface("tunnel*", &[])]);
        let said = self.operator.apply(&covered).exits(0).prints("under0: enforcing");
        said.prints(&format!(
            "tunnel0: left out, although a pattern covers it: its packets cannot be judged: {why}"
        ));
    }
}

/// Holds: policy 3, policy 7.
#[test]
fn ip_in_ip_is_judged() -> Result<()> {
    let Some(tunnel) = Tunnel::new("type ipip local OWN remote OTHER")? else { return Ok(()) };
    tunnel.is_judged(&[Ip::V4])
}

/// Holds: policy 3, policy 7.
#[test]
fn ipv6_in_ipv4_is_judged() -> Result<()> {
    let Some(tunnel) = Tunnel::new("type sit local OWN remote OTHER")? else { return Ok(()) };
    tunnel.is_judged(&[Ip::V6])
}

/// Holds: policy 3, policy 7.
#[test]
fn ip_in_ipv6_is_judged() -> Result<()> {
    let Some(tunnel) = Tunnel::new("type ip6tnl mode any local OWN remote OTHER")? else { return Ok(()) };
    tunnel.is_judged(&Ip::BOTH)
}

/// Holds: policy 3, policy 7.
#[test]
fn ethernet_in_gre_is_judged() -> Result<()> {
    let Some(tunnel) = Tunnel::new("type gretap local OWN remote OTHER")? else { return Ok(()) };
    tunnel.is_judged(&Ip::BOTH)
}

/// Holds: policy 3, policy 7.
#[test]
fn wireguard_is_judged() -> Result<()> {
    const PORT: &str = "51820";
    let Some(tunnel) = Tunnel::new("type wireguard")? else { return Ok(()) };
    let Some(programs) = Programs::find(&["wg"]) else { return Ok(()) };
    let wg = programs.path("wg").to_str().expect("text");
    let folder = tunnel.lab.folder("keys")?;
    let mut keys = Vec::new();
    for (namespace, name) in [(tunnel.lab.host(), "tunnel0"), (&tunnel.neighbour, "tunnel1")] {
        let file = folder.join(name);
        fs::write(&file, namespace.run(wg, &["genkey"])?)?;
        namespace
            .run(wg, &["set", name, "listen-port", PORT, "private-key", file.to_str().expect("text")])?;
        keys.push(namespace.run(wg, &["show", name, "public-key"])?.trim().to_owned());
    }
    for (namespace, name, key, other) in
        [(tunnel.lab.host(), "tunnel0", &keys[1], 2), (&tunnel.neighbour, "tunnel1", &keys[0], 1)]
    {
        let endpoint = format!("{OUTER4}{other}:{PORT}");
        let peer = ["peer", key, "endpoint", &endpoint, "allowed-ips", "0.0.0.0/0,::/0"];
        namespace.run(wg, &[&["set", name], &peer[..]].concat())?;
    }
    tunnel.is_judged(&Ip::BOTH)
}

#[test]
fn gre_is_refused() -> Result<()> {
    let Some(tunnel) = Tunnel::new("type gre local OWN remote OTHER")? else { return Ok(()) };
    tunnel.is_refused("it is a GRE interface");
    Ok(())
}

#[test]
fn gre_over_ipv6_is_refused() -> Result<()> {
    let Some(tunnel) = Tunnel::new("type ip6gre local OWN remote OTHER")? else { return Ok(()) };
    tunnel.is_refused("it is a GRE over IPv6 interface");
    Ok(())
}

#[test]
fn ipsec_is_refused() -> Result<()> {
    for line in ["type vti local OWN remote OTHER key 7", "type vti6 local OWN remote OTHER key 7"] {
        let Some(tunnel) = Tunnel::new(line)? else { return Ok(()) };
        tunnel.is_refused("it is an IPsec interface (vti)");
    }
    let Some(tunnel) = Tunnel::new("type xfrm dev lo if_id 7")? else { return Ok(()) };
    tunnel.is_refused("it is an IPsec interface (xfrm)");
    Ok(())
}
