//! Rows: one requirement or more out of a row with a port.
//!
//! In come a row and what is known about its table; out come requirements. Only the port that listens
//! opens: source ports become a note. Invariant: a row whose ports cannot be read becomes a diagnostic.

use std::collections::HashSet;
use std::rc::Rc;

use super::columns::{Column, Layout};
use super::expression::{Expression, Group};
use super::fold::Folded;
use super::import::Import;
use super::names::{self, Name};
use super::reading::Readings;
use super::split_ranges;
use super::statement::{Statement, report};
use super::surroundings;
use super::tables::{Context, Section, shown};
use super::vocabulary::PortWord;
use super::{Diagnostic, Direction, Ports, Protocol, flows};
use crate::document::{Cell, Row};

/// Cells that hold for the rows below them, where those leave them blank.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    role: String,
}

/// Rows that must agree on it: two may do so by chance.
const ROWS: usize = 3;

/// The one party that every row of a table has at one of its ends: the table is about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject(Option<String>);

impl Subject {
    pub(crate) fn of(body: &[Row], layout: &Layout, readings: &Readings) -> Self {
        let (Some(source), Some(destination)) =
            (layout.position(Column::Source), layout.position(Column::Destination))
        else {
            return Self(None);
        };
        let text = |row: &Row, at: usize| row.cells.get(at).map(Cell::one_line).unwrap_or_default();
        let mut common: Option<HashSet<String>> = None;
        let mut rows = 0;
        for row in body.iter().filter(|row| {
            super::columns::spanning(row).is_none()
                && !text(row, source).is_empty()
                && !text(row, destination).is_empty()
        }) {
            rows += 1;
            let ends = HashSet::from([text(row, source), text(row, destination)]);
            common = Some(common.map_or(ends.clone(), |common| &common & &ends));
        }
        // In every row, and alone in that; anybody is no party.
        let any =
            |text: &String| readings.words.ports.whole(Folded::new(text).as_str()) == Some(PortWord::Any);
        let common: Vec<String> = common.unwrap_or_default().into_iter().filter(|text| !any(text)).collect();
        match (rows >= ROWS, &common[..]) {
            (true, [one]) => Self(Some(one.clone())),
            _ => Self(None),
        }
    }

    /// The direction of a row, seen from the subject.
    fn direction(&self, source: &str, destination: &str) -> Option<Direction> {
        let subject = self.0.as_deref()?;
        match (source == subject, destination == subject) {
            (false, true) => Some(Direction::Inbound),
            (true, false) => Some(Direction::Outbound),
            _ => None,
        }
    }
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
    let mut statement = cells.statement(context, section, carried);
    let found = cells.groups(context, import);
    for problem in &cells.expressions {
        report(problem, row.line, || shown(row), import);
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
    if found.iter().all(|group| group.ports.is_empty() && group.protocols.is_empty()) {
        let message = if cells.has_port_text {
            "no port can be read here: write `443`, `80, 443`, `5000-5100`, `any` or `dynamic`"
        } else {
            "the row has no port: add it, or take the row out"
        };
        import.diagnostics.push(Diagnostic::new(row.line, &shown(row), message));
        return;
    }
    let (source, destination, role) =
        (statement.source.clone(), statement.destination.clone(), statement.role.clone());
    let first = import.requirements.len();
    statement.state(found, context.scope, context.readings, import);
    // What the ends say about the direction counts where no word does.
    let seen = by_role(&role, &source, &destination).or_else(|| subject.direction(&source, &destination));
    for requirement in &mut import.requirements[first..] {
        if let (Direction::Unknown, Some(direction)) = (requirement.direction, seen) {
            requirement.direction = direction;
            requirement.inferred.push("direction".to_owned());
        }
    }
}

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
    match (source.contains(role), destination.contains(role)) {
        (false, true) => Some(Direction::Inbound),
        (true, false) => Some(Direction::Outbound),
        _ => None,
    }
}

/// The cells of a row by what their columns hold.
struct Cells<'a> {
    row: &'a Row,
    /// Kind, column and text, packed cells taken apart.
    cells: Vec<(Column, usize, String)>,
    /// Expressions that were read for ports and protocols.
    expressions: Vec<Rc<Expression>>,
    has_port_text: bool,
}

