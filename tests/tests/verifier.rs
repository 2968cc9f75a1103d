//! What the verifier has to do for the programs: far less than it is willing to, so that neither an
//! older kernel nor a later feature meets its limit.

use std::fs;

use anyhow::{Result, bail};
use portcullis::{
    compile::compile,
    datapath::{LinkType, LoadOptions, Role, SecondSet},
    policy::{Deployment, Enforcement, Settings},
};
use portcullis_tests::{
    judge::{self, Judge},
    lab::Lab,
    rules,
};

/// `BPF_COMPLEXITY_LIMIT_INSNS` of include/linux/bpf.h: instructions that the verifier follows at most.
const LIMIT: u32 = 1_000_000;

/// What a policy and an interface may ask for beside rules, as far as the programs differ by it.
fn settings() -> [(&'static str, Settings, LinkType); 5] {
    let host = Settings { dhcp: false, ..judge::settings() };
    let dhcp = judge::settings();
    let outbound = Settings { outbound: Some(Enforcement::Enforce), ..dhcp };
    let gateway = Settings { deployment: Deployment::Gateway, ..outbound };
    [
        ("host", host, LinkType::Ethernet),
        ("DHCP client", dhcp, LinkType::Ethernet),
        ("leaving too", outbound, LinkType::Ethernet),
        ("gateway", gateway, LinkType::Ethernet),
        ("gateway without Ethernet", gateway, LinkType::Ip),
    ]
}

/// Version of the running kernel.
fn kernel() -> Result<(u32, u32)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("the kernel calls itself {release}"),
    }
}

#[test]
fn the_verifier_has_little_to_do() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let joins = kernel()? >= (6, 3);
    let mut too_much = Vec::new();
    let everything = "tcp/22 udp/123 icmp/8 from 198.51.100.0/24 2001:db8:1::/48 at 203.0.113.1\n\
                      tcp/23 ip47 at 2001:db8::1";
    for (what, text) in [("no rule", ""), ("open ports", "tcp/22\n udp/123"), ("every feature", everything)] {
        for (kind, settings, link) in settings() {
            for (stage, role) in
                [("alone", None), ("trial", Some(Role::After(u64::MAX))), ("shadow", Some(Role::Shadow(128)))]
            {
                // Such a kernel refuses a shadow, which is a documented limit and takes it a minute each time;
                // and it is asked about the least and the most that there is.
                let is_extreme = (what, kind) == ("no rule", "host")
                    || what == "every feature" && kind.starts_with("gateway");
                if !joins && (stage == "shadow" || !is_extreme) {
                    println!("{what}, {kind}, {stage}: not loaded, as this kernel is older than Linux 6.3");
                    continue;
                }
                let rules = rules::parse(text);
                // Both sets need all that the rules need.
                let second = role.map(|role| -> Result<SecondSet> {
                    let tables = compile(&rules, &judge::slots(&rules))?.tables;
                    Ok(SecondSet { tables, settings, role })
                });
                let (second, routes) = (second.transpose()?, what == "every feature");
                let options = LoadOptions { link, routes, second, ..LoadOptions::with(settings) };
                let mut judge = Judge::new(&rules, &options)?;
                for (program, count) in judge.programs().verified_instructions()? {
                    println!("{program}, {what}, {kind}, {stage}: {count} of {LIMIT} instructions verified");
                    assert!(count > 0, "{program}: the kernel counts them since Linux 5.16");
                    // Before Linux 6.3 the verifier takes every number for precise in a program with functions,
                    // and joins far fewer paths (mark_reg_unknown in kernel/bpf/verifier.c). A shadow is
                    // followed behind each path that is left of the active set.
                    let room = if stage == "shadow" || !joins { LIMIT / 4 * 3 } else { LIMIT / 4 };
                    if count >= room {
                        too_much.push(format!("{program}, {what}, {kind}, {stage}: {count} of {LIMIT}"));
                    }
                }
            }
        }
    }
    assert!(too_much.is_empty(), "{too_much:#?}");
    Ok(())
}

/// Rules are data: the program that the verifier has followed is instruction by instruction as long.
///
/// Holds: security constant-cost, readme constant-cost.
#[test]
fn a_packet_costs_the_same_however_many_rules_there_are() -> Result<()> {
    let Some(_lab) = Lab::enter_as_root()? else { return Ok(()) };
    let verified = |count: u16| -> Result<[(&'static str, u32); 2]> {
        let ports: Vec<String> =
            (0..count).map(|n| format!("tcp/{} udp/{}", 20_000 + n, 20_000 + n)).collect();
        let mut judge = Judge::new(&rules::parse(&ports.join("\n")), &judge::options())?;
        Ok(judge.programs().verified_instructions()?)
    };
    assert_eq!(verified(1)?, verified(10_000)?);
    Ok(())
}
