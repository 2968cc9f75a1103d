//! Flows: rows with columns of their own for inbound and for outbound ports.
//!
//! In comes a row; out come its two halves, each with the ports of one direction, so that a port that
//! is only dialled is never opened. Invariant: every port of the row is in exactly one half.

use super::Direction;
use super::columns::Column;
use super::tables::Context;
use crate::document::{Cell, Row};

/// Whether a column of this kind holds ports that listen.
pub(super) fn holds_ports(column: &Column) -> bool {
    matches!(column, Column::Ports | Column::TcpPorts | Column::UdpPorts)
}

/// The halves of `row` that have ports; none where its columns do not part the directions.
pub(super) fn parts(row: &Row, context: &Context<'_>) -> Vec<Row> {
    let layout = context.layout;
    let flow = |at: usize| {
        let column = layout.columns.get(at)?;
        holds_ports(column).then(|| layout.directions.get(at).copied().flatten()).flatten()
    };
    let flows = [Direction::Inbound, Direction::Outbound];
    let parted = |direction: Direction| (0..layout.columns.len()).any(|at| flow(at) == Some(direction));
    if !flows.into_iter().all(parted) {
        return vec![];
    }
    let says = |&at: &usize| {
        row.cells.get(at).is_some_and(|cell| !cell.is_empty() && !context.readings.ports(&cell.text).nothing)
    };
    let mut parts: Vec<Row> = vec![];
    for direction in flows {
        if !(0..row.cells.len()).filter(|&at| flow(at) == Some(direction)).any(|at| says(&at)) {
            continue;
        }
        let first = parts.is_empty();
        let keeps = |at: usize| match flow(at) {
            Some(own @ (Direction::Inbound | Direction::Outbound)) => own == direction,
            // What belongs to neither direction is stated once.
            _ => {
                first || !layout.columns.get(at).is_some_and(|kind| holds_ports(kind) || *kind == Column::Url)
            }
        };
        let cell = |(at, cell): (usize, &Cell)| if keeps(at) { cell.clone() } else { Cell::default() };
        parts.push(Row { line: row.line, cells: row.cells.iter().enumerate().map(cell).collect() });
    }
    parts
}
