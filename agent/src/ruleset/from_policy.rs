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

/// A documented row that opens nothing, and why.
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
        let openings = match openings(row.requirement, &binding.parameters) {
            Ok(openings) => openings,
            Err(why) => return self.silent.push(Silent { origin, why }),
        };
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
fn openings(row: &Requirement, parameters: &BTreeMap<String, PortRange>) -> Result<Vec<Opening>, Silence> {
    if row.protocols.is_empty() {
        return Err(Silence::NoProtocol);
    }
    let moved = row.parameter.as_ref().and_then(|parameter| parameters.get(&parameter.name));
    let ranges: Vec<PortRange> = match moved {
        Some(range) => vec![*range],
        None => row.ports.iter().filter_map(|ports| ports.range()).collect(),
    };
    let mut openings = Vec::new();
    for protocol in &row.protocols {
        match protocol {
            Protocol::Tcp => openings.extend(ranges.iter().copied().map(Opening::Tcp)),
            Protocol::Udp => openings.extend(ranges.iter().copied().map(Opening::Udp)),
            Protocol::Any => {
                openings.extend(ranges.iter().copied().map(Opening::Tcp));
                openings.extend(ranges.iter().copied().map(Opening::Udp));
            }
            Protocol::Ip(132) => openings.extend(ranges.iter().copied().map(Opening::Sctp)),
            Protocol::Ip(1) => openings.extend((0..=u8::MAX).map(Opening::Icmp)),
            Protocol::Ip(58) => openings.extend((0..=u8::MAX).map(Opening::Icmpv6)),
            Protocol::Ip(number) => openings.push(Opening::Protocol(*number)),
        }
    }
    if openings.is_empty() { Err(Silence::NoPort) } else { Ok(openings) }
}

#[cfg(test)]
mod tests {
    use super::{Catalog, rule_set};
    use crate::policy::Policy;

    /// A role with one row that names these protocols and ports.
    fn opened(protocols: &str, ports: &str) -> Vec<String> {
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
protocols = {protocols}
ports = {ports}
"#
        );
        let mut catalog = Catalog::default();
        catalog.add(Catalog::parse_system(&system, "core.toml").unwrap());
        let policy = "version = 1\n[[interface]]\nname = \"s1\"\nroles = [\"core/mme\"]\n";
        let policy = Policy::parse(policy, "policy.toml", &catalog).unwrap();
        let (rules, silent) = rule_set("policy.toml", &policy.interfaces[0], &catalog);
        assert_eq!(rules.rules.len() + silent.len(), 1);
        rules.rules.iter().flat_map(|rule| &rule.openings).map(ToString::to_string).collect()
    }

    /// Holds: policy 3.
    #[test]
    fn a_row_opens_its_ports_for_each_of_its_protocols() {
        let cases: [(&str, &str, &[&str]); 6] = [
            (r#"["ip132"]"#, r#"["36412", "36422-36423"]"#, &["sctp/36412", "sctp/36422-36423"]),
            (r#"["tcp", "ip132"]"#, r#"["3868"]"#, &["tcp/3868", "sctp/3868"]),
            (r#"["ip132"]"#, r#"["any"]"#, &["sctp/0-65535"]),
            (r#"["ip132"]"#, r#"["dynamic"]"#, &[]),
            (r#"["any"]"#, r#"["53"]"#, &["tcp/53", "udp/53"]),
            (r#"["ip47"]"#, "[]", &["ip47"]),
        ];
        for (protocols, ports, expected) in cases {
            assert_eq!(opened(protocols, ports), expected, "{protocols} {ports}");
        }
    }
}
