//! Pairing: the ports of a row with the protocols that they go with.
//!
//! In come the cells of a row; out come groups of ports with their protocols, whichever column states which.
//! Invariant: what a port cell says about its own ports is never overruled by another column.

use std::rc::Rc;

use super::cells::Cells;
use super::columns::Column;
use super::expression::{Expression, Group, unique};
use super::fold::Folded;
use super::import::Import;
use super::reading::Readings;
use super::tables::{Context, shown};
use super::{Diagnostic, Ports, Protocol};

impl Cells<'_> {
    /// The groups of all columns with ports, protocols joined to them.
    pub(super) fn groups(&self, context: &Context<'_>, import: &mut Import) -> Vec<Group> {
        let readings = context.readings;
        let protocol =
            self.all(Column::Protocol).map(|(_, text)| readings.protocols(text)).collect::<Vec<_>>();
        let mut groups: Vec<Group> = vec![];
        // `Port | Protocol | Port | Protocol`: each column of ports has its own.
        let paired = protocol.len() > 1 && self.all(Column::Ports).count() == protocol.len();
        for (at, (_, text)) in self.all(Column::Ports).enumerate() {
            let of = if paired { at..at + 1 } else { 0..protocol.len() };
            let protocol_text = self.all(Column::Protocol).nth(of.start).map_or("", |(_, text)| text);
            let expression = readings.ports(text);
            let other = readings.ports(protocol_text);
            let (expression, text, stated, protocol_text) = if is_swapped(&expression, &other) {
                (other, protocol_text, vec![expression], text)
            } else {
                (expression, text, protocol[of].to_vec(), protocol_text)
            };
            groups.extend(with_protocols(&expression, text, &stated, protocol_text, context));
        }
        self.by_transport(context, &mut groups);
        if groups.iter().all(|group| group.ports.is_empty()) {
            // The protocol cell may hold the ports too, or a protocol that has none.
            let stated: Vec<Group> =
                protocol.iter().flat_map(|expression| &expression.groups).cloned().collect();
            let portless = |group: &Group| {
                group.ports.is_empty()
                    && !group.protocols.is_empty()
                    && group.protocols.iter().all(|protocol| matches!(protocol, Protocol::Ip(_)))
            };
            if groups.iter().any(portless) {
                groups.retain(portless);
            } else if stated.iter().any(|group| !group.ports.is_empty() || portless(group)) {
                groups =
                    stated.into_iter().filter(|group| !group.ports.is_empty() || portless(group)).collect();
            } else {
                groups = if self.has_port_text { vec![] } else { self.portless(readings) };
            }
        }
        let sources: Vec<Rc<Expression>> =
            self.all(Column::SourcePorts).map(|(_, text)| readings.ports(text)).collect();
        for group in groups.iter_mut().filter(|group| {
            group.protocols.is_empty() && group.applications.is_empty() && !sources.is_empty()
        }) {
            group.protocols = unique(sources.iter().flat_map(|source| source.named()));
        }
        for group in &groups {
            if group
                .ports
                .iter()
                .any(|ports| matches!(ports, Ports::Range(range) if range.lo() == 0 && range.hi() == 0))
            {
                import.diagnostics.push(Diagnostic::new(
                    self.row.line,
                    &shown(self.row),
                    "port 0 is reserved",
                ));
            }
        }
        stated(groups)
    }

    /// What the row's text names where its columns of ports and protocols are blank: `VPN (ESP, IP protocol 50)`.
    fn portless(&self, readings: &Readings) -> Vec<Group> {
        let texts = [Column::Service, Column::Application].map(|kind| self.text(kind));
        let named = texts.iter().flat_map(|text| readings.ports(text).protocols());
        let protocols = unique(named);
        let portless = !protocols.is_empty() && protocols.iter().all(|protocol| protocol.is_portless());
        if portless { vec![Group { protocols, ..Group::default() }] } else { vec![] }
    }

    /// Columns for TCP and for UDP: ports, or marks beside a column of ports.
    fn by_transport(&self, context: &Context<'_>, groups: &mut Vec<Group>) {
        let words = context.readings.words;
        let mut marked = vec![];
        for (kind, protocol) in [(Column::TcpPorts, Protocol::Tcp), (Column::UdpPorts, Protocol::Udp)] {
            for (_, text) in self.all(kind) {
                let expression = context.readings.ports(text);
                if expression.has_ports() && expression.has_numbers()
                    || expression.has_ports() && groups.is_empty()
                {
                    groups.extend(expression.groups.iter().filter(|group| !group.ports.is_empty()).map(
                        |group| {
                            let protocols = if group.protocols.is_empty() {
                                vec![protocol]
                            } else {
                                group.protocols.clone()
                            };
                            Group { protocols, ..group.clone() }
                        },
                    ));
                } else if words.answers.whole(Folded::new(text).as_str()) == Some(true) {
                    marked.push(protocol);
                }
            }
        }
        for group in groups.iter_mut().filter(|group| group.protocols.is_empty()) {
            group.protocols.clone_from(&marked);
        }
    }
}

