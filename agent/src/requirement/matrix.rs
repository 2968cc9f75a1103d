//! Matrices: tables whose columns are parties and whose cells are ports.
//!
//! In comes a row; out comes a requirement for each of its cells. A cell that spans several columns holds
//! for each of them; one that spans rows is stated where it begins. Invariant: a cell with text is a
//! requirement, an address, or a diagnostic.

use super::expression::Group;
use super::import::Import;
use super::names;
use super::statement::{Statement, report};
use super::tables::Context;
use super::{Diagnostic, Ports, action};
use crate::document::{Cell, Row};

/// Reads one row of a matrix.
pub(crate) fn read(row: &Row, context: &Context<'_>, transposed: bool, parties: bool, import: &mut Import) {
    let headers = &context.layout.headers;
    let label = row.cells.first().map(Cell::one_line).unwrap_or_default();
    for (at, cell) in row.cells.iter().enumerate().skip(1) {
        if cell.is_empty() || cell.from_above {
            continue;
        }
        let across = headers.get(at).cloned().unwrap_or_default();
        let expression = context.readings.ports(&cell.text);
        if action::denies(&expression, context.readings.words) {
            import.diagnostics.push(Diagnostic::new(row.line, &cell.text, action::FORBIDS));
            continue;
        }
        let mut statement = Statement {
            line: row.line,
            table: context.name.to_owned(),
            notes: notes(row, at, context),
            qualified: cell.one_line(),
            ..Statement::default()
        };
        statement.notes.extend(expression.remarks.iter().cloned());
        if parties {
            (statement.source, statement.destination) =
                if transposed { (across, label.clone()) } else { (label.clone(), across) };
        } else {
            (statement.role, statement.service) = (across, label.clone());
        }
        report(&expression, row.line, || cell.text.to_string(), import);
        let groups: Vec<Group> = expression
            .groups
            .iter()
            .filter(|group| !group.ports.is_empty() || !group.protocols.is_empty())
            .cloned()
            .collect();
        if !groups.is_empty() {
            statement.state(groups, context.scope, context.readings, import);
        } else if names::is_address(&cell.text) {
            // An address without a port: the matrix says that it is reached, not how.
            let end = if transposed { &mut statement.source } else { &mut statement.destination };
            *end = format!("{end}: {}", cell.one_line());
            statement.state(
                vec![Group { ports: vec![Ports::Unspecified], ..Group::default() }],
                context.scope,
                context.readings,
                import,
            );
        } else if !expression.nothing {
            import.diagnostics.push(Diagnostic::new(
                row.line,
                &cell.text,
                "no port can be read in this cell: write it as `443/TCP`",
            ));
        }
    }
}

/// The footnotes of the row's label and of one cell.
fn notes(row: &Row, at: usize, context: &Context<'_>) -> Vec<String> {
    let marks = row.cells.first().into_iter().chain(row.cells.get(at)).flat_map(|cell| &cell.marks);
    let read = context.readings.ports(row.cells.get(at).map_or("", |cell| cell.text.as_str()));
    marks.chain(&read.marks).filter_map(|mark| context.footnotes.get(mark)).map(str::to_owned).collect()
}
