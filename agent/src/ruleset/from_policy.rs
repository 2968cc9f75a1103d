//! One interface's policy and the catalog -> its rule set, and what an operator should know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::{
    catalog::{Catalog, RowView},
    policy::{Allow, Binding, InterfacePolicy},
    requirement::{Direction, PortRange, Protocol, Requirement},
    ruleset::{DocumentOrigin, Identity, Opening, Origin, Rule, RuleSet},
};

/// The rules of an interface, and the rows of its roles that open nothing.
///
/// A row that two roles share is one rule. A row opens its ports unless its document says that the
/// role itself is the one who connects (outbound).
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
            builder.row(binding, &row);
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
    /// The role itself connects to others.
    Outbound,
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
            openings: allow.openings.clone(),
            sources: allow.sources.clone(),
            address: allow.address,
        });
    }

    fn row(&mut self, binding: &Binding, row: &RowView<'_>) {
        let identity = self.identity(binding, row);
        if !self.known.insert(identity.clone()) {
            return;
        }
        let origin = origin(row);
        match openings(row.requirement, &binding.parameters) {
            Ok(openings) => {
                let peers = row.source_peer().and_then(|peer| binding.peers.get(peer));
                let sources = peers.cloned().unwrap_or_default();
                let (origin, address) = (Origin::Document(origin), binding.address);
                self.rules.push(Rule { identity, origin, openings, sources, address });
            }
            Err(why) => self.silent.push(Silent { origin, why }),
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

/// What a row opens on the host that plays its role.
fn openings(row: &Requirement, parameters: &BTreeMap<String, PortRange>) -> Result<Vec<Opening>, Silence> {
    if row.direction == Direction::Outbound {
        return Err(Silence::Outbound);
    }
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
            Protocol::Ip(1) => openings.extend((0..=u8::MAX).map(Opening::Icmp)),
            Protocol::Ip(58) => openings.extend((0..=u8::MAX).map(Opening::Icmpv6)),
            Protocol::Ip(number) => openings.push(Opening::Protocol(*number)),
        }
    }
    if openings.is_empty() { Err(Silence::NoPort) } else { Ok(openings) }
}
