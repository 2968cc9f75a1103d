//! Tables of reST directives: `list-table` and `csv-table`.
//!
//! In come lines; out comes a table with the caption that follows the directive's name. Invariant: a
//! directive's body is what is indented further than the directive.

use super::{Block, Lines, Taken};
use crate::document::limits::columns;
use crate::document::{Cell, Row, Table, inline};

/// The directive at line `at`.
pub(super) fn table(lines: &Lines<'_>, at: usize) -> Taken {
    let line = lines.get(at).trim_start();
    let (name, caption) = line.strip_prefix(".. ")?.split_once("::")?;
    let indent = lines.get(at).len() - line.len();
    let end = (at + 1..lines.len())
        .find(|&next| !lines.is_blank(next) && indent_of(lines.get(next)) <= indent)
        .unwrap_or(lines.len());
    let caption = Some(caption.trim().to_owned()).filter(|caption| !caption.is_empty());
    let mut header_rows = None;
    let mut body = at + 1;
    let mut rows = vec![];
    while body < end && (lines.is_blank(body) || lines.get(body).trim_start().starts_with(':')) {
        let option = lines.get(body).trim_start();
        if let Some(count) = option.strip_prefix(":header-rows:") {
            header_rows = count.trim().parse().ok();
        } else if let Some(header) = option.strip_prefix(":header:") {
            rows.extend(csv_rows(header, body));
            header_rows = Some(1);
        }
        body += 1;
    }
    match name {
        "list-table" => rows.extend(list_rows(lines, body, end)),
        "csv-table" => (body..end)
            .filter(|&at| !lines.is_blank(at))
            .for_each(|at| rows.extend(csv_rows(lines.get(at), at))),
        _ => return None,
    }
    let line = rows.first()?.line;
    Some((vec![Block::Table(Table { line, caption, header_rows, rows })], end))
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// `* - cell` begins a row, `- cell` a cell; deeper lines go on with the cell.
fn list_rows(lines: &Lines<'_>, start: usize, end: usize) -> Vec<Row> {
    let mut rows: Vec<(usize, Vec<String>)> = vec![];
    let mut cell_indent = 0;
    for at in start..end {
        let line = lines.get(at);
        let text = line.trim_start();
        if let Some(rest) = text.strip_prefix("* ") {
            cell_indent = indent_of(line) + text.len() - rest.trim_start().len();
            rows.push((at, vec![rest.trim_start().trim_start_matches('-').trim().to_owned()]));
        } else if let Some((_, cells)) = rows.last_mut() {
            if text.starts_with('-') && indent_of(line) == cell_indent {
                cells.push(text.trim_start_matches('-').trim().to_owned());
            } else if let (Some(cell), false) = (cells.last_mut(), text.is_empty()) {
                cell.push('\n');
                cell.push_str(text);
            }
        }
    }
    rows.into_iter()
        .map(|(at, cells)| Row {
            line: Lines::number(at),
            cells: columns(cells.iter().map(|cell| read(cell))),
        })
        .collect()
}

fn csv_rows(record: &str, at: usize) -> Option<Row> {
    // reST puts a space behind the comma, where CSV no longer sees the quotation mark.
    let record = record.trim().replace(", \"", ",\"");
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(record.as_bytes());
    let record = reader.records().next()?.ok()?;
    Some(Row { line: Lines::number(at), cells: columns(record.iter().map(read)) })
}

fn read(source: &str) -> Cell {
    let inline = inline::plain(source.trim());
    Cell { text: inline.text, marks: inline.marks, ..Cell::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_directives() {
        for content in [
            ".. list-table:: Ports\n   :header-rows: 1\n\n   * - Role\n     - Port\n   * - Web\n       server\n     - 443\n\nAfter",
            ".. csv-table:: Ports\n   :header: \"Role\", \"Port\"\n\n   \"Web\nserver\", 443\n"
                .replace("Web\nserver", "Web server")
                .as_str(),
        ] {
            let lines = Lines(content.split('\n').collect());
            let (blocks, _) = table(&lines, 0).expect(content);
            let Block::Table(table) = &blocks[0] else { panic!("a table") };
            let rows: Vec<Vec<String>> =
                table.rows.iter().map(|row| row.cells.iter().map(Cell::one_line).collect()).collect();
            assert_eq!(rows, [["Role", "Port"], ["Web server", "443"]]);
            assert_eq!((table.caption.as_deref(), table.header_rows), (Some("Ports"), Some(1)));
        }
    }
}
