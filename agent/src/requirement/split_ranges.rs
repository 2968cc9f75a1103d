//! Split ranges: a range whose ends stand in two columns, `Port from` and `Port to`.
//!
//! In come columns, their headers and the rows below; out come the same columns, the second of a pair
//! marked. Some vendors head source and destination ports alike, so the cells decide: a pair holds one
//! number each, or only the first, and never ends before it starts. Invariant: a pair stands side by
//! side.

use super::columns::{Column, spanning};
use super::fold::Folded;
use super::reading::Readings;
use super::vocabulary::RangeEnd;
use super::{PortRange, Ports};
use crate::document::{Cell, Row};

/// Marks the columns that hold the last ports of ranges.
pub(crate) fn pair(columns: &mut [Column], headers: &[String], body: &[Row], readings: &Readings) {
    let end = |at: usize| readings.words.range_ends.whole(Folded::new(&headers[at]).as_str());
    for first in 0..columns.len().saturating_sub(1) {
        let ends = (end(first), end(first + 1)) == (Some(RangeEnd::First), Some(RangeEnd::Last));
        if ends && holds_ranges(body, first, readings) {
            columns[first] = Column::Ports;
            columns[first + 1] = Column::LastPort;
        }
    }
}

/// The range that two cells state, as one text.
pub(crate) fn join(first: &str, last: &str, readings: &Readings) -> String {
    match (one(first, readings), one(last, readings)) {
        (Some(first), Some(last)) if first != last => format!("{}-{}", first.lo(), last.hi()),
        _ => first.to_owned(),
    }
}

fn holds_ranges(body: &[Row], first: usize, readings: &Readings) -> bool {
    let mut pairs = 0;
    for row in body.iter().filter(|row| spanning(row).is_none()) {
        let text = |at: usize| row.cells.get(at).map_or("", |cell: &Cell| cell.text.as_str());
        let (lo, hi) = (one(text(first), readings), one(text(first + 1), readings));
        match (lo, hi) {
            (Some(lo), Some(hi)) if lo.lo() <= hi.hi() => pairs += 1,
            (_, None) if empty(text(first + 1), readings) => {}
            _ => return false,
        }
    }
    pairs > 0
}

fn empty(text: &str, readings: &Readings) -> bool {
    text.trim().is_empty() || readings.ports(text).nothing
}

/// The only port of a cell.
fn one(text: &str, readings: &Readings) -> Option<PortRange> {
    match readings.complete(text)?.groups.as_slice() {
        [group] => match group.ports.as_slice() {
            [Ports::Range(range)] if range.lo() == range.hi() => Some(*range),
            _ => None,
        },
        _ => None,
    }
}
