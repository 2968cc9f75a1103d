//! Every port of every documented role: the kernel's verdict is what the rows say.
//!
//! For each role of the catalog, each of the 65,536 ports, TCP and UDP, IPv4 and IPv6, the loaded
//! program judges a packet. What it should say is read off the rows here, without the compiler. No built-in
//! document names SCTP, so its ports are those of an allow.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use portcullis::{
    catalog::{Catalog, RowView},
    compile::compile,
    datapath::{LoadOptions, Programs},
    policy::Policy,
    requirement::{Direction, PortRange, Ports, Protocol},
    ruleset::rule_set,
};
use portcullis_common::slot::{FIRST_RULE, Reason, Slot};
use portcullis_tests::{
    lab::Lab,
    packet::{Frame, Ip},
};

/// XDP_DROP and XDP_PASS of include/uapi/linux/bpf.h.
const DROP: u32 = 1;
const PASS: u32 = 2;

/// Holds: policy 2, policy 3, policy 6, security closed.
#[test]
fn the_kernel_accepts_exactly_the_documented_ports_of_every_role() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let catalog = Catalog::builtin();
    let (mut roles, mut verdicts, mut accepted) = (0_u64, 0_u64, 0_u64);
    for system in catalog.systems() {
        for role in &system.roles {
            let name = format!("{}/{}", system.name, role.name);
            let mut variants = vec![BTreeMap::new()];
            variants.extend(Some(narrowed(&catalog, &name)?).filter(|narrowed| !narrowed.is_empty()));
            for parameters in variants {
                let counted = judge_every_port(&catalog, &name, &parameters).with_context(|| name.clone())?;
                roles += 1;
                verdicts += counted.verdicts;
                accepted += counted.accepted;
                let with = if parameters.is_empty() { "" } else { " with narrowed parameters" };
                println!("{name}{with}: {} verdicts, {} accepted", counted.verdicts, counted.accepted);
            }
        }
    }
    println!("{roles} roles and variants, {verdicts} verdicts, {accepted} accepted, all as documented");
    assert!(roles > 0, "the catalog has no roles");
    assert_eq!(verdicts, roles * 65_536 * 4);
    Ok(())
}

#[test]
fn the_kernel_accepts_exactly_the_open_sctp_ports() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let text = "version = 1\n[[interface]]\nname = \"edge0\"\n[[interface.allow]]\nname = \"signalling\"\n\
                protocol = \"sctp\"\nports = \"0,2905,9900-9999,36412,36422,65535\"\n";
    let is_open = |port: u16| matches!(port, 0 | 2905 | 9900..=9999 | 36412 | 36422 | 65535);
    let catalog = Catalog::builtin();
    let policy = Policy::parse(text, "policy.toml", &catalog)?;
    let (rules, _) = rule_set(&policy.file, &policy.interfaces[0], &catalog);
    let tables = compile(&rules, &[FIRST_RULE])?.tables;
    let mut programs = Programs::load(&tables, &LoadOptions::default(), None)?;
    for (transport, opens) in
        [(Frame::sctp as fn(Ip, u16) -> Frame, true), (Frame::syn, false), (Frame::udp, false)]
    {
        for ip in Ip::BOTH {
            let mut frame = transport(ip, 0).bytes();
            let at = destination_port_offset(ip);
            for port in 0..=u16::MAX {
                frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
                let expected = if opens && is_open(port) { PASS } else { DROP };
                assert_eq!(programs.judge(&frame, 1)?.0, expected, "port {port} over {ip:?}");
            }
        }
    }
    let totals = programs.totals(u32::from(FIRST_RULE) + 1)?;
    let counted = |slot| totals.of(slot).packets;
    assert_eq!(counted(FIRST_RULE), 2 * 105);
    assert_eq!(counted(Reason::UndocumentedSctp.slot()), 2 * (65_536 - 105));
    assert_eq!(totals.sum().packets, 6 * 65_536);
    Ok(())
}

struct Counted {
    verdicts: u64,
    accepted: u64,
}

