//! Pipe tables: rows of cells between `|`, as Markdown, wikis and database shells write them.
//!
//! In come lines; out comes a table. Vendors' rows break: delimiter rows are missing, outer pipes come
//! and go, a cell runs over several lines, a blank line stands between two rows. Invariant: a row
//! begins on the line whose number it carries, and no cell is dropped, however many a row has.

use super::{Block, Lines, Taken, quoted};
use crate::document::limits::columns;
use crate::document::{Cell, Row, Table, inline};

/// The table that begins at line `at`.
pub(super) fn table(lines: &Lines<'_>, at: usize) -> Taken {
    let first = quoted(lines.get(at));
    if !first.contains('|') || first.starts_with("||") && first.len() < 4 {
        return None;
    }
    if is_wiki_header(first) {
        return wiki(lines, at);
    }
    let delimited = is_delimiter(quoted(lines.get(at + 1)));
    let outer = first.starts_with('|');
    let second = quoted(lines.get(at + 1));
    let width = split(first).len();
    let begins = delimited
        || outer
            && width >= 2
            && (second.starts_with('|')
                || first.ends_with('|') && lines.is_blank(at + 1) && is_delimiter(quoted(lines.get(at + 2))))
        || !outer
            && width >= 2
            && first.contains(" | ")
            && split(second).len() == width
            && second.contains(" | ");
    if !begins || is_delimiter(first) && !second.contains('|') {
        return None;
    }
    let mut rows: Vec<(usize, String)> = vec![];
    let mut header_rows = None;
    let mut next = at;
    while next < lines.len() {
        let line = quoted(lines.get(next));
        if line.is_empty() {
            // Rows may go on after a blank line, if no new table begins there.
            let follows = quoted(lines.get(next + 1));
            let joins = outer && follows.starts_with('|') && !is_delimiter(quoted(lines.get(next + 2)));
            let headed = header_rows.is_none() && is_delimiter(follows);
            if !joins && !headed {
                break;
            }
        } else if is_delimiter(line) && (header_rows.is_none() || !is_of_dashes(line)) {
            if header_rows.is_none() {
                header_rows = Some(rows.len());
            }
        } else if outer && !line.starts_with('|') {
            // The rest of a cell that was broken over lines, unless the row before was complete.
            let Some((_, row)) = rows.last_mut() else { break };
            if is_row(line, row, width) {
                rows.push((next, line.to_owned()));
                next += 1;
                continue;
            }
            if row.trim_end().ends_with('|') && split(row).len() >= width
                || super::html_opening(line).is_some()
                || line.starts_with('#')
            {
                break;
            }
            row.push_str("<br>");
            row.push_str(line);
        } else if !line.contains('|') {
            break;
        } else {
            rows.push((next, line.to_owned()));
        }
        next += 1;
    }
    if rows.len() < 2 && header_rows.is_none() {
        return None;
    }
    let rows: Vec<Row> =
        rows.iter().map(|(at, row)| Row { line: Lines::number(*at), cells: cells(row) }).collect();
    let table = Table { line: Lines::number(at), caption: None, header_rows, rows };
    Some((vec![Block::Table(table)], next))
}

/// Whether a line that lost its first pipe is a row of its own: it has about as many cells as the header, and is not
/// what the row above lacks.
fn is_row(line: &str, above: &str, width: usize) -> bool {
    let cells = split(line).len();
    let completes = || {
        let above = split(above).len();
        above < width && above + cells - 1 == width
    };
    cells >= 2 && cells.abs_diff(width) <= 1 && !completes()
}

/// A header row as wikis write it: a double pipe before, between and behind its cells.
fn is_wiki_header(line: &str) -> bool {
    let inner = line.strip_prefix("||").and_then(|line| line.strip_suffix("||"));
    inner.is_some_and(|inner| {
        inner.contains("||") && !inner.split("||").any(|cell| cell.contains('|') || cell.trim().is_empty())
    })
}

/// A wiki's table: a double pipe opens a header cell, in the first row or at the left of any other;
/// a line that begins with no pipe goes on with the cell above.
fn wiki(lines: &Lines<'_>, at: usize) -> Taken {
    let mut rows: Vec<(usize, String)> = vec![];
    let mut next = at;
    while next < lines.len() && !lines.is_blank(next) {
        let line = quoted(lines.get(next));
        if line.starts_with('|') {
            if next > at && is_wiki_header(line) && rows.len() > 1 {
                break;
            }
            rows.push((next, line.replace("||", "|")));
        } else {
            match rows.last_mut() {
                Some((_, row)) if !row.ends_with('|') => {
                    row.push_str("<br>");
                    row.push_str(line);
                }
                _ => break,
            }
        }
        next += 1;
    }
    let rows =
        rows.iter().map(|(at, row)| Row { line: Lines::number(*at), cells: cells(row) }).collect::<Vec<_>>();
    let table = Table { line: Lines::number(at), caption: None, header_rows: Some(1), rows };
    (table.rows.len() > 1).then(|| (vec![Block::Table(table)], next))
}

