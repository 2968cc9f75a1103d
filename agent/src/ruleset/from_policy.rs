//! One interface's policy and the catalog -> its rule set, and what an operator should know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::{
    catalog::{Catalog, RowView},
    policy::{Allow, Binding, Deployment, InterfacePolicy},
    requirement::{Direction, PortRange, Protocol, Requirement},
    ruleset::{DocumentOrigin, Identity, Opening, Origin, Rule, RuleSet, Way},
};

/// The rules of an interface, and the rows of its roles that open nothing.
///
/// A row that two roles share is one rule. On a host, a row opens its ports to what arrives unless its
/// document says that the role itself is the one who connects (outbound); that one opens them to what
/// leaves, if that is judged. On a gateway, a row opens its ports to the requests of clients that pass,
/// unless its document says that others connect to them (inbound).
#[must_use]
pub fn rule_set(file: &str, interface: &InterfacePolicy, catalog: &Catalog) -> (RuleSet, Vec<Silent>) {
    let mut builder = Builder::default();
    for allow in &interface.allows {
        builder.allow(file, allow);
    }
    for binding in &interface.bindings {
        // The policy was resolved against this catalog, so the role is there.
        let Ok(role) = catalog.role(&binding.role) else { continue };
        for row in role.requirements() {
            builder.row(interface, binding, &row);
        }
    }
    (RuleSet { rules: builder.rules }, builder.silent)
}

/// A documented row that opens nothing, or not all that it names, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// The row.
    pub origin: DocumentOrigin,
    /// Why it opens nothing.
    pub why: Silence,
}

/// Why a row opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The role itself connects to others, and leaving packets are not judged.
    Outbound,
    /// Others connect to the role, whose clients are behind this interface.
    Inbound,
    /// The port is picked while running, or stated elsewhere.
    NoPort,
    /// The document names no protocol.
    NoProtocol,
    /// It names ports of this IP protocol, which the kernel programs do not read: its packets are judged by the
    /// protocol alone, and to open that would open every port. What the row names of other protocols is open.
    UnreadPorts(u8),
}

#[derive(Default)]
struct Builder {
    rules: Vec<Rule>,
    silent: Vec<Silent>,
    /// Identities of rules and of silent rows.
    known: BTreeSet<Identity>,
    /// How many rows of each line were seen: one line may state several requirements.
    of_line: BTreeMap<String, usize>,
}

impl Builder {
    fn allow(&mut self, file: &str, allow: &Allow) {
        let origin =
            Origin::Policy { name: allow.name.clone(), file: file.to_owned(), line: allow.place.line };
        self.rules.push(Rule {
            identity: Identity(format!("allow/{}", allow.name)),
            origin,
            way: allow.way,
            openings: allow.openings.clone(),
            sources: allow.sources.clone(),
            destinations: allow.destinations.clone(),
            address: allow.address,
        });
    }

    fn row(&mut self, interface: &InterfacePolicy, binding: &Binding, row: &RowView<'_>) {
        let identity = self.identity(binding, row);
        if !self.known.insert(identity.clone()) {
            return;
        }
        let origin = origin(row);
        let Opened { openings, unread } = match opened(row.requirement, &binding.parameters) {
            Ok(opened) => opened,
            Err(why) => return self.silent.push(Silent { origin, why }),
        };
        let unread = unread.into_iter().map(Silence::UnreadPorts);
        let unread = unread.map(|why| Silent { origin: origin.clone(), why }).collect::<Vec<_>>();
        if openings.is_empty() {
            return self.silent.extend(unread);
        }
        let before = self.rules.len();
        let peers =
            |peer: Option<&str>| peer.and_then(|peer| binding.peers.get(peer)).cloned().unwrap_or_default();
        let (sources, destinations) = (peers(row.source_peer()), peers(row.destination_peer()));
        let direction = row.requirement.direction;
        let rule = |identity, way, sources, destinations| Rule {
            identity,
            origin: Origin::Document(origin.clone()),
            way,
            openings: openings.clone(),
            sources,
            destinations,
            address: binding.address,
        };
        match (interface.settings.deployment, direction) {
            // Requests of the clients, who play the role, pass to others.
            (Deployment::Gateway, Direction::Inbound) => {
                self.silent.push(Silent { origin, why: Silence::Inbound });
            }
            (Deployment::Gateway, _) => {
                self.rules.push(rule(identity, Way::Arriving, Vec::new(), destinations));
            }
            (Deployment::Host, Direction::Outbound) if interface.settings.outbound.is_some() => {
                self.rules.push(rule(leaving(&identity), Way::Leaving, Vec::new(), destinations));
            }
            (Deployment::Host, Direction::Outbound) => {
                self.silent.push(Silent { origin, why: Silence::Outbound });
            }
            (Deployment::Host, Direction::Both) if interface.settings.outbound.is_some() => {
                let out = rule(leaving(&identity), Way::Leaving, Vec::new(), destinations);
                self.rules.push(rule(identity, Way::Arriving, sources, Vec::new()));
                self.rules.push(out);
            }
            (Deployment::Host, Direction::Inbound | Direction::Both | Direction::Unknown) => {
                self.rules.push(rule(identity, Way::Arriving, sources, Vec::new()));
            }
        }
        if self.rules.len() > before {
            self.silent.extend(unread);
        }
    }

