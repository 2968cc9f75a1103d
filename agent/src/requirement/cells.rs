//! Cells: what the cells of one row say, by what their columns hold.
//!
//! In come a row and its layout; out come its texts by kind and the [`Statement`] that they make, without ports.
//! Invariant: every cell of the row is under one kind, or under several where it packs several.

use std::borrow::Cow;
use std::rc::Rc;

use super::columns::Column;
use super::expression::Expression;
use super::fold::Folded;
use super::rows::Carried;
use super::statement::Statement;
use super::tables::{Context, Section};
use super::vocabulary::Vocabulary;
use super::{Direction, flows, names, split_ranges, title};
use crate::document::{Row, collapsed};

/// The cells of a row by what their columns hold.
pub(super) struct Cells<'a> {
    pub(super) row: &'a Row,
    /// Kind, column and text, packed cells taken apart.
    cells: Vec<(Column, usize, Cow<'a, str>)>,
    /// Expressions that were read for ports and protocols.
    pub(super) expressions: Vec<Rc<Expression>>,
    pub(super) has_port_text: bool,
    /// A cell says in words that there are no ports.
    pub(super) says_none: bool,
}

impl<'a> Cells<'a> {
    pub(super) fn of(row: &'a Row, context: &Context<'_>) -> Self {
        let layout = context.layout;
        let mut cells = Vec::with_capacity(row.cells.len());
        for (at, cell) in row.cells.iter().enumerate() {
            let last = layout.columns.get(at + 1).filter(|&next| *next == Column::LastPort);
            let last = last.and_then(|_| row.cells.get(at + 1));
            match layout.columns.get(at) {
                Some(Column::LastPort) => {}
                Some(Column::Ports) if let Some(last) = last => {
                    cells.push((
                        Column::Ports,
                        at,
                        Cow::Owned(split_ranges::join(&cell.text, &last.text, context.readings)),
                    ));
                }
                Some(Column::Packed) => {
                    let kinds = layout.packed.get(at).map_or(&[][..], Vec::as_slice);
                    cells.extend(
                        unpack(&cell.text, kinds)
                            .into_iter()
                            .map(|(kind, text)| (kind, at, Cow::Owned(text))),
                    );
                }
                Some(&kind) => cells.push((kind, at, Cow::Borrowed(cell.text.as_str()))),
                // More cells than columns: a bar inside of the last one broke it.
                None => cells.push((Column::Note, at, Cow::Borrowed(cell.text.as_str()))),
            }
        }
        let mut found = Self { row, cells, expressions: vec![], has_port_text: false, says_none: false };
        for (kind, _, text) in &found.cells {
            let read = match kind {
                Column::Ports | Column::TcpPorts | Column::UdpPorts => context.readings.ports(text),
                Column::Protocol => context.readings.protocols(text),
                _ => continue,
            };
            if *kind != Column::Protocol && !text.trim().is_empty() {
                let none = read.nothing || context.readings.words.answers.whole_of(text) == Some(false);
                found.has_port_text |= !none;
                found.says_none |= none && text.contains(char::is_alphabetic);
            }
            found.expressions.push(read);
        }
        found
    }

    /// The first cell of a kind that is not blank, on one line.
    pub(super) fn text(&self, kind: Column) -> String {
        let mut texts =
            self.cells.iter().filter(|&&(column, ..)| column == kind).map(|(_, _, text)| collapsed(text));
        texts.find(|text| !text.is_empty()).map(Cow::into_owned).unwrap_or_default()
    }

    pub(super) fn all(&self, kind: Column) -> impl Iterator<Item = (usize, &str)> {
        self.cells
            .iter()
            .filter(move |&&(column, ..)| column == kind)
            .map(|(_, at, text)| (*at, text.as_ref()))
    }

    pub(super) fn addresses(&self) -> Vec<names::Address> {
        let named = self.all(Column::Destination).filter(|(_, text)| names::is_address(text));
        self.all(Column::Url).chain(named).flat_map(|(_, text)| names::addresses(text)).collect()
    }

    pub(super) fn statement(
        &self,
        context: &Context<'_>,
        section: &Section,
        carried: &mut Carried,
    ) -> Statement {
        let (layout, scope, words) = (context.layout, context.scope, context.readings.words);
        let has = |kind: Column| self.cells.iter().any(|&(column, ..)| column == kind);
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
        let told = self.text(Column::Direction);
        // `Agent → Manager` beside the ports names both ends.
        let bare = told.is_empty() || has(Column::Source) || has(Column::Destination);
        let ends = if bare { None } else { title::parties(&told, words) };
        let flow = Folded::new(if ends.is_some() { "" } else { &told });
        let parties = ends.or_else(|| section.parties.clone()).or_else(|| scope.parties.clone());
        let parties = parties.unwrap_or_default();
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
            direction: title::direction_in(stated).or(column_direction).or_else(|| self.noted(words)),
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

    /// The direction that is all that a description or a note says: `Outgoing`.
    fn noted(&self, words: &Vocabulary) -> Option<Direction> {
        let texts = self.cells.iter().filter(|(kind, ..)| matches!(kind, Column::Service | Column::Note));
        let stated =
            |text: &str| words.flow_cells.whole_of(text).filter(|_| words.states.whole_of(text).is_none());
        title::direction_in(texts.filter_map(|(.., text)| stated(text)))
    }

    /// Notes, remarks, footnotes and source ports.
    fn qualify(&self, statement: &mut Statement, context: &Context<'_>) {
        let mut marks: Vec<String> =
            self.row.cells.iter().flat_map(|cell| cell.marks.iter().cloned()).collect();
        for (kind, _, text) in self.cells.iter().filter(|(_, _, text)| !text.trim().is_empty()) {
            let line = || collapsed(text);
            match kind {
                Column::Note | Column::Rule => statement.notes.push(line().into_owned()),
                Column::Required => {
                    let folded = Folded::new(text);
                    if context.readings.words.answers.whole(folded.as_str()) == Some(false) {
                        statement.flags.push("optional");
                    }
                    statement.qualified.push_str(text);
                }
                Column::SourcePorts => {
                    statement.notes.push(format!("source ports {}", line()));
                }
                Column::Role | Column::Service => {
                    let line = line();
                    marks.extend(trailing_mark(&line));
                    // The program beside its service: the second column of a kind says more, and names nothing.
                    let named = if *kind == Column::Role { &statement.role } else { &statement.service };
                    if line != named.as_str() {
                        statement.notes.push(line.into_owned());
                    }
                }
                Column::Ports | Column::TcpPorts | Column::UdpPorts | Column::Protocol => {
                    statement.qualified.push(' ');
                    statement.qualified.push_str(&line());
                }
                _ => {}
            }
        }
        for expression in &self.expressions {
            statement.notes.extend(expression.remarks.iter().cloned());
            marks.extend(expression.marks.iter().cloned());
        }
        super::expression::once(&mut marks);
        let notes = marks.iter().filter_map(|mark| context.footnotes.get(mark));
        statement.notes.extend(notes.map(str::to_owned));
        super::expression::once(&mut statement.notes);
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
