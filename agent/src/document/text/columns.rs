//! Aligned columns: text set apart by tabs or by two and more spaces.
//!
//! In come lines; out comes a table. The line with the most pieces names the columns, and a piece
//! belongs to the column below which most of it stands; a line that begins below a later column goes
//! on with the row above. A rule as wide as the table is no row, and tells the header where it stands
//! below the first line, or above and below. Invariant: at least two neighbouring lines, rules left out,
//! show the same columns.

use super::screen::Screen;
use super::{Block, Lines, Taken, list, quoted};
use crate::document::limits::{self, MAX_COLUMNS};
use crate::document::{Cell, Row, Table, inline};

/// Most lines between the rules above and below a header.
const HEADER: usize = 4;
/// Marks of which rules are drawn.
const RULES: &str = "-=_─━═―";

/// The table that begins at line `at`.
pub(super) fn table(lines: &Lines<'_>, at: usize) -> Taken {
    let first = lines.get(at);
    if first.trim_start_matches(' ').contains('\t') && !first.trim_start_matches(' ').starts_with('\t') {
        return tabbed(lines, at);
    }
    let header = Header::at(lines, at)?;
    let columns = header.columns;
    let mut rows: Vec<Row> = vec![];
    let mut header_rows = None;
    let mut next = header.first;
    while next < lines.len() {
        let line = lines.get(next);
        if is_rule(line) {
            if next == header.rule {
                header_rows = Some(rows.len());
            }
            next += 1;
            continue;
        }
        let screen = Screen::new(line);
        let segments = screen.segments();
        if segments.is_empty() {
            let follows = Screen::new(lines.get(next + 1)).segments();
            if follows.len() < 2 || !shares_start(&columns, &follows) {
                break;
            }
        } else if segments.len() == 1
            && column_of(&columns, segments[0]) > 0
            && segments[0].0 > 1
            && header_rows.is_none_or(|header| rows.len() > header)
        {
            continue_row(&mut rows, &screen, &columns, &segments);
        } else if segments.len() == 1
            && next > header.rule
            && next > header.first
            && !shares_start(&columns, &Screen::new(lines.get(next + 1)).segments())
        {
            break;
        } else {
            rows.push(row(next, &screen, &columns, &segments));
        }
        next += 1;
    }
    (rows.len() >= 2).then(|| {
        let line = rows[0].line;
        (vec![Block::Table(Table { line, caption: None, header_rows, rows })], next)
    })
}

/// The lines that name the columns.
struct Header {
    /// The first of them.
    first: usize,
    /// The rule below them; the line before the first where there is none.
    rule: usize,
    /// Where the columns begin and end on the screen.
    columns: Vec<(usize, usize)>,
}

impl Header {
    /// The header whose first line, or the rule above it, stands at line `at`.
    fn at(lines: &Lines<'_>, at: usize) -> Option<Self> {
        let closed = is_rule(lines.get(at));
        let first = at + usize::from(closed);
        if !is_rule(lines.get(first + 1)) && !closed {
            let columns = Self::columns(lines.get(at))?;
            let second = lines.get(at + 1);
            let segments = Screen::new(second).segments();
            let shared = segments.len() >= 2 && shares_start(&columns, &segments) && !list::is_item(second);
            // `Port:   443` above `Protocol:   TCP`: labels and values, whatever their columns.
            let labels = is_labelled(lines.get(at), &columns) && is_labelled(second, &segments);
            return (shared && !labels).then_some(Self { first, rule: 0, columns });
        }
        let rule = (first + 1..=first + HEADER).find(|&below| is_rule(lines.get(below)))?;
        let columns = (first..rule).filter_map(|line| Self::columns(lines.get(line))).max_by_key(Vec::len)?;
        // Titles are underlined too: rows below the columns make it a table.
        let drawn = Screen::new(lines.get(rule)).segments();
        let wide = drawn.last()?.1 > columns.last()?.0;
        let below = |line: usize| {
            let segments = Screen::new(lines.get(line)).segments();
            let shared = segments.iter().filter(|&&piece| overlaps(&columns, piece)).count();
            !list::is_item(lines.get(line)) && shared >= 2
        };
        let rows = below(rule + 1) && (columns.len() > 2 || below(rule + 2));
        (wide && rows).then_some(Self { first, rule, columns })
    }

