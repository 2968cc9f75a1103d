//! Actions: rows of a packet filter that forbid what they name.
//!
//! In come a row and its layout; out comes whether the row forbids. A rule that denies traffic requires none, so
//! that nothing it names may be opened. Invariant: a row with a word that denies in its column of actions, or as
//! all of a cell beside its ports, forbids.

use super::columns::Column;
use super::expression::Expression;
use super::fold::Folded;
use super::tables::Context;
use super::vocabulary::Vocabulary;
use crate::document::Row;

/// Longest cell whose words count one by one, in characters: more is a sentence.
const LONGEST: usize = 40;

/// What a person who wonders about such a row is told.
pub(super) const FORBIDS: &str = "the row forbids: nothing is required";

/// Whether a text allows (`true`) or denies, and says nothing else.
pub(super) fn of(text: &str, words: &Vocabulary) -> Option<bool> {
    words.actions.whole_of(text)
}

/// Whether the words of a short text allow or deny; one that denies weighs more.
pub(super) fn among(text: &str, words: &Vocabulary) -> Option<bool> {
    if text.chars().count() > LONGEST {
        return None;
    }
    let found = words.actions.find(&Folded::new(text));
    found.iter().map(|found| found.meaning).min()
}

/// Whether a cell denies the ports in it: `TCP 23: deny`.
pub(super) fn denies(expression: &Expression, words: &Vocabulary) -> bool {
    expression.remarks.iter().any(|remark| of(remark, words) == Some(false))
}

/// Whether `row` denies what it names.
pub(super) fn forbids(row: &Row, context: &Context<'_>) -> bool {
    let words = context.readings.words;
    let columns = context.layout.columns.iter().zip(&context.layout.actions);
    row.cells.iter().zip(columns).any(|(cell, (kind, header))| match kind {
        // `no` below `Allowed`, `yes` below `Blocked`.
        _ if header.is_some_and(|action| words.answers.whole_of(&cell.text) == Some(!action)) => true,
        Column::Action => among(&cell.text, words) == Some(false),
        // Names, and cells of which [`denies`] is asked when they were read.
        Column::Role
        | Column::Service
        | Column::Source
        | Column::Destination
        | Column::Ports
        | Column::TcpPorts
        | Column::UdpPorts
        | Column::Protocol => false,
        _ => of(&cell.text, words) == Some(false),
    })
}