    /// `system/role@document:line`, with a number where a line states several requirements and with
    /// the address that the role is bound to.
    fn identity(&mut self, binding: &Binding, row: &RowView<'_>) -> Identity {
        let RowView { system, role, document, requirement, .. } = row;
        let bound = binding.address.map(|address: IpAddr| format!("@{address}")).unwrap_or_default();
        let base = format!("{}/{}@{}:{}{bound}", system.name, role.name, document.id, requirement.line);
        let count = self.of_line.entry(format!("{} {base}", binding.role)).or_default();
        *count += 1;
        Identity(if *count == 1 { base } else { format!("{base}#{count}") })
    }
}

fn origin(row: &RowView<'_>) -> DocumentOrigin {
    DocumentOrigin {
        system: row.system.name.clone(),
        role: row.role.name.clone(),
        service: row.requirement.service.clone(),
        application: row.requirement.application.clone(),
        document: row.document.id.clone(),
        line: row.requirement.line,
    }
}

/// The identity of a row's rule for leaving packets.
fn leaving(identity: &Identity) -> Identity {
    Identity(format!("{identity}/out"))
}

/// What a row opens, whoever it is addressed to.
struct Opened {
    openings: Vec<Opening>,
    /// Protocols of which it names ports that are not read.
    unread: Vec<u8>,
}

fn opened(row: &Requirement, parameters: &BTreeMap<String, PortRange>) -> Result<Opened, Silence> {
    if row.protocols.is_empty() {
        return Err(Silence::NoProtocol);
    }
    let moved = row.parameter.as_ref().and_then(|parameter| parameters.get(&parameter.name));
    let ranges: Vec<PortRange> = match moved {
        Some(range) => vec![*range],
        None => row.ports.iter().filter_map(|ports| ports.range()).collect(),
    };
    let names_all = ranges.iter().any(|range| range.is_whole());
    // Next to a protocol with ports, one without is not meant by them.
    let of_none = row.protocols.iter().all(|protocol| protocol.is_portless());
    let (mut openings, mut unread) = (Vec::new(), Vec::new());
    for protocol in &row.protocols {
        match *protocol {
            Protocol::Tcp => openings.extend(ranges.iter().copied().map(Opening::Tcp)),
            Protocol::Udp => openings.extend(ranges.iter().copied().map(Opening::Udp)),
            Protocol::Any => {
                openings.extend(ranges.iter().copied().map(Opening::Tcp));
                openings.extend(ranges.iter().copied().map(Opening::Udp));
            }
            Protocol::Ip(132) => openings.extend(ranges.iter().copied().map(Opening::Sctp)),
            Protocol::Ip(number) if !protocol.is_portless() && !names_all => {
                // Without any, the port is stated elsewhere, as with TCP.
                unread.extend((!ranges.is_empty()).then_some(number));
            }
            Protocol::Ip(number) if of_none && !ranges.is_empty() && !names_all => unread.push(number),
            Protocol::Ip(1) => openings.extend((0..=u8::MAX).map(Opening::Icmp)),
            Protocol::Ip(58) => openings.extend((0..=u8::MAX).map(Opening::Icmpv6)),
            Protocol::Ip(number) => openings.push(Opening::Protocol(number)),
        }
    }
    if openings.is_empty() && unread.is_empty() {
        Err(Silence::NoPort)
    } else {
        Ok(Opened { openings, unread })
    }
}

#[cfg(test)]
mod tests {
    use super::{Catalog, Way, rule_set};
    use crate::policy::Policy;

