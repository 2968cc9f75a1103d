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
        document.blocks.push(Block::Heading(Heading { line, level: 1, text: name }));
        document.blocks.push(Block::Table(Table { line, caption: None, header_rows: None, rows }));
    }
    Ok(document)
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
        if !text.is_empty() && (column as usize) < MAX_COLUMNS {
            budget.take(1, row.saturating_add(1))?;
            grid.entry(row).or_default().insert(column, Cell::new(text));
        }
    }
    drop(cells);
    for area in workbook.merge_cells_by_sheet_name(name).map_err(broken)? {
        let (top, left) = area.start;
        let Some(cell) = grid.get(&top).and_then(|row| row.get(&left)).cloned() else { continue };
        // A merge over whole columns only counts where there are rows.
        let covered: Vec<u32> = grid.range(top..=area.end.0).map(|(&row, _)| row).collect();
        for row in covered {
            for column in left..=area.end.1.min(left.saturating_add(MAX_COLUMNS as u32)) {
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
