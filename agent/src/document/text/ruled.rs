//! Tables with rules: columns marked by a line of `====  ====` or `----  ----`.
//!
//! In come lines; out comes a table. reST puts a rule above and below the header and after the last
//! row; pandoc and shells put one below the header. The rule's groups tell where columns begin; the
//! last column reaches to the end of its line. Invariant: only a rule of at least two groups counts.

use super::screen::Screen;
use super::{Block, Lines, Taken};
use crate::document::limits::MAX_COLUMNS;
use crate::document::{Cell, Row, Table, inline};

/// The table whose first rule or header stands at line `at`.
pub(super) fn table(lines: &Lines<'_>, at: usize) -> Taken {
    let starts = rule(lines.get(at));
    let (starts, first, closed) = match starts {
        // reST: rule, header, rule, rows, rule.
        Some(starts) => (starts, at + 1, true),
        None => (rule(lines.get(at + 1))?, at, false),
    };
    let mut rows: Vec<Row> = vec![];
    let mut header_rows = None;
    let mut next = first;
    while next < lines.len() {
        let line = lines.get(next);
        if rule(line).is_some() {
            next += 1;
            if header_rows.is_none() && !rows.is_empty() {
                header_rows = Some(rows.len());
                continue;
            }
            break;
        }
        if line.trim().is_empty() {
            // Inside of reST's rules a blank line only parts rows.
            if !closed
                || header_rows.is_none()
                || !(next + 1..lines.len().min(next + 200)).any(|after| rule(lines.get(after)).is_some())
            {
                break;
            }
        } else {
            push(&mut rows, next, line, &starts, header_rows);
        }
        next += 1;
    }
    if rows.len() < 2 {
        return None;
    }
    Some((vec![Block::Table(Table { line: rows[0].line, caption: None, header_rows, rows })], next))
}

/// Adds a line: a row, or the rest of the row above where its first column is empty.
fn push(rows: &mut Vec<Row>, at: usize, line: &str, starts: &[usize], header_rows: Option<usize>) {
    let screen = Screen::new(line);
    let cells: Vec<Cell> = starts
        .iter()
        .enumerate()
        .map(|(index, &start)| {
            let end = starts.get(index + 1).copied().unwrap_or(usize::MAX);
            let inline = inline::plain(screen.slice(start, end).trim());
            Cell { text: inline.text, marks: inline.marks, ..Cell::default() }
        })
        .collect();
    let body = header_rows.is_none_or(|count| rows.len() > count);
    if let (true, true, Some(above)) = (cells[0].is_empty(), body && !rows.is_empty(), rows.last_mut()) {
        for (above, cell) in above.cells.iter_mut().zip(cells) {
            if !cell.is_empty() {
                above.text.push('\n');
                above.text.push_str(&cell.text);
                above.marks.extend(cell.marks);
            }
        }
        return;
    }
    rows.push(Row { line: Lines::number(at), cells });
}

/// Where the columns of a rule begin.
fn rule(line: &str) -> Option<Vec<usize>> {
    let text = line.trim();
    let mark = text.chars().next().filter(|&mark| "=-─━═".contains(mark))?;
    if text.len() < 5 || !text.chars().all(|c| c == mark || c == ' ' || c == '\t') {
        return None;
    }
    let screen = Screen::new(line);
    let starts: Vec<usize> = (0..screen.len())
        .filter(|&column| screen.at(column) != ' ' && (column == 0 || screen.at(column - 1) == ' '))
        .collect();
    (2..=MAX_COLUMNS).contains(&starts.len()).then_some(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rules_of_rest_and_of_shells() {
        for content in [
            "====  =====  ====\nRole  Port   Note\n====  =====  ====\nWeb   443    the\n             site\nMail  25\n====  =====  ====\n",
            "Role  Port   Note\n----  -----  ----\nWeb   443    the\n             site\nMail  25\n\nEnd",
        ] {
            let lines = Lines(content.split('\n').collect());
            let (blocks, _) = table(&lines, 0).expect("a table");
            let Block::Table(table) = &blocks[0] else { panic!("a table") };
            let rows: Vec<Vec<&str>> = table
                .rows
                .iter()
                .map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect())
                .collect();
            assert_eq!(
                rows,
                [vec!["Role", "Port", "Note"], vec!["Web", "443", "the\nsite"], vec!["Mail", "25", ""]],
                "{content}"
            );
            assert_eq!(table.header_rows, Some(1));
        }
    }
}
