//! Subjects: whom a table with two ends is about.
//!
//! In come the rows of a table with sources and destinations; out comes the party that all of them share, from
//! which their direction is seen. Invariant: a word for anybody is no party.

use std::collections::HashSet;

use super::Direction;
use super::columns::{Column, Layout};
use super::fold::Folded;
use super::reading::Readings;
use super::vocabulary::PortWord;
use crate::document::{Cell, Row};

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
    pub(super) fn direction(&self, source: &str, destination: &str) -> Option<Direction> {
        let subject = self.0.as_deref()?;
        match (source == subject, destination == subject) {
            (false, true) => Some(Direction::Inbound),
            (true, false) => Some(Direction::Outbound),
            _ => None,
        }
    }
}
