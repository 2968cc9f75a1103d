//! Tables that lost their rules: text in which only words and line breaks tell that it was a table.
//!
//! In come the blocks of a document; out come the same blocks, with a table wherever paragraphs turn out to
//! be one: cells run together on a line, a cell on each line, or a label before each value, which may be items
//! of a list. Invariant: text becomes a table only by words that head columns, or by lines that each end in
//! port language.

mod digits;
mod header;
mod stacked;
mod together;

use super::reading::Readings;
use super::vocabulary::Vocabulary;
use crate::document::{Block, Item, Line, Paragraph, Table};

/// The blocks with the tables that paragraphs hide.
pub(crate) fn tables(blocks: Vec<Block>, words: &'static Vocabulary) -> Vec<Block> {
    let readings = Readings::new(words);
    let mut out: Vec<Block> = Vec::with_capacity(blocks.len());
    let mut run: Vec<Paragraph> = vec![];
    for block in blocks {
        match block {
            Block::Paragraph(paragraph) => run.push(paragraph),
            other => {
                close(&mut run, &readings, &mut out);
                out.push(match other {
                    Block::List(items) => listed(items, &readings),
                    other => other,
                });
            }
        }
    }
    close(&mut run, &readings, &mut out);
    out
}

/// A list, or the table that its items are labels and values of.
fn listed(items: Vec<Item>, readings: &Readings) -> Block {
    let depth = items.first().map_or(0, |item| item.depth);
    let found = if items.iter().all(|item| item.depth == depth) {
        stacked::labelled(items.iter().map(|item| (item.line, item.text.as_str())), readings)
    } else {
        None
    };
    found.map_or(Block::List(items), Block::Table)
}

/// Reads neighbouring paragraphs: together as a stack of cells, or each on its own.
fn close(run: &mut Vec<Paragraph>, readings: &Readings, out: &mut Vec<Block>) {
    let mut paragraphs = std::mem::take(run).into_iter().peekable();
    let mut rest: Vec<Paragraph> = vec![];
    while let Some(paragraph) = paragraphs.next() {
        let lines = paragraph.lines.iter().map(|line| (line.number, line.text.as_str()));
        if let Some(piece) = stacked::labelled(lines, readings) {
            out.extend(rest.drain(..).flat_map(|paragraph| together::split(paragraph, readings)));
            out.push(Block::Table(piece));
            continue;
        }
        rest.push(paragraph);
        if paragraphs.peek().is_none() {
            break;
        }
    }
    let mut rest = rest.as_mut_slice();
    while !rest.is_empty() {
        let used = if let Some((table, used)) = stacked::cells(rest, readings) {
            out.push(Block::Table(table));
            used
        } else {
            let paragraph = std::mem::replace(&mut rest[0], Paragraph { lines: vec![], bold: false });
            out.extend(together::split(paragraph, readings));
            1
        };
        rest = &mut rest[used..];
    }
}

/// A table of `rows`, each a line and its cells.
fn table(rows: Vec<(u32, Vec<String>)>, header_rows: usize) -> Table {
    let rows: Vec<crate::document::Row> = rows
        .into_iter()
        .map(|(line, cells)| crate::document::Row {
            line,
            cells: cells.into_iter().map(crate::document::Cell::new).collect(),
        })
        .collect();
    Table {
        line: rows.first().map_or(0, |row| row.line),
        caption: None,
        header_rows: Some(header_rows),
        rows,
    }
}

/// A paragraph of `lines`, unless there are none.
fn paragraph(lines: Vec<Line>, bold: bool) -> Option<Block> {
    (!lines.is_empty()).then_some(Block::Paragraph(Paragraph { lines, bold }))
}
