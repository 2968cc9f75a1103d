//! AsciiDoc tables: `|===` around cells that each begin with a bar.
//!
//! In come lines; out comes a table. The cells of the first line tell the number of columns, unless
//! the attribute line above does (`[cols="1,2"]`); further cells fill row after row, on as many lines
//! as the author likes. Invariant: a row's line is the one of its first cell.

use super::{Block, Lines, Taken};
use crate::document::limits::MAX_COLUMNS;
use crate::document::{Cell, Row, Table, inline};

/// The table whose attributes, caption or opening `|===` stand at line `at`.
pub(super) fn table(lines: &Lines<'_>, at: usize) -> Taken {
    let mut open = at;
    let (mut caption, mut columns, mut options) = (None, None, false);
    while open < at + 3 && lines.get(open).trim() != "|===" {
        let line = lines.get(open).trim();
        if let Some(attributes) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            columns = columns.or_else(|| width(attributes));
            options |= attributes.contains("header");
        } else {
            let text =
                line.strip_prefix('.').filter(|text| !text.starts_with(['.', ' ']) && !text.is_empty())?;
            caption = Some(inline::plain(text).text.into_string());
        }
        open += 1;
    }
    if lines.get(open).trim() != "|===" {
        return None;
    }
    let end = (open + 1..lines.len()).find(|&next| lines.get(next).trim() == "|===").unwrap_or(lines.len());
    let mut cells: Vec<Source> = vec![];
    let mut first_line = None;
    for next in open + 1..end {
        let mut pieces = lines.get(next).split('|');
        let mut before = pieces.next().unwrap_or_default();
        let mut rest = pieces.peekable();
        let bars = rest.peek().is_some();
        let (text, mut span) = specifier(before, bars);
        if let (Some(cell), false) = (cells.last_mut(), text.trim().is_empty()) {
            cell.text.push('\n');
            cell.text.push_str(text.trim());
        }
        while let Some(piece) = rest.next() {
            let more = rest.peek().is_some();
            before = piece;
            let (text, following) = specifier(before, more);
            cells.push(Source { line: next, text: text.trim().to_owned(), span });
            span = following;
        }
        if first_line.is_none() && !cells.is_empty() {
            first_line = Some((cells.len(), lines.is_blank(next + 1)));
        }
    }
    let (in_first_line, header) = first_line?;
    let columns = columns.unwrap_or(in_first_line).clamp(1, MAX_COLUMNS);
    let rows = fill(cells, columns);
    let header_rows = (options || header && in_first_line == columns).then_some(1);
    let table = Table { line: Lines::number(open), caption, header_rows, rows };
    Some((vec![Block::Table(table)], end + 1))
}

/// A cell as it is written: where, what, and over how many columns and rows.
struct Source {
    line: usize,
    text: String,
    span: (usize, usize),
}

/// Puts cells into rows; cells that span take the places of those beside and below.
fn fill(cells: Vec<Source>, columns: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![];
    let mut hanging: Vec<Option<(Cell, usize)>> = vec![None; columns];
    let mut row = Row::default();
    for source in cells {
        hang(&mut row, &mut hanging, columns);
        if row.cells.len() >= columns {
            rows.push(std::mem::take(&mut row));
            hang(&mut row, &mut hanging, columns);
        }
        if row.line == 0 {
            row.line = Lines::number(source.line);
        }
        let cell = read(&source.text);
        let start = row.cells.len();
        for (beside, slot) in hanging.iter_mut().skip(start).take(source.span.0).enumerate() {
            let cell = Cell { from_left: beside > 0, ..cell.clone() };
            *slot = (source.span.1 > 1).then(|| (cell.clone(), source.span.1 - 1));
            row.cells.push(cell);
        }
    }
    hang(&mut row, &mut hanging, columns);
    if !row.cells.is_empty() {
        rows.push(row);
    }
    rows
}

/// Repeats the cells that hang down at the end of a row.
fn hang(row: &mut Row, hanging: &mut [Option<(Cell, usize)>], columns: usize) {
    while row.cells.len() < columns {
        let Some((cell, left)) = hanging[row.cells.len()].clone() else { break };
        hanging[row.cells.len()] = (left > 1).then(|| (cell.clone(), left - 1));
        row.cells.push(Cell { from_above: true, ..cell });
    }
}

/// The text before a bar, and the span that ends it where a bar follows: `2+`, `.3+^`, `a`.
fn specifier(text: &str, bar: bool) -> (&str, (usize, usize)) {
    let start = text.rfind(' ').map_or(0, |at| at + 1);
    let last = &text[start..];
    let valid = bar
        && !last.is_empty()
        && last.len() <= 8
        && last.bytes().all(|byte| byte.is_ascii_digit() || b".+*<>^aehlmsdv".contains(&byte))
        && (last.contains('+') || last.len() == 1);
    if !valid || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return (text, (1, 1));
    }
    let factor = last.split('+').next().unwrap_or_default();
    let (columns, rows) = factor.split_once('.').unwrap_or((factor, ""));
    let number = |digits: &str| digits.parse::<usize>().unwrap_or(1).clamp(1, MAX_COLUMNS);
    let spans = if last.contains('+') { (number(columns), number(rows)) } else { (1, 1) };
    (&text[..start], spans)
}

/// The number of columns that `cols=` states: `3*`, `1,2,2` or `"1,2"`.
fn width(attributes: &str) -> Option<usize> {
    let value = attributes.split_once("cols=")?.1.trim_start_matches('"');
    let value = value.split('"').next()?;
    if let Some((count, _)) = value.split_once('*') {
        return count.trim().parse().ok();
    }
    Some(value.split(',').count())
}

fn read(source: &str) -> Cell {
    let inline = inline::plain(source);
    Cell { text: inline.text, marks: inline.marks, ..Cell::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_fill_rows_whatever_their_lines() {
        let content = ".Ports\n[cols=\"1,1\"]\n|===\n|Role |Port\n\n|Web\n|443\n|Mail\nrelay |25\n|===\n";
        let lines = Lines(content.split('\n').collect());
        let (blocks, next) = table(&lines, 0).expect("a table");
        let Block::Table(table) = &blocks[0] else { panic!("a table") };
        let rows: Vec<(u32, Vec<String>)> =
            table.rows.iter().map(|row| (row.line, row.cells.iter().map(Cell::one_line).collect())).collect();
        let expected = [(4, ["Role", "Port"]), (6, ["Web", "443"]), (8, ["Mail relay", "25"])];
        assert_eq!(rows, expected.map(|(line, cells)| (line, cells.map(str::to_owned).to_vec())));
        assert_eq!((table.caption.as_deref(), table.header_rows, next), (Some("Ports"), Some(1), 10));
    }

    #[test]
    fn cells_may_span_rows_and_columns() {
        let content =
            "[cols=\"1,1\",options=\"header\"]\n|===\n|Protocol |Port\n.2+|TCP |443\n|80\n2+|other\n|===\n";
        let lines = Lines(content.split('\n').collect());
        let (blocks, _) = table(&lines, 0).expect("a table");
        let Block::Table(table) = &blocks[0] else { panic!("a table") };
        let rows: Vec<Vec<&str>> =
            table.rows.iter().map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect()).collect();
        assert_eq!(rows, [["Protocol", "Port"], ["TCP", "443"], ["TCP", "80"], ["other", "other"]]);
        assert_eq!(table.header_rows, Some(1));
    }
}
