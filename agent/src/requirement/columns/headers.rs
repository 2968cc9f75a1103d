//! Headers: which rows of a table are none of its content, and what their words say.
//!
//! In comes a table; out come its title, its header rows, and the words of each header. Invariant: a row with a
//! port in full is no header unless the markup declares it to be one.

use super::Column;
use crate::document::{Row, Table};
use crate::requirement::fold::Folded;
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::Vocabulary;

/// Most rows above the header that can be titles.
const TITLES: usize = 4;

/// The titles that fill the first rows of a table, each a row.
pub(super) fn titles(table: &Table, readings: &Readings) -> Vec<String> {
    let wide = |row: &&Row| row.cells.len() > 1;
    let titles: Vec<String> = table.rows.iter().take(TITLES).take_while(wide).map_while(spanning).collect();
    // One row can be a title by itself; below several the header must stand.
    let headed = titles.len() > 1 && headers(table, titles.len(), readings) > 0;
    let count = if headed { titles.len() } else { titles.len().min(1) };
    if table.rows.len() < count + 2 { vec![] } else { titles.into_iter().take(count).collect() }
}

/// The text of a row that has only one: a cell over the whole width, or all others empty.
pub(crate) fn spanning(row: &Row) -> Option<String> {
    let mut filled = row.cells.iter().filter(|cell| !cell.is_empty());
    let first = filled.next()?;
    let same = filled.all(|cell| cell.from_left && cell.text == first.text);
    let leads = row.cells.first().is_some_and(|cell| !cell.is_empty());
    (same && leads).then(|| first.one_line())
}

/// How many rows from `start` on are headers.
pub(super) fn headers(table: &Table, start: usize, readings: &Readings) -> usize {
    if let Some(declared) = table.header_rows.filter(|&rows| rows > start) {
        let declared = declared.min(table.rows.len()) - start;
        return declared + below_header(table, start + declared);
    }
    let Some(row) = table.rows.get(start) else { return 0 };
    let mut known = 0;
    let mut filled = 0;
    for cell in row.cells.iter().filter(|cell| !cell.is_empty() && !cell.from_left) {
        if readings.complete(&cell.text).is_some_and(|expression| expression.has_numbers()) {
            return 0;
        }
        filled += 1;
        let words = column_words(&cell.text, readings.words);
        known += usize::from(words.iter().any(|&word| word != Column::Other));
    }
    let enough = known >= 2 || known == 1 && filled <= 2 || known * 2 >= filled.max(1) && known > 0;
    if enough { 1 + below_header(table, start + 1) } else { 0 }
}

/// Rows below a header whose cells hang down belong to it.
fn below_header(table: &Table, at: usize) -> usize {
    let hangs = |row: &Row| {
        row.cells.iter().any(|cell| cell.from_above)
            && table.rows[at - 1].cells.iter().any(|cell| cell.from_left)
    };
    usize::from(at > 0 && table.rows.get(at).is_some_and(hangs))
}

/// The header of a column: the texts of all header rows, each once.
pub(super) fn header_text(rows: &[Row], column: usize) -> String {
    let mut text = String::new();
    for cell in rows.iter().filter_map(|row| row.cells.get(column)) {
        let line = cell.one_line();
        if !line.is_empty() && !cell.from_above {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&line);
        }
    }
    text
}

/// What a header says about its column.
pub(super) fn column_words(header: &str, words: &Vocabulary) -> Vec<Column> {
    let folded = Folded::new(header);
    if let Some(word) = words.whole_columns.whole(folded.as_str()) {
        return vec![word];
    }
    let mut found: Vec<Column> = vec![];
    for phrase in words.columns.find(&folded) {
        if !found.contains(&phrase.meaning) {
            found.push(phrase.meaning);
        }
    }
    // `Port (since version 7)` is one of ports.
    if found.iter().any(|&word| word != Column::Other) {
        found.retain(|&word| word != Column::Other);
    }
    found
}
