//! Policy + the groups that this host has joined -> what of their traffic the policy drops.
//!
//! Who joins a group asks the network for its traffic, and gets it: queries arrive and reports leave. Whether it reaches
//! the host is a question of rules, as with all else.

use std::{collections::BTreeMap, net::IpAddr};

use portcullis_common::slot::Reason;

use super::{Finding, Kind, Severity};
use crate::{
    catalog::Catalog,
    host::{Groups, VRRP},
    policy::{Enforcement, InterfacePolicy, Policy, Settings},
    requirement::PortRange,
    ruleset::{Opening, RuleSet, Way, rule_set},
};

/// What is sent to groups that IANA has given to a protocol: name, groups, destinations.
const KNOWN: &[(&str, &[&str], &[Opening])] = &[
    ("OSPF", &["224.0.0.5", "224.0.0.6", "ff02::5", "ff02::6"], &[Opening::Protocol(89)]),
    ("RIP", &["224.0.0.9"], &[udp(520)]),
    ("RIPng", &["ff02::9"], &[udp(521)]),
    ("EIGRP", &["224.0.0.10", "ff02::a"], &[Opening::Protocol(88)]),
    ("PIM", &["224.0.0.13", "ff02::d"], &[Opening::Protocol(103)]),
    ("VRRP", &["224.0.0.18", "ff02::12"], &[Opening::Protocol(VRRP)]),
    ("mDNS", &["224.0.0.251", "ff02::fb"], &[udp(5353)]),
    ("LLMNR", &["224.0.0.252", "ff02::1:3"], &[udp(5355)]),
    ("NTP", &["224.0.1.1", "ff02::101", "ff05::101"], &[udp(123)]),
    ("PTP", &["224.0.1.129", "224.0.0.107", "ff0e::181", "ff02::6b"], &[udp(319), udp(320)]),
    ("DHCPv6", &["ff02::1:2", "ff05::1:3"], &[udp(547)]),
    ("SSDP", &["239.255.255.250", "ff02::c", "ff05::c"], &[udp(1900)]),
];

const fn udp(port: u16) -> Opening {
    Opening::Udp(PortRange::single(port))
}

/// What to know of a policy on this host.
#[must_use]
pub fn of_host(policy: &Policy, catalog: &Catalog, groups: &Groups) -> Vec<Finding> {
    let present: Vec<String> = groups.joined.keys().cloned().collect();
    let mut found = Vec::new();
    for interface in &policy.on(&present).interfaces {
        if interface.settings.mode != Enforcement::Enforce && interface.settings.outbound.is_none() {
            continue;
        }
        let (rules, _) = rule_set(&policy.file, interface, catalog);
        let mut add = |severity, kind, message| {
            let (name, place) = (interface.name.clone(), interface.place);
            found.push(Finding { severity, interface: name, place, kind, message });
        };
        if groups.speak_vrrp_on(&interface.name)
            && let Some(way) = drops_vrrp(&rules, &interface.settings)
        {
            add(Severity::Warning, Kind::Vrrp, vrrp(way));
        }
        if interface.settings.mode == Enforcement::Enforce
            && let Some(message) = closed(interface, &rules, groups)
        {
            add(Severity::Note, Kind::Groups, message);
        }
    }
    found
}

/// The way on which VRRP is dropped, that of other routers first. What it is limited to does not matter here: nobody
/// has said where the others are.
#[must_use]
pub fn drops_vrrp(rules: &RuleSet, settings: &Settings) -> Option<Way> {
    let is_judged = |way| match way {
        Way::Arriving => settings.mode == Enforcement::Enforce,
        Way::Leaving => settings.outbound == Some(Enforcement::Enforce),
    };
    let passes = |way| {
        settings.unreadable.accepts(Reason::UndocumentedProtocol)
            || rules
                .rules
                .iter()
                .any(|rule| rule.way == way && rule.openings.contains(&Opening::Protocol(VRRP)))
    };
    [Way::Arriving, Way::Leaving].into_iter().find(|way| is_judged(*way) && !passes(*way))
}

fn vrrp(way: Way) -> String {
    let (what, direction) = match way {
        Way::Arriving => ("nothing lets VRRP in: this host would not hear the other routers", ""),
        Way::Leaving => {
            ("nothing lets VRRP out: the other routers would not hear this host", ", `direction = \"out\"`")
        }
    };
    format!(
        "this host speaks VRRP here, and {what}, and two would be master; add an `[[interface.allow]]` with \
         `protocol = \"vrrp\"`{direction}"
    )
}