/// Whether a transport stands where the ports should, and ports where it should: a row that lost or gained a cell.
fn is_swapped(ports: &Expression, protocol: &Expression) -> bool {
    let transport = ports.is_complete()
        && !ports.has_ports()
        && ports.named().next().is_some()
        && !ports.named().any(Protocol::is_portless);
    transport && protocol.is_complete() && protocol.has_numbers() && protocol.named().next().is_none()
}

/// The groups that state something; what only names an application names it for those that name none.
fn stated(groups: Vec<Group>) -> Vec<Group> {
    if groups.iter().all(|group| !group.ports.is_empty() || !group.protocols.is_empty()) {
        return groups;
    }
    let (mut stated, silent): (Vec<Group>, Vec<Group>) =
        groups.into_iter().partition(|group| !group.ports.is_empty() || !group.protocols.is_empty());
    let named = unique(silent.into_iter().flat_map(|group| group.applications));
    for group in stated.iter_mut().filter(|group| group.applications.is_empty()) {
        group.applications.clone_from(&named);
    }
    stated
}

/// The groups of a port cell, with what the protocol cell says about them.
fn with_protocols(
    ports: &Expression,
    text: &str,
    protocols: &[Rc<Expression>],
    protocol_text: &str,
    context: &Context<'_>,
) -> Vec<Group> {
    if let Some(assigned) = assigned(ports, protocols) {
        return assigned;
    }
    // Line by line, where both cells have the same number of lines.
    let filled = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).count();
    let paired =
        protocol_text.contains('\n') && filled(protocol_text) > 1 && filled(protocol_text) == filled(text);
    let mut groups = Vec::with_capacity(ports.groups.len());
    for mut group in ports.groups.iter().cloned() {
        let mut lines = protocol_text.lines().map(str::trim).filter(|line| paired && !line.is_empty());
        let of_line = lines.nth(group.line).map(|line| [context.readings.protocols(line)]);
        let stated = of_line.as_ref().map_or(protocols, |line| &line[..]);
        let column = unique(stated.iter().flat_map(|expression| expression.named()));
        // `22; 161/UDP` beside `TCP`: what names no protocol itself has the column's, if that is another one.
        let differs = !column.is_empty() && !group.protocols.iter().any(|protocol| column.contains(protocol));
        if differs && !group.protocols.is_empty() && !group.sharing.is_empty() {
            let (bare, named) = group.ports.iter().partition(|ports| group.sharing.contains(ports));
            groups.push(Group { ports: bare, protocols: column.clone(), ..Group::default() });
            group.ports = named;
            if group.ports.is_empty() {
                continue;
            }
        }
        if group.protocols.is_empty() {
            group.protocols = column;
            if stated.iter().any(|expression| expression.numbered) {
                number_protocols(&mut group);
            }
        }
        if group.applications.is_empty() {
            group.applications = unique(stated.iter().flat_map(|expression| expression.applications()));
        }
        groups.push(group);
    }
    groups
}

/// The ports of a cell by what `UDP (1718-1719), TCP (1720)` beside it says, if that tells for each of them.
fn assigned(ports: &Expression, protocols: &[Rc<Expression>]) -> Option<Vec<Group>> {
    let groups = protocols.iter().flat_map(|expression| &expression.groups);
    let stated = groups.filter(|group| !group.ports.is_empty() && !group.protocols.is_empty());
    if stated.clone().next().is_none() || ports.groups.iter().any(|group| !group.protocols.is_empty()) {
        return None;
    }
    let mut assigned: Vec<Group> = vec![];
    for group in &ports.groups {
        for &port in &group.ports {
            let range = port.range()?;
            let covers = |other: &Ports| other.range().is_some_and(|other| other.covers(range));
            let fitting = stated.clone().filter(|stated| stated.ports.iter().any(covers));
            let protocols = unique(fitting.flat_map(|stated| stated.protocols.clone()));
            if protocols.is_empty() {
                return None;
            }
            assigned.push(Group { protocols, ports: vec![port], ..group.clone() });
        }
    }
    (!assigned.is_empty()).then_some(assigned)
}

/// `50` beside `IP protocol` is the number of a protocol that has no ports.
fn number_protocols(group: &mut Group) {
    let number = |ports: &Ports| {
        let range = ports.range().filter(|range| range.width() == 1)?;
        u8::try_from(range.lo()).ok().map(super::expression::by_number)
    };
    let numbers: Option<Vec<Protocol>> = group.ports.iter().map(number).collect();
    if let Some(numbers) = numbers.filter(|numbers| numbers.iter().all(|protocol| protocol.is_portless())) {
        group.protocols = numbers;
        group.ports.clear();
    }
}
