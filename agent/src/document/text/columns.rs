//! Aligned columns: text set apart by tabs or by two and more spaces.
//!
//! In come lines; out comes a table. The line with the most pieces names the columns, and a piece
//! belongs to the column below which most of it stands; a line that begins below a later column goes
//! on with the row above. Invariant: at least two neighbouring lines show the same columns.

use super::screen::Screen;
use super::{Block, Lines, Taken, list, quoted};
use crate::document::limits::{self, MAX_COLUMNS};
use crate::document::{Cell, Row, Table, inline};

/// The table that begins at line `at`.
pub(super) fn table(lines: &Lines<'_>, at: usize) -> Taken {
    let first = lines.get(at);
    if first.trim_start_matches(' ').contains('\t') && !first.trim_start_matches(' ').starts_with('\t') {
        return tabbed(lines, at);
    }
    if !first.contains("  ") && !first.contains('\u{3000}') {
        return None;
    }
    let header = Screen::new(first);
    let columns = header.segments();
    if !(2..=MAX_COLUMNS).contains(&columns.len()) || is_item(first) {
        return None;
    }
    let second = Screen::new(lines.get(at + 1));
    if second.segments().len() < 2
        || !shares_start(&columns, &second.segments())
        || is_item(lines.get(at + 1))
    {
        return None;
    }
    let mut rows: Vec<Row> = vec![];
    let mut next = at;
    while next < lines.len() {
        let line = lines.get(next);
        let screen = Screen::new(line);
        let segments = screen.segments();
        if segments.is_empty() {
            let follows = Screen::new(lines.get(next + 1)).segments();
            if follows.len() < 2 || !shares_start(&columns, &follows) {
                break;
            }
        } else if segments.len() == 1 && column_of(&columns, segments[0]) > 0 && segments[0].0 > 1 {
            continue_row(&mut rows, &screen, &columns, &segments);
        } else if segments.len() == 1
            && next > at
            && !shares_start(&columns, &Screen::new(lines.get(next + 1)).segments())
        {
            break;
        } else {
            rows.push(row(next, &screen, &columns, &segments));
        }
        next += 1;
    }
    (rows.len() >= 2).then(|| {
        (vec![Block::Table(Table { line: Lines::number(at), caption: None, header_rows: None, rows })], next)
    })
}

/// Lines with the same number of tabs, as a spreadsheet pastes them.
fn tabbed(lines: &Lines<'_>, at: usize) -> Taken {
    let mut rows = vec![];
    let mut next = at;
    while next < lines.len() {
        let line = lines.get(next);
        if !line.contains('\t') {
            let one_blank = line.trim().is_empty()
                && lines.get(next + 1).contains('\t')
                && !lines.get(next + 1).starts_with('\t');
            if !one_blank {
                break;
            }
        } else {
            rows.push(Row { line: Lines::number(next), cells: limits::columns(line.split('\t').map(cell)) });
        }
        next += 1;
    }
    (rows.len() >= 2).then(|| {
        (vec![Block::Table(Table { line: Lines::number(at), caption: None, header_rows: None, rows })], next)
    })
}

fn row(at: usize, screen: &Screen, columns: &[(usize, usize)], segments: &[(usize, usize)]) -> Row {
    let mut texts = vec![String::new(); columns.len()];
    for (index, &(start, end)) in segments.iter().enumerate() {
        let column = if segments.len() == columns.len() { index } else { column_of(columns, (start, end)) };
        let text = &mut texts[column];
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&screen.slice(start, end));
    }
    Row { line: Lines::number(at), cells: texts.iter().map(|text| cell(text)).collect() }
}

fn continue_row(rows: &mut [Row], screen: &Screen, columns: &[(usize, usize)], segments: &[(usize, usize)]) {
    let Some(row) = rows.last_mut() else { return };
    for &(start, end) in segments {
        if let Some(above) = row.cells.get_mut(column_of(columns, (start, end))) {
            above.text.push('\n');
            above.text.push_str(&inline::plain(&screen.slice(start, end)).text);
        }
    }
}

/// The column that a piece belongs to: the one it overlaps most, else the last that begins before it.
fn column_of(columns: &[(usize, usize)], (start, end): (usize, usize)) -> usize {
    let overlap = |&(from, to): &(usize, usize)| end.min(to).saturating_sub(start.max(from));
    let best =
        columns.iter().enumerate().max_by_key(|&(index, column)| (overlap(column), std::cmp::Reverse(index)));
    match best {
        Some((index, column)) if overlap(column) > 0 => index,
        _ => columns.iter().rposition(|&(from, _)| from <= start + 1).unwrap_or(0),
    }
}

/// Whether two lines have a column in common beyond the first.
fn shares_start(header: &[(usize, usize)], row: &[(usize, usize)]) -> bool {
    row.len() >= 2
        && (header.len() == row.len()
            || row[1..].iter().any(|&(start, end)| {
                header[1..].iter().any(|&(from, to)| start < to && from < end || start == from)
            }))
}

/// Bullets are followed by spaces too.
fn is_item(line: &str) -> bool {
    let mark = quoted(line).split([' ', '\t']).next().unwrap_or_default();
    matches!(mark, "#" | "##" | "###") || list::is_item(line)
}

fn cell(source: &str) -> Cell {
    let inline = inline::plain(source.trim());
    Cell { text: inline.text, marks: inline.marks, ..Cell::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_belong_to_the_column_above_them() {
        let cases: &[(&str, &[&[&str]])] = &[
            (
                "Service        Port  Protocol\nWeb            443   TCP\nName service         UDP\n                     and TCP\n",
                &[
                    &["Service", "Port", "Protocol"],
                    &["Web", "443", "TCP"],
                    &["Name service", "", "UDP\nand TCP"],
                ],
            ),
            ("Role\tPort\nWeb\t443\n\nMail\t25\n", &[&["Role", "Port"], &["Web", "443"], &["Mail", "25"]]),
            ("役割      ポート\n監視      161\n", &[&["役割", "ポート"], &["監視", "161"]]),
        ];
        for (content, expected) in cases {
            let lines = Lines(content.split('\n').collect());
            let (blocks, _) = table(&lines, 0).expect(content);
            let Block::Table(table) = &blocks[0] else { panic!("a table") };
            let rows: Vec<Vec<&str>> = table
                .rows
                .iter()
                .map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect())
                .collect();
            assert_eq!(&rows, expected);
        }
    }

    #[test]
    fn prose_is_no_table() {
        for content in ["One sentence.  Another one.\nAnd a third.", "-  first\n-  second", "only  one line"]
        {
            assert!(table(&Lines(content.split('\n').collect()), 0).is_none(), "{content}");
        }
    }
}