/// A row that only draws the line under the header.
fn is_delimiter(line: &str) -> bool {
    line.contains('-')
        && line.len() >= 3
        && line.bytes().all(|byte| b"|:-+ \t=".contains(&byte))
        && line
            .split(['|', '+'])
            .filter(|part| !part.trim().is_empty())
            .all(|part| part.trim().trim_matches(':').bytes().all(|byte| byte == b'-' || byte == b'='))
        && (line.contains('|') || line.contains("-+-") || line.contains(" -"))
}

/// A row whose cells hold a dash or nothing: below the header's line, it says `none` in every column.
fn is_of_dashes(line: &str) -> bool {
    split(line).iter().all(|cell| matches!(cell.trim(), "-" | ""))
}

fn cells(row: &str) -> Vec<Cell> {
    columns(split(row).into_iter().map(|source| {
        let inline = inline::plain(source);
        Cell { text: inline.text, marks: inline.marks, ..Cell::default() }
    }))
}

/// The sources of a row's cells; a pipe behind a backslash or inside a code span belongs to its cell.
fn split(row: &str) -> Vec<&str> {
    let row = row.trim();
    let row = row.strip_prefix('|').unwrap_or(row);
    let mut parts = Vec::with_capacity(8);
    let (mut start, mut escaped) = (0, None);
    for at in memchr::memchr2_iter(b'|', b'\\', row.as_bytes()) {
        if escaped == Some(at) {
            continue;
        }
        if row.as_bytes()[at] == b'\\' {
            escaped = Some(at + 1);
        } else {
            parts.push(&row[start..at]);
            start = at + 1;
        }
    }
    if !row[start..].trim().is_empty() || parts.is_empty() {
        parts.push(&row[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(content: &str) -> Option<Vec<(u32, Vec<String>)>> {
        let lines = Lines(content.split('\n').collect());
        let (blocks, _) = table(&lines, 0)?;
        let Block::Table(table) = &blocks[0] else { return None };
        Some(
            table
                .rows
                .iter()
                .map(|row| (row.line, row.cells.iter().map(|cell| cell.text.to_string()).collect()))
                .collect(),
        )
    }

    #[test]
    fn reads_what_vendors_break() {
        type Case<'a> = (&'a str, &'a [(u32, &'a [&'a str])]);
        let cases: &[Case<'_>] = &[
            (
                "| Role | Port |\n|:-----|-----:|\n| Web | 443 |",
                &[(1, &["Role", "Port"]), (3, &["Web", "443"])],
            ),
            ("Role | Port\n--- | ---\nWeb | 443", &[(1, &["Role", "Port"]), (3, &["Web", "443"])]),
            (
                "|Role|Port|\n|Web|443|\n|Mail|25|",
                &[(1, &["Role", "Port"]), (2, &["Web", "443"]), (3, &["Mail", "25"])],
            ),
            (
                "|Role|Port|\n|---|---|\n|Web |TCP\n443|\n|Mail|25|",
                &[(1, &["Role", "Port"]), (3, &["Web", "TCP\n443"]), (5, &["Mail", "25"])],
            ),
            (
                "|Role|Port|\n|---|---|\n|Web|443|\n\n|Mail|25|",
                &[(1, &["Role", "Port"]), (3, &["Web", "443"]), (5, &["Mail", "25"])],
            ),
            (
                "|Role|Port|\n|-|-|\n|Web|443|\n|---|---|\n|-|-|",
                &[(1, &["Role", "Port"]), (3, &["Web", "443"]), (5, &["-", "-"])],
            ),
            (
                "|Role|Port|Use|\n|---|---|---|\n|Web|443|site\nMail|25|relay|\n Name|53 |any\n|Time|123\nUDP|clock|",
                &[
                    (1, &["Role", "Port", "Use"]),
                    (3, &["Web", "443", "site"]),
                    (4, &["Mail", "25", "relay"]),
                    (5, &["Name", "53", "any"]),
                    (6, &["Time", "123\nUDP", "clock"]),
                ],
            ),
            (" role | port \n------+------\n web  | 443", &[(1, &["role", "port"]), (3, &["web", "443"])]),
            (
                "|a\\|b|c|\n|---|---|\n|||\n|1|2|3|",
                &[(1, &["a|b", "c"]), (3, &["", ""]), (4, &["1", "2", "3"])],
            ),
        ];
        for (content, expected) in cases {
            let expected: Vec<_> = expected
                .iter()
                .map(|(line, cells)| (*line, cells.iter().map(|&cell| cell.to_owned()).collect()))
                .collect();
            assert_eq!(rows(content), Some(expected), "{content}");
        }
    }

    #[test]
    fn a_wiki_doubles_the_pipes_of_headers() {
        let content = "||Role||Port||\n||Web|443|\n|Mail\nrelay|25|\n";
        let expected = [(1, ["Role", "Port"]), (2, ["Web", "443"]), (3, ["Mail\nrelay", "25"])];
        let expected = expected.map(|(line, cells)| (line, cells.map(str::to_owned).to_vec()));
        assert_eq!(rows(content), Some(expected.to_vec()));
    }

    #[test]
    fn prose_with_a_pipe_is_no_table() {
        for content in ["use a | b\nto choose", "Get-Item | Select Name", "a || b"] {
            assert_eq!(rows(content), None, "{content}");
        }
    }
}