    /// The columns that a line names, if it can.
    fn columns(line: &str) -> Option<Vec<(usize, usize)>> {
        if !line.contains("  ") && !line.contains('\u{3000}') || is_item(line) {
            return None;
        }
        let columns = Screen::new(line).segments();
        (2..=MAX_COLUMNS).contains(&columns.len()).then_some(columns)
    }
}

/// Whether a line is a rule without gaps.
fn is_rule(line: &str) -> bool {
    let line = line.trim();
    let mark = line.chars().next().filter(|&mark| RULES.contains(mark));
    mark.is_some_and(|mark| line.chars().all(|c| c == mark)) && line.chars().nth(4).is_some()
}

/// Whether a line is a label and its value.
fn is_labelled(line: &str, pieces: &[(usize, usize)]) -> bool {
    pieces.len() == 2 && Screen::new(line).slice(pieces[0].0, pieces[0].1).ends_with([':', '：'])
}

/// Whether a piece stands below one of the columns.
fn overlaps(columns: &[(usize, usize)], (start, end): (usize, usize)) -> bool {
    columns.iter().any(|&(from, to)| start < to && from < end)
}

/// Lines with the same number of tabs, as a spreadsheet pastes them.
fn tabbed(lines: &Lines<'_>, at: usize) -> Taken {
    let mut rows = vec![];
    let mut header_rows = None;
    let mut next = at;
    while next < lines.len() {
        let line = lines.get(next);
        if is_rule(line) && lines.get(next + 1).contains('\t') {
            if rows.len() == 1 {
                header_rows = Some(1);
            }
        } else if !line.contains('\t') {
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
        (vec![Block::Table(Table { line: Lines::number(at), caption: None, header_rows, rows })], next)
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
    fn a_rule_is_no_row() {
        let header = "  Use            Port   Protocol";
        let rows =
            "  Web            443    TCP\n  Name service   53     UDP\n                        and TCP";
        for mark in ["-", "=", "_", "─", "━", "═"] {
            let rule = format!("  {}", mark.repeat(34));
            for content in [
                format!("{header}\n{rule}\n{rows}\n\nText."),
                format!("{rule}\n{header}\n{rule}\n{rows}\n{rule}\n\nText."),
            ] {
                let lines = Lines(content.split('\n').collect());
                let (blocks, next) = table(&lines, 0).expect(&content);
                let Block::Table(table) = &blocks[0] else { panic!("a table") };
                let rows: Vec<Vec<&str>> = table
                    .rows
                    .iter()
                    .map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect())
                    .collect();
                assert_eq!(
                    rows,
                    [
                        ["Use", "Port", "Protocol"],
                        ["Web", "443", "TCP"],
                        ["Name service", "53", "UDP\nand TCP"]
                    ],
                    "{content}"
                );
                assert_eq!((table.header_rows, lines.get(next)), (Some(1), ""), "{content}");
            }
        }
    }

    #[test]
    fn an_underlined_title_is_no_table() {
        for content in [
            "B.1  Flows\n==========\n\nUse  Port\nWeb  443\n",
            "B.1  Flows\n----------\nText below it.\n",
            "----------\nB.1  Flows\n----------\nText below  it.\n",
            "-----\n\nText",
        ] {
            assert!(table(&Lines(content.split('\n').collect()), 0).is_none(), "{content}");
        }
    }

    #[test]
    fn prose_is_no_table() {
        for content in [
            "One sentence.  Another one.\nAnd a third.",
            "-  first\n-  second",
            "only  one line",
            "Port:      443\nProtocol:  TCP\n",
        ] {
            assert!(table(&Lines(content.split('\n').collect()), 0).is_none(), "{content}");
        }
    }
}
