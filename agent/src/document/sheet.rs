//! XLSX: worksheets to tables.
//!
//! In come the bytes of a workbook; out comes one heading and one table a visible sheet, rows under
//! the numbers that the spreadsheet shows. Cells are streamed: a sheet whose two cells lie in
//! opposite corners costs two cells. Invariant: nothing is unpacked before its unpacked size is known
//! to fit.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use calamine::{DataRef, Reader as _, SheetVisible, Xlsx};

use super::limits::{CellBudget, MAX_COLUMNS, MAX_UNPACKED};
use super::{Block, Cell, Document, Heading, ReadError, Row, Table};

type Workbook<'a> = Xlsx<Cursor<&'a [u8]>>;

/// Reads a workbook.
pub(super) fn read(bytes: &[u8]) -> Result<Document, ReadError> {
    measure(bytes)?;
    let mut workbook: Workbook<'_> = calamine::open_workbook_from_rs(Cursor::new(bytes)).map_err(broken)?;
    let visible: Vec<String> = workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| sheet.visible == SheetVisible::Visible)
        .map(|sheet| sheet.name.clone())
        .collect();
    let mut budget = CellBudget::default();
    let mut document = Document::default();
    for name in visible {
        let rows = rows(&mut workbook, &name, &mut budget)?;
        let Some(line) = rows.first().map(|row| row.line) else { continue };
        if !is_default(&name) {
            document.blocks.push(Block::Heading(Heading { line, level: 2, text: name }));
        }
        document.blocks.push(Block::Table(Table { line, caption: None, header_rows: None, rows }));
    }
    Ok(document)
}

/// `Sheet1`, `Tabelle2`, `工作表3`: a word and a number that nobody chose.
fn is_default(name: &str) -> bool {
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    word.len() < name.len() && !word.is_empty() && word.chars().all(char::is_alphabetic)
}

/// Unpacks every part into nothing, to learn sizes that its directory may lie about.
fn measure(bytes: &[u8]) -> Result<(), ReadError> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let mut left = MAX_UNPACKED;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(broken)?;
        let taken = std::io::copy(&mut part.take(left + 1), &mut std::io::sink()).map_err(broken)?;
        left = left.checked_sub(taken).ok_or_else(|| {
            ReadError::Sheet(format!(
                "it unpacks to more than {MAX_UNPACKED} bytes: export the sheets with ports as CSV"
            ))
        })?;
    }
    Ok(())
}

fn broken(error: impl std::fmt::Display) -> ReadError {
    ReadError::Sheet(error.to_string())
}

/// The rows of one sheet; merged cells are repeated as in HTML.
fn rows(workbook: &mut Workbook<'_>, name: &str, budget: &mut CellBudget) -> Result<Vec<Row>, ReadError> {
    let mut grid: BTreeMap<u32, BTreeMap<u32, Cell>> = BTreeMap::new();
    let mut cells = workbook.worksheet_cells_reader(name).map_err(broken)?;
    while let Some(cell) = cells.next_cell().map_err(broken)? {
        let (row, column) = cell.get_position();
        let text = show(cell.get_value());
        if text.is_empty() {
            continue;
        }
        if (column as usize) < MAX_COLUMNS {
            budget.take(1, row.saturating_add(1))?;
            grid.entry(row).or_default().insert(column, Cell::new(text));
        } else {
            return Err(ReadError::TooManyColumns { line: row.saturating_add(1) });
        }
    }
    drop(cells);
    for area in workbook.merge_cells_by_sheet_name(name).map_err(broken)? {
        // A reference may name any two corners.
        let (one, other) = (area.start, area.end);
        let (top, left) = (one.0.min(other.0), one.1.min(other.1));
        let (bottom, right) = (one.0.max(other.0), one.1.max(other.1));
        let Some(cell) = grid.get(&top).and_then(|row| row.get(&left)).cloned() else { continue };
        // A merge over whole columns only counts where there are rows.
        let covered: Vec<u32> = grid.range(top..=bottom).map(|(&row, _)| row).collect();
        for row in covered {
            for column in left..=right.min(left.saturating_add(MAX_COLUMNS as u32)) {
                if (row, column) != (top, left) {
                    budget.take(1, row.saturating_add(1))?;
                    let repeated = Cell { from_left: column > left, from_above: row > top, ..cell.clone() };
                    grid.entry(row).or_default().insert(column, repeated);
                }
            }
        }
    }
    let first = grid.values().filter_map(|row| row.keys().next()).min().copied().unwrap_or(0);
    let mut rows = vec![];
    for (number, sparse) in grid {
        let width = sparse.keys().next_back().map_or(0, |last| (last - first + 1) as usize);
        budget.take(width - sparse.len().min(width), number.saturating_add(1))?;
        let mut cells = vec![Cell::default(); width];
        for (column, cell) in sparse {
            cells[(column - first) as usize] = cell;
        }
        rows.push(Row { line: number.saturating_add(1), cells });
    }
    Ok(rows)
}

