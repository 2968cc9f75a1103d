//! What rows and allows open that is neither TCP nor UDP, as commands write it.

use std::fs;

use anyhow::Result;
use portcullis_tests::{
    draft::{ether_types, interface, policy},
    lab::Lab,
    operator::{Operator, lab},
};

/// A document whose rows name ports of protocols whose ports are not read.
const DOCUMENT: &str = "\
# Media gateway

| Service | Protocol | Port |
| --- | --- | --- |
| Telemetry | DCCP | 5001 |
| Voice | UDP-Lite | 5002 |
| Video | TCP, DCCP | 5003 |
| Association | SCTP | 5004 |
";

/// What `plan` says would be open, in order.
fn open(operator: &Operator, path: &str) -> Vec<String> {
    let plan = operator.run(&["plan", "--json", path]).exits(3).json();
    let changes = plan["interfaces"][0]["changes"].as_array().unwrap_or_else(|| panic!("{plan:#}")).clone();
    let open = changes.iter().filter(|change| change["change"] != "closes");
    open.map(|change| change["what"].as_str().expect("text").to_owned()).collect()
}

/// Each of these rows once opened its whole protocol, and `check` said nothing.
///
/// Holds: policy 3.
#[test]
fn a_port_of_a_protocol_whose_ports_are_not_read_opens_nothing() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let _neighbour = lab.silent_neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let document = Lab::state().join("media.md");
    fs::write(&document, DOCUMENT)?;
    let imported = operator.run(&["import", document.to_str().expect("text")]).exits(0);
    fs::write(Lab::state().join("media.toml"), &imported.stdout)?;
    let path = Lab::state().join("gateway.toml");
    let roles = "catalog = [\"media.toml\"]\n[[interface]]\nname = \"edge0\"\nroles = [\"media-gateway/media-gateway\"]\n";
    fs::write(&path, format!("version = 1\n{roles}"))?;
    let path = path.to_str().expect("text");
    let said = operator.run(&["check", path]).exits(3);
    let said = said.prints("rows that open nothing of `dccp`: media-gateway:5, media-gateway:7 name ports");
    let said = said.prints("rows that open nothing of `udplite`: media-gateway:6 name ports");
    drop(said.prints("gateway.toml:4:8: warning: edge0").prints("`protocol = \"dccp\"` opens all of it"));
    assert_eq!(open(&operator, path), ["tcp/5003", "sctp/5004"]);
    Ok(())
}

#[test]
fn ether_types_are_written_as_standards_do() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let _neighbour = lab.silent_neighbour("edge0", "far0")?;
    let operator = Operator::new(&lab)?;
    let with = |types: &[&str]| policy(&[interface("edge0", &[ether_types("machines", types)])]);
    let both = operator.policy(&with(&["profinet", "0x88F7"]))?;
    assert_eq!(open(&operator, both.to_str().expect("text")), ["ethertype/0x8892", "ethertype/0x88f7"]);
    drop(operator.apply(&with(&["profinet", "0x88F7"])).exits(0));
    let counters = operator.counters("edge0").to_string();
    assert!(counters.contains(r#""opens":["ethertype/0x8892","ethertype/0x88f7"]"#), "{counters}");
    let one = operator.policy(&with(&["ptp"]))?;
    let said = operator.run(&["plan", one.to_str().expect("text")]).exits(3);
    drop(said.prints("closes  ethertype/0x8892").keeps_quiet_about("opens "));
    // A trial of a policy that names others: both share one list.
    let path = operator.policy(&with(&["lldp", "ptp"]))?;
    drop(operator.run(&["apply", "--confirm", "1h", path.to_str().expect("text")]).exits(0));
    drop(operator.run(&["rollback"]).exits(0));
    Ok(())
}
