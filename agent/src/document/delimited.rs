//! CSV and TSV: records to one table.
//!
//! In comes text and the character between fields; out comes a document with one table, whose rows
//! know the line on which their record begins (a quoted field may hold line breaks). Invariant: a
//! record of any width is a row; nothing is skipped but blank lines.

use super::limits::{CellBudget, columns};
use super::{Block, Cell, Document, ReadError, Row, Table, inline};

/// Reads `content`, whose fields stand between `mark`.
pub(super) fn read(content: &str, mark: u8) -> Result<Document, ReadError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(mark)
        .has_headers(false)
        .flexible(true)
        // A tab file seldom quotes: there a quotation mark is text.
        .quoting(mark != b'\t' || content.matches('"').count().is_multiple_of(2))
        .from_reader(content.as_bytes());
    let mut budget = CellBudget::default();
    let mut rows = vec![];
    for record in reader.records() {
        let record = record.map_err(|error| ReadError::Delimited {
            line: error.position().map_or(0, csv::Position::line),
            message: error.to_string(),
        })?;
        let line = record.position().map_or(0, |position| begin(content, position));
        let cells = columns(record.iter().map(cell));
        budget.row(&cells, line)?;
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push(Row { line, cells });
        }
    }
    let line = rows.first().map_or(1, |row| row.line);
    let table = Table { line, caption: None, header_rows: None, rows };
    Ok(Document { title: None, blocks: vec![Block::Table(table)] })
}

/// The line of a record: its position is where the one before it ended, blank lines not yet skipped.
fn begin(content: &str, position: &csv::Position) -> u32 {
    let ended = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let blank = content
        .bytes()
        .skip(ended)
        .take_while(|byte| matches!(byte, b'\n' | b'\r'))
        .filter(|&byte| byte == b'\n')
        .count();
    u32::try_from(position.line())
        .unwrap_or(u32::MAX)
        .saturating_add(u32::try_from(blank).unwrap_or(u32::MAX))
}

fn cell(field: &str) -> Cell {
    let inline = inline::plain(field);
    Cell { text: inline.text, marks: inline.marks, ..Cell::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_beyond_the_last_column_is_refused_and_blank_fields_are_not() {
        let row = |fields: usize, last: &str| format!("Role{},{last}\nWeb,443\n", ",".repeat(fields - 2));
        let columns = |content: &str| match read(content, b',') {
            Ok(document) => match &document.blocks[..] {
                [Block::Table(table)] => Ok(table.rows[0].cells.len()),
                other => panic!("one table, not {other:?}"),
            },
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(columns(&row(1_000, "Port")), Ok(1_000));
        assert_eq!(columns(&row(5_000, "")), Ok(1_000));
        let message = "line 1: the row has more than 1000 columns: part the table into several";
        assert_eq!(columns(&row(1_001, "Port")), Err(message.to_owned()));
        assert_eq!(columns(&row(5_000, "Port")), Err(message.to_owned()));
    }

    #[test]
    fn rows_stand_on_the_line_where_their_record_begins() {
        let document = read("Role;Port\n\n\"Web\nserver\";443\nMail;25;note\n", b';').expect("valid");
        let Block::Table(table) = &document.blocks[0] else { panic!("a table") };
        let rows: Vec<_> =
            table.rows.iter().map(|row| (row.line, row.cells.len(), row.cells[0].text.as_str())).collect();
        assert_eq!(rows, [(1, 2, "Role"), (3, 2, "Web\nserver"), (5, 3, "Mail")]);
    }
}