impl<'a> Cells<'a> {
    fn of(row: &'a Row, context: &Context<'_>) -> Self {
        let layout = context.layout;
        let mut cells = vec![];
        for (at, cell) in row.cells.iter().enumerate() {
            let last = layout.columns.get(at + 1).filter(|&next| *next == Column::LastPort);
            let last = last.and_then(|_| row.cells.get(at + 1));
            match layout.columns.get(at) {
                Some(Column::LastPort) => {}
                Some(Column::Ports) if let Some(last) = last => {
                    cells.push((
                        Column::Ports,
                        at,
                        split_ranges::join(&cell.text, &last.text, context.readings),
                    ));
                }
                Some(Column::Packed) => {
                    let kinds = layout.packed.get(at).map_or(&[][..], Vec::as_slice);
                    cells.extend(unpack(&cell.text, kinds).into_iter().map(|(kind, text)| (kind, at, text)));
                }
                Some(&kind) => cells.push((kind, at, cell.text.clone())),
                // More cells than columns: a bar inside of the last one broke it.
                None => cells.push((Column::Note, at, cell.text.clone())),
            }
        }
        let mut found = Self { row, cells, expressions: vec![], has_port_text: false };
        for (kind, _, text) in &found.cells {
            let read = match kind {
                Column::Ports | Column::TcpPorts | Column::UdpPorts => context.readings.ports(text),
                Column::Protocol => context.readings.protocols(text),
                _ => continue,
            };
            found.has_port_text |= *kind != Column::Protocol && !read.nothing && !text.trim().is_empty();
            found.expressions.push(read);
        }
        found
    }

    /// The first cell of a kind that is not blank, on one line.
    fn text(&self, kind: Column) -> String {
        let mut texts = self
            .cells
            .iter()
            .filter(|&&(column, ..)| column == kind)
            .map(|(_, _, text)| crate::document::collapse(text));
        texts.find(|text| !text.is_empty()).unwrap_or_default()
    }

    fn all(&self, kind: Column) -> impl Iterator<Item = (usize, &str)> {
        self.cells
            .iter()
            .filter(move |&&(column, ..)| column == kind)
            .map(|(_, at, text)| (*at, text.as_str()))
    }

    fn addresses(&self) -> Vec<names::Address> {
        let named = self.all(Column::Destination).filter(|(_, text)| names::is_address(text));
        self.all(Column::Url).chain(named).flat_map(|(_, text)| names::addresses(text)).collect()
    }

    fn statement(&self, context: &Context<'_>, section: &Section, carried: &mut Carried) -> Statement {
        let (layout, scope, words) = (context.layout, context.scope, context.readings.words);
        let has = |kind: Column| self.cells.iter().any(|&(column, ..)| column == kind);
        let parties = section.parties.clone().or_else(|| scope.parties.clone()).unwrap_or_default();
        let role = if has(Column::Role) {
            let own = self.text(Column::Role);
            if own.is_empty() {
                carried.role.clone()
            } else {
                carried.role.clone_from(&own);
                own
            }
        } else if let Some(role) = &section.role {
            role.clone()
        } else if has(Column::Source) && has(Column::Destination) {
            scope.captioned_role.clone().unwrap_or_default()
        } else if scope.parties.is_some() || section.parties.is_some() {
            String::new()
        } else {
            scope.captioned_role.clone().or_else(|| scope.heading_role.clone()).unwrap_or_default()
        };
        let or = |own: String, other: &str| if own.is_empty() { other.to_owned() } else { own };
        let flow = Folded::new(&self.text(Column::Direction));
        let stated = words.flow_cells.whole(flow.as_str());
        let stated = stated.into_iter().chain(
            stated
                .is_none()
                .then(|| words.flow_cells.find(&flow))
                .into_iter()
                .flatten()
                .map(|found| found.meaning),
        );
        let column_direction = layout.columns.iter().zip(&layout.directions).zip(&self.row.cells).find_map(
            |((column, direction), cell)| {
                (flows::holds_ports(column) && !cell.is_empty()).then_some(*direction).flatten()
            },
        );
        let mut statement = Statement {
            line: self.row.line,
            table: context.name.to_owned(),
            role,
            service: self.text(Column::Service),
            source: or(self.text(Column::Source), &parties.source),
            destination: or(self.text(Column::Destination), &parties.destination),
            direction: surroundings::direction_in(stated).or(column_direction),
            application: self.text(Column::Application),
            ..Statement::default()
        };
        if !statement.source.is_empty()
            && !statement.destination.is_empty()
            && !flow.as_str().is_empty()
            && !flow.as_str().contains(char::is_alphabetic)
        {
            follow_arrow(&mut statement);
        }
        self.qualify(&mut statement, context);
        statement
    }