    /// What an interface with these keys opens by a role with one row of these keys, and why it opens nothing.
    fn outcome(keys: &str, row: &str) -> Vec<String> {
        let system = format!(
            r#"
schema = 1
system = "core"
title = "Core network"
[[document]]
id = "guide"
title = "Guide"
file = "guide.md"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[[document.table]]
name = "ports"
line = 3
[[role]]
name = "mme"
title = "MME"
[[role.requirement]]
document = "guide"
line = 5
table = "ports"
{row}
"#
        );
        let mut catalog = Catalog::default();
        catalog.add(Catalog::parse_system(&system, "core.toml").unwrap());
        let policy = format!("version = 1\n[[interface]]\nname = \"s1\"\nroles = [\"core/mme\"]\n{keys}\n");
        let policy = Policy::parse(&policy, "policy.toml", &catalog).unwrap();
        let (rules, silent) = rule_set("policy.toml", &policy.interfaces[0], &catalog);
        let openings = rules.rules.iter().flat_map(|rule| {
            let way = if rule.way == Way::Leaving { "out " } else { "" };
            rule.openings.iter().map(move |opening| format!("{way}{opening}"))
        });
        let silent = silent.iter().map(|row| format!("{:?}", row.why));
        openings.chain(silent).collect()
    }

    /// Holds: policy 3.
    #[test]
    fn a_row_opens_its_ports_for_each_of_its_protocols() {
        let cases: [(&str, &str, &[&str]); 19] = [
            (r#"["ip132"]"#, r#"["36412", "36422-36423"]"#, &["sctp/36412", "sctp/36422-36423"]),
            (r#"["tcp", "ip132"]"#, r#"["3868"]"#, &["tcp/3868", "sctp/3868"]),
            (r#"["ip132"]"#, r#"["any"]"#, &["sctp/0-65535"]),
            (r#"["ip132"]"#, r#"["dynamic"]"#, &["NoPort"]),
            (r#"["any"]"#, r#"["53"]"#, &["tcp/53", "udp/53"]),
            (r#"["ip47"]"#, "[]", &["ip47"]),
            // Ports that are not read open nothing: not the whole protocol.
            (r#"["ip33"]"#, r#"["5001"]"#, &["UnreadPorts(33)"]),
            (r#"["ip136"]"#, r#"["5002-5010", "6000"]"#, &["UnreadPorts(136)"]),
            (
                r#"["tcp", "ip33", "ip136"]"#,
                r#"["5001"]"#,
                &["tcp/5001", "UnreadPorts(33)", "UnreadPorts(136)"],
            ),
            (r#"["ip33"]"#, r#"["any"]"#, &["ip33"]),
            (r#"["ip136"]"#, r#"["1-65535"]"#, &["ip136"]),
            (r#"["ip33"]"#, r#"["dynamic"]"#, &["NoPort"]),
            (r#"["ip33"]"#, "[]", &["NoPort"]),
            (r#"["udp", "ip136"]"#, "[]", &["NoPort"]),
            // Ports of what has none.
            (r#"["ip47"]"#, r#"["1723"]"#, &["UnreadPorts(47)"]),
            (r#"["ip1"]"#, r#"["8"]"#, &["UnreadPorts(1)"]),
            (r#"["ip47"]"#, r#"["any"]"#, &["ip47"]),
            (r#"["udp", "ip50"]"#, r#"["500"]"#, &["udp/500", "ip50"]),
            (r#"["ip33", "ip50"]"#, r#"["500"]"#, &["ip50", "UnreadPorts(33)"]),
        ];
        for (protocols, ports, expected) in cases {
            let row = format!("protocols = {protocols}\nports = {ports}");
            assert_eq!(outcome("", &row), expected, "{protocols} {ports}");
        }
    }

    /// Holds: policy 3, policy 15.
    #[test]
    fn a_row_opens_nothing_whose_role_connects_or_whose_protocol_is_not_known() {
        let web = "protocols = [\"tcp\"]\nports = [\"443\"]";
        for direction in ["", "direction = \"inbound\"", "direction = \"both\""] {
            assert_eq!(outcome("", &format!("{direction}\n{web}")), ["tcp/443"], "{direction}");
        }
        let outbound = format!("direction = \"outbound\"\n{web}");
        assert_eq!(outcome("", &outbound), ["Outbound"]);
        // What it opens to what leaves, it opens to nothing that arrives.
        assert_eq!(outcome("outbound = \"enforce\"", &outbound), ["out tcp/443"]);
        assert_eq!(outcome("", "protocols = []\nports = [\"443\"]"), ["NoProtocol"]);
    }
}
