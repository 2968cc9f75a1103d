//! Records: a table whose cells became lines, each led by a tab, as browsers paste tables into text.
//!
//! In come lines; out comes a table. A blank line ends a record, a tab begins a cell, and a line
//! without one goes on with the cell above. The first record names the columns. Invariant: a record's
//! line is the one of its first cell.

use super::{Block, Lines, Taken};
use crate::document::limits::{MAX_COLUMNS, columns};
use crate::document::{Cell, Row, Table, inline};

/// Records that may be unlike the others before it is asked whether this is a table at all.
const FEW: usize = 16;
/// Most lines of one record.
const LONGEST: usize = 2 * MAX_COLUMNS;

/// The table whose first record begins at line `at`.
pub(super) fn table(lines: &Lines<'_>, at: usize) -> Taken {
    let next = end(lines, at)?;
    let mut rows: Vec<Row> = vec![];
    let mut fresh = true;
    for number in at..next {
        let line = lines.get(number);
        if line.trim().is_empty() {
            fresh = true;
        } else if leads(line) {
            let cells = cells(line).map(cell);
            if fresh {
                rows.push(Row { line: Lines::number(number), cells: columns(cells) });
                fresh = false;
            } else if let Some(row) = rows.last_mut() {
                // One more than may be, so that the row is refused.
                let room = (MAX_COLUMNS + 1).saturating_sub(row.cells.len());
                row.cells.extend(cells.take(room));
            }
        } else if let Some(above) = rows.last_mut().and_then(|row| row.cells.last_mut()) {
            let inline = inline::plain(line);
            above.text.push('\n');
            above.text.push_str(&inline.text);
            above.marks.extend(inline.marks);
        }
    }
    Some((
        vec![Block::Table(Table { line: Lines::number(at), caption: None, header_rows: None, rows })],
        next,
    ))
}

/// The line behind the records that begin at line `at`, if they are a table. What is none is given up soon, since the
/// line behind is tried next.
fn end(lines: &Lines<'_>, at: usize) -> Option<usize> {
    if !leads(lines.get(at)) {
        return None;
    }
    let mut widths: Vec<usize> = vec![];
    let mut next = at;
    let mut begin = at;
    let mut fresh = true;
    while next < lines.len() {
        let line = lines.get(next);
        if line.trim().is_empty() {
            fresh = true;
            // Only another record goes on with the table.
            if !leads(lines.get(next + 1)) {
                break;
            }
        } else if leads(line) && fresh {
            let asked = widths.len() == 1 || widths.len() >= FEW && widths.len().is_power_of_two();
            if asked && !are_alike(&widths) {
                return None;
            }
            widths.push(cells(line).count());
            (begin, fresh) = (next, false);
        } else if leads(line) {
            *widths.last_mut()? += cells(line).count();
        }
        if next - begin > LONGEST || widths.len() == 1 && widths[0] > MAX_COLUMNS {
            return None;
        }
        next += 1;
    }
    // One indented paragraph is no table.
    (widths.len() >= 2 && are_alike(&widths)).then_some(next)
}

/// Whether most records have as many cells as the first one, and several.
fn are_alike(widths: &[usize]) -> bool {
    let shared = widths.iter().filter(|&&width| width == widths[0] && width >= 2).count();
    shared * 2 > widths.len()
}

/// The sources of the cells of a line that leads.
fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.trim_start_matches(' ').trim_start_matches('\t').split('\t')
}

/// Whether a line begins with a tab, as the first cell of a record or a further one.
fn leads(line: &str) -> bool {
    line.trim_start_matches([' ', '\u{a0}']).starts_with('\t') && !line.trim().is_empty()
}

fn cell(source: &str) -> Cell {
    let inline = inline::plain(source.trim());
    Cell { text: inline.text, marks: inline.marks, ..Cell::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_begin_cells_and_blank_lines_end_records() {
        let content =
            " \tFeature\n\tPort used\n\n\tSign-in \n\tTCP 80, 443 \nUDP 9\n\n\tVoice\n\tUDP 5004\n\n\nafter";
        let lines = Lines(content.split('\n').collect());
        let (blocks, next) = table(&lines, 0).expect("records");
        let Block::Table(table) = &blocks[0] else { panic!("a table") };
        let rows: Vec<(u32, Vec<&str>)> = table
            .rows
            .iter()
            .map(|row| (row.line, row.cells.iter().map(|cell| cell.text.as_str()).collect()))
            .collect();
        assert_eq!(
            rows,
            [
                (1, vec!["Feature", "Port used"]),
                (4, vec!["Sign-in", "TCP 80, 443\nUDP 9"]),
                (8, vec!["Voice", "UDP 5004"])
            ]
        );
        assert_eq!(lines.get(next + 1), "");
    }
}