    /// Notes, remarks, footnotes and source ports.
    fn qualify(&self, statement: &mut Statement, context: &Context<'_>) {
        let mut marks: Vec<String> =
            self.row.cells.iter().flat_map(|cell| cell.marks.iter().cloned()).collect();
        for (kind, _, text) in &self.cells {
            let line = crate::document::collapse(text);
            match kind {
                Column::Note | Column::Rule if !line.is_empty() => statement.notes.push(line),
                Column::Required => {
                    let folded = Folded::new(text);
                    if context.readings.words.answers.whole(folded.as_str()) == Some(false) {
                        statement.flags.push("optional");
                    }
                    statement.qualified.push_str(text);
                }
                Column::SourcePorts if !line.is_empty() => {
                    statement.notes.push(format!("source ports {line}"));
                }
                Column::Role | Column::Service => marks.extend(trailing_mark(&line)),
                Column::Ports | Column::TcpPorts | Column::UdpPorts | Column::Protocol => {
                    statement.qualified.push(' ');
                    statement.qualified.push_str(&line);
                }
                _ => {}
            }
        }
        for expression in &self.expressions {
            statement.notes.extend(expression.remarks.iter().cloned());
            marks.extend(expression.marks.iter().cloned());
        }
        let notes: Vec<String> = super::expression::unique(marks)
            .iter()
            .filter_map(|mark| context.footnotes.get(mark))
            .map(str::to_owned)
            .collect();
        statement.notes.extend(notes);
        statement.notes = super::expression::unique(std::mem::take(&mut statement.notes));
    }

    /// The groups of all columns with ports, protocols joined to them.
    fn groups(&self, context: &Context<'_>, import: &mut Import) -> Vec<Group> {
        let readings = context.readings;
        let protocol =
            self.all(Column::Protocol).map(|(_, text)| readings.protocols(text)).collect::<Vec<_>>();
        let mut groups: Vec<Group> = vec![];
        for (_, text) in self.all(Column::Ports) {
            let expression = readings.ports(text);
            groups.extend(with_protocols(
                &expression,
                text,
                &protocol,
                self.all(Column::Protocol).next().map_or("", |(_, text)| text),
                context,
            ));
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
        for group in
            groups.iter_mut().filter(|group| group.protocols.is_empty() && group.applications.is_empty())
        {
            group.protocols = super::expression::unique(sources.iter().flat_map(|source| source.protocols()));
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
        groups
    }

    /// What the row's text names where its columns of ports and protocols are blank: `VPN (ESP, IP protocol 50)`.
    fn portless(&self, readings: &Readings) -> Vec<Group> {
        let texts = [Column::Service, Column::Application].map(|kind| self.text(kind));
        let named = texts.iter().flat_map(|text| readings.ports(text).protocols());
        let protocols = super::expression::unique(named);
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

/// Between two ends an arrow tells which of them begins, and nothing about the role.
fn follow_arrow(statement: &mut Statement) {
    match statement.direction {
        Some(Direction::Inbound) => std::mem::swap(&mut statement.source, &mut statement.destination),
        Some(Direction::Outbound) => {}
        _ => return,
    }
    statement.direction = None;
}

/// The groups of a port cell, with what the protocol cell says about them.
fn with_protocols(
    ports: &Expression,
    text: &str,
    protocols: &[Rc<Expression>],
    protocol_text: &str,
    context: &Context<'_>,
) -> Vec<Group> {
    // Line by line, where both cells have the same number of lines.
    let lines: Vec<&str> = protocol_text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let paired =
        lines.len() > 1 && lines.len() == text.lines().filter(|line| !line.trim().is_empty()).count();
    let mut groups = vec![];
    for mut group in ports.groups.iter().cloned() {
        let stated: Vec<Rc<Expression>> = match lines.get(group.line) {
            Some(line) if paired => vec![context.readings.protocols(line)],
            _ => protocols.to_vec(),
        };
        let column = super::expression::unique(stated.iter().flat_map(|expression| expression.protocols()));
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
            group.applications =
                super::expression::unique(stated.iter().flat_map(|expression| expression.applications()));
        }
        groups.push(group);
    }
    groups
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

/// `a/b (c)/TCP/443` by its columns; what is too much belongs to those in the middle.
fn unpack(text: &str, kinds: &[Column]) -> Vec<(Column, String)> {
    let parts: Vec<&str> = text.split('/').map(str::trim).collect();
    if parts.len() < kinds.len() {
        // A part is missing: ports and protocols tell themselves.
        return vec![(Column::Ports, text.to_owned())];
    }
    let extra = parts.len() - kinds.len();
    let middle = usize::from(kinds.len() > 2);
    let mut unpacked = vec![];
    let mut at = 0;
    for (index, kind) in kinds.iter().enumerate() {
        let take = if index == middle { 1 + extra } else { 1 };
        unpacked.push((*kind, parts[at..at + take].join("/")));
        at += take;
    }
    unpacked
}

/// A dagger or star behind a name.
fn trailing_mark(text: &str) -> Option<String> {
    let name = text.trim_end_matches(['*', '†', '‡', '§']);
    (name.len() < text.len() && !name.is_empty()).then(|| text[name.len()..].to_owned())
}