/// A value as a spreadsheet shows it: `443.0` is the number 443.
fn show(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.trim().to_owned()
        }
        DataRef::SharedString(text) => text.trim().to_owned(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::DateTime(date) => date.to_string(),
        DataRef::Error(_) | DataRef::Empty => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::write::SimpleFileOptions;

    use super::*;

    /// A workbook with one sheet, as small as the format allows.
    fn workbook(sheet: &str) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
        let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
        let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        let package = "http://schemas.openxmlformats.org/package/2006/relationships";
        let parts = [
            (
                "_rels/.rels",
                format!(
                    "<Relationships xmlns=\"{package}\"><Relationship Id=\"r1\" Type=\"{office}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
                ),
            ),
            (
                "xl/workbook.xml",
                format!(
                    "<workbook xmlns=\"{main}\" xmlns:r=\"{office}\"><sheets><sheet name=\"Edge\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
                ),
            ),
            (
                "xl/_rels/workbook.xml.rels",
                format!(
                    "<Relationships xmlns=\"{package}\"><Relationship Id=\"r1\" Type=\"{office}/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
                ),
            ),
            ("xl/worksheets/sheet1.xml", format!("<worksheet xmlns=\"{main}\">{sheet}</worksheet>")),
        ];
        for (name, content) in parts {
            archive.start_file(name, SimpleFileOptions::default()).expect("memory");
            archive.write_all(content.as_bytes()).expect("memory");
        }
        archive.finish().expect("memory").into_inner()
    }

    fn text(place: &str, text: &str) -> String {
        format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
    }

    #[test]
    fn rows_keep_their_numbers_and_merged_cells_repeat() {
        let header = format!("<row r=\"2\">{}{}</row>", text("B2", "Role"), text("C2", "Port"));
        let first = format!("<row r=\"3\">{}<c r=\"C3\"><v>443</v></c></row>", text("B3", "Web"));
        let second = "<row r=\"5\"><c r=\"C5\"><v>8443</v></c></row>";
        let sheet = format!(
            "<sheetData>{header}{first}{second}</sheetData><mergeCells count=\"1\"><mergeCell ref=\"B3:B5\"/></mergeCells>"
        );
        let document = read(&workbook(&sheet)).expect("a workbook");
        let Block::Table(table) = &document.blocks[1] else { panic!("a table") };
        let rows: Vec<(u32, Vec<&str>)> = table
            .rows
            .iter()
            .map(|row| (row.line, row.cells.iter().map(|cell| cell.text.as_str()).collect()))
            .collect();
        assert_eq!(rows, [(2, vec!["Role", "Port"]), (3, vec!["Web", "443"]), (5, vec!["Web", "8443"])]);
        assert!(table.rows[2].cells[0].from_above);
        assert!(matches!(&document.blocks[0], Block::Heading(heading) if heading.text == "Edge"));
    }

    #[test]
    fn a_merge_may_name_its_corners_in_any_order() {
        let sheet = format!(
            "<sheetData><row r=\"1\">{}{}</row></sheetData><mergeCells count=\"1\"><mergeCell ref=\"B1:A1\"/></mergeCells>",
            text("A1", "Ports"),
            text("C1", "Use")
        );
        let document = read(&workbook(&sheet)).expect("a workbook");
        let Block::Table(table) = &document.blocks[1] else { panic!("a table") };
        let cells: Vec<&str> = table.rows[0].cells.iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(cells, ["Ports", "Ports", "Use"]);
    }

    #[test]
    fn far_corners_cost_two_cells() {
        let row =
            |number: u32, place: &str| format!("<row r=\"{number}\"><c r=\"{place}\"><v>1</v></c></row>");
        let sheet = format!("<sheetData>{}{}</sheetData>", row(1, "A1"), row(1_048_576, "B1048576"));
        let document = read(&workbook(&sheet)).expect("a workbook");
        let Block::Table(table) = &document.blocks[1] else { panic!("a table") };
        assert_eq!(table.rows.len(), 2);
    }

    #[test]
    fn a_bomb_is_refused_before_it_unpacks() {
        let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
        archive.start_file("xl/worksheets/sheet1.xml", SimpleFileOptions::default()).expect("memory");
        let block = vec![b'0'; 1 << 20];
        for _ in 0..=MAX_UNPACKED >> 20 {
            archive.write_all(&block).expect("memory");
        }
        let bytes = archive.finish().expect("memory").into_inner();
        assert!(
            matches!(read(&bytes), Err(ReadError::Sheet(message)) if message.contains("unpacks to more"))
        );
    }

    #[test]
    fn a_broken_container_is_one_sentence() {
        assert!(matches!(read(b"PK\x03\x04 and nothing more"), Err(ReadError::Sheet(_))));
    }
}