/// The groups whose traffic no rule admits, in one sentence.
fn closed(interface: &InterfacePolicy, rules: &RuleSet, groups: &Groups) -> Option<String> {
    let joined = groups.joined.get(&interface.name)?;
    let is_open = |group: IpAddr, opening: Opening| {
        rules.rules.iter().any(|rule| {
            rule.way == Way::Arriving
                && rule.address.is_none_or(|address| address == group)
                && rule.openings.iter().any(|open| holds(*open, opening))
        })
    };
    let (mut named, mut others): (BTreeMap<&str, Vec<String>>, Vec<String>) = Default::default();
    for group in joined {
        let text = group.to_string();
        match KNOWN.iter().find(|(_, groups, _)| groups.contains(&text.as_str())) {
            Some((_, _, openings)) if openings.iter().all(|opening| is_open(*group, *opening)) => {}
            // That it is spoken is told by itself.
            Some(("VRRP", ..)) if groups.has_vrrp => {}
            Some((name, ..)) => named.entry(name).or_default().push(text),
            None => others.push(text),
        }
    }
    let told = |(name, groups): (&&str, &Vec<String>)| {
        let openings =
            KNOWN.iter().filter(|(known, ..)| known == name).flat_map(|(_, _, openings)| *openings);
        let openings: Vec<String> = openings.map(ToString::to_string).collect();
        format!("{name} ({}) at {}", openings.join(", "), groups.join(", "))
    };
    let mut parts = Vec::new();
    if !named.is_empty() {
        let list: Vec<String> = named.iter().map(told).collect();
        parts.push(format!("nothing opens what is sent to {}", list.join("; ")));
    }
    if !others.is_empty() {
        parts.push(format!("datagrams to {} pass only where a rule opens their port", others.join(", ")));
    }
    (!parts.is_empty()).then(|| format!("this host has joined groups here: {}", parts.join("; ")))
}

/// Whether an opening holds all of another.
fn holds(open: Opening, other: Opening) -> bool {
    match (open, other) {
        (Opening::Udp(open), Opening::Udp(other)) => open.covers(other),
        (open, other) => open == other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What is said of a policy with these lines on a host that has joined these groups on eth0.
    fn told(lines: &str, joined: &[&str], has_vrrp: bool) -> Vec<String> {
        let joined: BTreeSet<IpAddr> =
            joined.iter().map(|group| group.parse().expect("an address")).collect();
        let groups = Groups { joined: BTreeMap::from([("eth0".to_owned(), joined)]), has_vrrp };
        let text = format!("version = 1\n[[interface]]\nname = \"eth*\"\n{lines}");
        let catalog = Catalog::default();
        let policy = Policy::parse(&text, "policy.toml", &catalog).unwrap_or_else(|error| panic!("{error}"));
        let found = of_host(&policy, &catalog, &groups);
        found.iter().map(|finding| format!("{} {}", finding.severity, finding.message)).collect()
    }

    fn allow(name: &str, keys: &str) -> String {
        format!("[[interface.allow]]\nname = \"{name}\"\n{keys}\n")
    }

    #[test]
    fn groups_are_named_whose_traffic_no_rule_admits() {
        let mdns = allow("mdns", "protocol = \"udp\"\nports = \"5000-5400\"");
        for (lines, joined, expected) in [
            (
                "",
                &["239.1.2.3"][..],
                "note this host has joined groups here: datagrams to 239.1.2.3 pass only where",
            ),
            (
                "",
                &["224.0.0.251", "ff02::fb"],
                "nothing opens what is sent to mDNS (udp/5353) at 224.0.0.251, ff02::fb",
            ),
            ("", &["224.0.1.129"], "PTP (udp/319, udp/320) at 224.0.1.129"),
            ("", &["224.0.0.5", "239.1.2.3"], "OSPF (ip89) at 224.0.0.5; datagrams to 239.1.2.3 pass"),
            // One of its two ports is not enough.
            (&allow("event", "protocol = \"udp\"\nports = 319"), &["224.0.1.129"], "PTP (udp/319, udp/320)"),
            // Out is not in.
            (
                &format!(
                    "outbound = \"enforce\"\n{}direction = \"out\"\n",
                    allow("mdns", "protocol = \"udp\"\nports = 5353")
                ),
                &["224.0.0.251"],
                "mDNS (udp/5353)",
            ),
            // A joined group is not yet VRRP that is spoken.
            ("", &["224.0.0.18"], "VRRP (ip112) at 224.0.0.18"),
        ] {
            let told = told(lines, joined, false);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(expected), "{told:?}");
        }
        assert_eq!(told(&mdns, &["224.0.0.251", "ff02::fb"], false), [""; 0]);
        assert_eq!(told("mode = \"observe\"\n", &["239.1.2.3"], true), [""; 0]);
        assert_eq!(told("", &[], false), [""; 0]);
    }

    #[test]
    fn vrrp_that_is_dropped_either_way_is_a_warning() {
        let into = allow("vrrp", "protocol = \"vrrp\"");
        let out = allow("vrrp-out", "protocol = \"vrrp\"\ndirection = \"out\"");
        let judged = "outbound = \"enforce\"\n";
        for (lines, expected) in [
            (String::new(), Some("nothing lets VRRP in")),
            (judged.to_owned(), Some("nothing lets VRRP in")),
            (format!("{judged}{into}"), Some("nothing lets VRRP out")),
            (format!("{judged}{out}"), Some("nothing lets VRRP in")),
            (into.clone(), None),
            (format!("{judged}{into}{out}"), None),
            ("unreadable = { undocumented-protocol = \"accept\" }\n".to_owned(), None),
        ] {
            let told = told(&lines, &["224.0.0.18"], true);
            match expected {
                Some(expected) => {
                    assert!(
                        told.len() == 1 && told[0].starts_with("warning") && told[0].contains(expected),
                        "{told:?}"
                    );
                }
                None => assert_eq!(told, [""; 0], "{lines}"),
            }
        }
    }
}
