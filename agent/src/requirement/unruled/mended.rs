//! Tables of which some rows lost the marks between their cells, as a copied table does where tabs became spaces.
//!
//! In come blocks; out come the same blocks, with each such row cut by the names of its table's columns, and with the
//! lines right below a table, or the names right above it, as a part of it. Invariant: what is no row by its ports and
//! transports stays where it is.

use super::headed::{self, Header};
use crate::document::{Block, Cell, Line, Row, Table};
use crate::requirement::Diagnostic;
use crate::requirement::reading::Readings;

/// The blocks with their tables mended; `told` takes what a person should look at.
pub(super) fn tables(blocks: Vec<Block>, readings: &Readings, told: &mut Vec<Diagnostic>) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::with_capacity(blocks.len());
    let mut open: Option<Header> = None;
    for mut block in blocks {
        if let (Some(Block::Table(table)), Some(header)) = (out.last_mut(), &open)
            && adjoins(table, &block)
        {
            match below(table, header, block, readings, told) {
                None => continue,
                Some(other) => block = other,
            }
        }
        open = None;
        if let Block::Table(table) = &mut block {
            named_above(&mut out, table, readings);
            open = Header::of_row(table.rows.first(), readings);
            if let Some(header) = &open {
                cut_rows(table, header, readings, told);
            }
        }
        out.push(block);
    }
    out
}

/// Whether a block begins on the line right below a table.
fn adjoins(table: &Table, block: &Block) -> bool {
    table.rows.last().is_some_and(|last| block.line() == last.line + 1)
}

/// Takes the rows below a table into it; gives back what is none.
fn below(
    table: &mut Table,
    header: &Header,
    block: Block,
    readings: &Readings,
    told: &mut Vec<Diagnostic>,
) -> Option<Block> {
    match block {
        Block::Paragraph(paragraph)
            if paragraph.lines.first().is_some_and(|line| header.cuts(line, readings)) =>
        {
            let (found, used) = headed::table(0, header, &paragraph.lines, readings, told);
            table.rows.extend(found.rows.into_iter().skip(1));
            let rest = paragraph.lines[used..].to_vec();
            super::paragraph(rest, paragraph.bold)
        }
        Block::Table(other)
            if other.caption.is_none()
                && other.rows.first().is_some_and(|row| header.fits(row, readings)) =>
        {
            table.rows.extend(other.rows);
            None
        }
        other => Some(other),
    }
}

/// Takes the names of columns on the line right above a table without a header into it.
fn named_above(out: &mut Vec<Block>, table: &mut Table, readings: &Readings) {
    let Some(Block::Paragraph(above)) = out.last_mut() else { return };
    let (Some(line), Some(first)) = (above.lines.last(), table.rows.first()) else { return };
    if line.number + 1 != first.line {
        return;
    }
    let named =
        Header::of(&line.text, readings.words).or_else(|| Header::supposed(&line.text, readings.words));
    let Some(header) = named.filter(|header| header.fits(first, readings)) else { return };
    let cells = header.names().iter().map(|name| Cell::new(name.as_str())).collect();
    table.rows.insert(0, Row { line: line.number, cells });
    table.line = line.number;
    table.header_rows = Some(1);
    above.lines.pop();
    if above.lines.is_empty() {
        out.pop();
    }
}

/// Cuts the rows of which all text stands in one cell.
fn cut_rows(table: &mut Table, header: &Header, readings: &Readings, told: &mut Vec<Diagnostic>) {
    let alone = |row: &Row| {
        let mut filled = row.cells.iter().filter(|cell| !cell.is_empty());
        let only = filled.next().filter(|_| filled.next().is_none())?;
        let line = Line { number: row.line, text: only.text.to_string() };
        header.cuts(&line, readings).then_some(line)
    };
    let several = table.rows.iter().enumerate().skip(1).filter(|(_, row)| row.cells.len() > 1);
    let (broken, lines): (Vec<usize>, Vec<Line>) =
        several.filter_map(|(at, row)| Some((at, alone(row)?))).unzip();
    if lines.is_empty() {
        return;
    }
    // Each of the lines is a row.
    let (found, _) = headed::table(0, header, &lines, readings, told);
    for (at, row) in broken.into_iter().zip(found.rows.into_iter().skip(1)) {
        table.rows[at].cells = row.cells;
    }
}
