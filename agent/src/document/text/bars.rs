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
    let (mut caption, mut columns) = (None, None);
    while open < at + 3 && lines.get(open).trim() != "|===" {
        let line = lines.get(open).trim();
        if let Some(attributes) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            columns = columns.or_else(|| width(attributes));
        } else {
            let text =
                line.strip_prefix('.').filter(|text| !text.starts_with(['.', ' ']) && !text.is_empty())?;
            caption = Some(inline::plain(text).text);
        }
        open += 1;
    }
    if lines.get(open).trim() != "|===" {
        return None;
    }
    let end = (open + 1..lines.len()).find(|&next| lines.get(next).trim() == "|===").unwrap_or(lines.len());
    let mut cells: Vec<(usize, String)> = vec![];
    let mut first_line = None;
    for next in open + 1..end {
        let line = lines.get(next);
        let mut parts = line.split('|');
        let before = parts.next().unwrap_or_default().trim();
        if let (Some((_, cell)), false) = (cells.last_mut(), before.is_empty() || is_specifier(before)) {
            cell.push('\n');
            cell.push_str(before);
        }
        cells.extend(parts.map(|part| (next, part.trim().to_owned())));
        if first_line.is_none() && !cells.is_empty() {
            first_line = Some((cells.len(), lines.is_blank(next + 1)));
        }
    }
    let (in_first_line, header) = first_line?;
    let columns = columns.unwrap_or(in_first_line).clamp(1, MAX_COLUMNS);
    let rows: Vec<Row> = cells
        .chunks(columns)
        .map(|row| Row {
            line: Lines::number(row[0].0),
            cells: row.iter().map(|(_, cell)| read(cell)).collect(),
        })
        .collect();
    let header_rows = (header && in_first_line == columns).then_some(1);
    let table = Table { line: Lines::number(open), caption, header_rows, rows };
    Some((vec![Block::Table(table)], end + 1))
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

/// What may stand before a bar: a span or a style, as `2+`, `.3+^`, `a`.
fn is_specifier(text: &str) -> bool {
    text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit() || b".+<>^*aehlmsdv".contains(&byte))
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
}
