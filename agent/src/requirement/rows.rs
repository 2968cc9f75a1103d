//! Rows: one requirement or more out of a row with a port.
//!
//! In come a row and what is known about its table; out come requirements. Only the port that listens
//! opens: source ports become a note. Invariant: a row whose ports cannot be read becomes a diagnostic.

use super::cells::Cells;
use super::columns::Column;
use super::expression::Group;
use super::import::Import;
use super::names::{self, Name};
use super::statement::{Statement, report};
use super::subject::Subject;
use super::tables::{Context, Section, shown};
use super::{Diagnostic, Direction, Ports, action, flows, mentions};
use crate::document::{Cell, Row};

/// Cells that hold for the rows below them, where those leave them blank.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    pub(super) role: String,
}

/// Reads one row: once, or once for each direction that has port columns of its own.
pub(crate) fn read(
    row: &Row,
    context: &Context<'_>,
    section: &Section,
    subject: &Subject,
    carried: &mut Carried,
    import: &mut Import,
) {
    if action::forbids(row, context) {
        import.diagnostics.push(Diagnostic::new(row.line, &shown(row), action::FORBIDS));
        return;
    }
    let parts = flows::parts(row, context);
    if parts.is_empty() {
        read_part(row, context, section, subject, carried, import);
    }
    for part in &parts {
        read_part(part, context, section, subject, carried, import);
    }
}

/// Reads a row whose ports all go one way.
fn read_part(
    row: &Row,
    context: &Context<'_>,
    section: &Section,
    subject: &Subject,
    carried: &mut Carried,
    import: &mut Import,
) {
    let cells = Cells::of(row, context);
    if cells.expressions.iter().any(|read| action::denies(read, context.readings.words)) {
        import.diagnostics.push(Diagnostic::new(row.line, &shown(row), action::FORBIDS));
        return;
    }
    let mut statement = cells.statement(context, section, carried);
    let found = cells.groups(context, import);
    // `8/0` beside ICMP is no port 0.
    if found.is_empty() || !found.iter().all(Group::is_portless) {
        for expression in &cells.expressions {
            report(expression, row.line, || shown(row), import);
        }
    }
    for address in cells.addresses() {
        if statement.destination.is_empty() {
            statement.destination.clone_from(&address.host);
        }
        let purpose = [&statement.service, &statement.role]
            .into_iter()
            .find(|text| !text.is_empty())
            .cloned()
            .unwrap_or_default();
        for address in with_ports(address, &found) {
            let name = Name::new(row.line, address, purpose.clone());
            let mut of_row = import.names.iter().rev().take_while(|other| other.line == row.line);
            if !of_row.any(|other| *other == name) {
                import.names.push(name);
            }
        }
    }
    if statement.direction.is_none() {
        statement.direction = section.direction;
    }
    let peer = cells.text(Column::Peer);
    if !peer.is_empty() {
        match statement.direction.or(context.scope.direction) {
            Some(Direction::Inbound) if statement.source.is_empty() => statement.source = peer,
            Some(Direction::Outbound) if statement.destination.is_empty() => statement.destination = peer,
            _ => statement.notes.push(peer),
        }
    }
    if found.iter().all(|group| group.ports.is_empty() && group.protocols.is_empty()) {
        if cells.says_none && !cells.has_port_text {
            return;
        }
        let message = if cells.has_port_text {
            "no port can be read here: write `443`, `80, 443`, `5000-5100`, `any` or `dynamic`"
        } else if !mentions::of(&shown(row), context.readings).is_empty() {
            "the row's ports do not stand in their column: part its cells by tabs or bars"
        } else {
            "the row has no port: add it, or take the row out"
        };
        import.diagnostics.push(Diagnostic::new(row.line, &shown(row), message));
        return;
    }
    let Statement { source, destination, role, .. } = &statement;
    // What the ends say about the direction counts where no word does.
    let seen = by_role(role, source, destination).or_else(|| subject.direction(source, destination));
    let note = context.layout.purpose.and_then(|at| row.cells.get(at)).map(Cell::one_line);
    let qualifies = |note: &str| !context.readings.hints(note).flags.is_empty();
    let purpose = note.filter(|note| note.chars().count() <= PURPOSE && !qualifies(note));
    let first = import.requirements.len();
    statement.state(found, context.scope, context.readings, import);
    for requirement in &mut import.requirements[first..] {
        if let (true, Some(note)) = (requirement.service.is_empty(), &purpose) {
            requirement.service.clone_from(note);
        }
        if let (Direction::Unknown, Some(direction)) = (requirement.direction, seen) {
            requirement.direction = direction;
            requirement.inferred.push("direction".to_owned());
        }
    }
}

/// Longest note that names what its row is for, in characters.
const PURPOSE: usize = 80;
/// Most ports of a row that its addresses are said to have.
const ADDRESSED: usize = 8;

/// An address that states no port has those of its row, once for each.
fn with_ports(address: names::Address, groups: &[Group]) -> Vec<names::Address> {
    let ports = super::expression::unique(groups.iter().flat_map(|group| group.ports.iter().copied()));
    let single = |ports: &Ports| ports.range().filter(|range| range.width() == 1).map(super::PortRange::lo);
    let singles: Option<Vec<u16>> = ports.iter().map(single).collect();
    match singles {
        Some(singles) if address.port.is_none() && (1..=ADDRESSED).contains(&singles.len()) => {
            singles.into_iter().map(|port| names::Address { port: Some(port), ..address.clone() }).collect()
        }
        _ => vec![address],
    }
}

/// A role that one of the ends names is that end.
fn by_role(role: &str, source: &str, destination: &str) -> Option<Direction> {
    if role.is_empty() {
        return None;
    }
    let names = |end: &str| end.len() >= role.len() && end.contains(role);
    match (names(source), names(destination)) {
        (false, true) => Some(Direction::Inbound),
        (true, false) => Some(Direction::Outbound),
        _ => None,
    }
}