/// Each parameter of a role, set to the lower half of its default.
fn narrowed(catalog: &Catalog, role: &str) -> Result<BTreeMap<String, PortRange>> {
    let mut parameters = BTreeMap::new();
    for row in catalog.role(role)?.requirements() {
        if let Some(parameter) = &row.requirement.parameter {
            let default: PortRange = parameter.default.parse()?;
            let half = PortRange::new(default.lo(), default.lo() + (default.hi() - default.lo()) / 2)?;
            parameters.insert(parameter.name.clone(), half);
        }
    }
    Ok(parameters)
}

fn judge_every_port(
    catalog: &Catalog,
    role: &str,
    parameters: &BTreeMap<String, PortRange>,
) -> Result<Counted> {
    let values: Vec<String> =
        parameters.iter().map(|(name, range)| format!("{name} = \"{range}\"")).collect();
    let text = format!(
        "version = 1\n[[interface]]\nname = \"edge0\"\nroles = [\"{role}\"]\nparameters = {{ {} }}\n",
        values.join(", ")
    );
    let policy = Policy::parse(&text, "policy.toml", catalog)?;
    let (rules, _) = rule_set(&policy.file, &policy.interfaces[0], catalog);
    let slots: Vec<Slot> = (FIRST_RULE..).take(rules.rules.len()).collect();
    let compiled = compile(&rules, &slots)?;
    let mut programs = Programs::load(&compiled.tables, &LoadOptions::default(), None)?;

    let view = catalog.role(role)?;
    let rows = view.requirements();
    let mut counted = Counted { verdicts: 0, accepted: 0 };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let documented = documented_ports(&rows, protocol, parameters);
        for ip in Ip::BOTH {
            let mut frame = match protocol {
                Protocol::Tcp => Frame::syn(ip, 0).bytes(),
                _ => Frame::udp(ip, 0).bytes(),
            };
            let at = destination_port_offset(ip);
            for port in 0..=u16::MAX {
                frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
                let expected = if documented[usize::from(port)] { PASS } else { DROP };
                let (action, _) = programs.judge(&frame, 1)?;
                assert_eq!(action, expected, "{role}: {protocol} port {port} over {ip:?}");
                counted.verdicts += 1;
                counted.accepted += u64::from(action == PASS);
            }
        }
    }
    let end = u32::from(FIRST_RULE) + u32::try_from(rules.rules.len())?;
    let totals = programs.totals(end)?;
    let of_rules: u64 = slots.iter().map(|slot| totals.of(*slot).packets).sum();
    assert_eq!(totals.sum().packets, counted.verdicts, "{role}: each packet is counted once");
    assert_eq!(of_rules, counted.accepted, "{role}: each accepted packet is counted under a rule");
    Ok(counted)
}

/// The ports that some row opens to others, read off the rows one by one.
fn documented_ports(
    rows: &[RowView<'_>],
    protocol: Protocol,
    parameters: &BTreeMap<String, PortRange>,
) -> Vec<bool> {
    let mut open = vec![false; 65_536];
    for row in rows {
        let row = row.requirement;
        let speaks_of_it = row.protocols.iter().any(|named| *named == protocol || *named == Protocol::Any);
        if row.direction == Direction::Outbound || !speaks_of_it {
            continue;
        }
        if let Some(range) = row.parameter.as_ref().and_then(|parameter| parameters.get(&parameter.name)) {
            open[usize::from(range.lo())..=usize::from(range.hi())].fill(true);
            continue;
        }
        for ports in &row.ports {
            match ports {
                Ports::Range(range) => open[usize::from(range.lo())..=usize::from(range.hi())].fill(true),
                Ports::Any => open.fill(true),
                Ports::Beyond { lo, .. } => open[usize::from(*lo)..].fill(true),
                Ports::Dynamic | Ports::Unspecified => {}
            }
        }
    }
    open
}

/// Where the destination port stands in a frame without tags and options.
fn destination_port_offset(ip: Ip) -> usize {
    const ETHERNET: usize = 14;
    let header = match ip {
        Ip::V4 => 20,
        Ip::V6 => 40,
    };
    ETHERNET + header + 2
}
