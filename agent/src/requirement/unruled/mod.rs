//! Tables that lost their rules: text in which only words and line breaks tell that it was a table.
//!
//! In come the blocks of a document; out come the same blocks, with a table wherever paragraphs turn out to
//! be one: cells run together on a line, a cell on each line, or a label before each value, which may be items
//! of a list. Invariant: text becomes a table only by words that head columns, or by lines that each end in
//! port language or begin with an address.

mod addresses;
mod anchors;
mod apart;
mod boundaries;
mod cells;
mod cut;
mod digits;
mod headed;
mod header;
mod labels;
mod mended;
mod places;
mod shape;
mod stacked;
mod together;

use self::headed::Header;
use super::reading::Readings;
use super::vocabulary::Vocabulary;
use crate::document::{Block, Item, Line, Paragraph, Table};
use crate::requirement::Diagnostic;

/// Says of ports behind a stack of cells that they are none of its rows.
const LEFT: &str = "these ports stand behind the end of a table, and no table has them: give their row as many cells as the table has columns";

/// The blocks with the tables that paragraphs hide, and what could not be read as a part of one.
pub(crate) fn tables(blocks: Vec<Block>, words: &'static Vocabulary) -> (Vec<Block>, Vec<Diagnostic>) {
    let readings = Readings::new(words);
    let mut out = Out { blocks: Vec::with_capacity(blocks.len()), diagnostics: vec![] };
    let mut run: Vec<Block> = vec![];
    let blocks = mended::tables(blocks, &readings, &mut out.diagnostics);
    for block in opened(blocks, &readings) {
        match told(block, &readings) {
            block @ (Block::Paragraph(_) | Block::List(_)) => run.push(block),
            other => {
                close(&mut run, &readings, &mut out);
                out.blocks.push(other);
            }
        }
    }
    close(&mut run, &readings, &mut out);
    (out.blocks, out.diagnostics)
}

/// What came of the blocks so far.
struct Out {
    blocks: Vec<Block>,
    diagnostics: Vec<Diagnostic>,
}

/// The blocks, and of lists the lines of each item as a paragraph of their own where column names stand among them: its
/// first line heads a table.
fn opened(blocks: Vec<Block>, readings: &Readings) -> Vec<Block> {
    let names = |line: &str| Header::of(line, readings.words).is_some();
    let heads = |item: &Item| {
        let mut below = item.text.split('\n').skip(1);
        below.any(names) && below.next().is_some()
    };
    let opens = |block: &Block| matches!(block, Block::List(items) if items.iter().any(heads));
    if !blocks.iter().any(opens) {
        return blocks;
    }
    let mut out = vec![];
    for block in blocks {
        let Block::List(items) = block else {
            out.push(block);
            continue;
        };
        let mut open = vec![];
        for mut item in items {
            let own = item.text.find('\n').filter(|_| heads(&item));
            let rest = own.map(|own| item.text.split_off(own)).unwrap_or_default();
            let lines = rest.split('\n').skip(1).zip(item.line + 1..);
            let lines = lines.map(|(text, number)| Line { number, text: text.to_owned() }).collect();
            open.push(item);
            if let Some(paragraph) = paragraph(lines, false) {
                out.extend([Block::List(std::mem::take(&mut open)), paragraph]);
            }
        }
        if !open.is_empty() {
            out.push(Block::List(open));
        }
    }
    out
}

/// A block, or the table that its lines or items are labels and values of, or addresses.
fn told(block: Block, readings: &Readings) -> Block {
    let found = match &block {
        Block::Paragraph(paragraph) => {
            records(paragraph.lines.iter().map(|line| (line.number, line.text.as_str())), readings)
        }
        Block::List(items) if items.iter().all(|item| item.depth == items[0].depth) => {
            records(items.iter().map(|item| (item.line, item.text.as_str())), readings)
        }
        _ => None,
    };
    found.map_or(block, Block::Table)
}

fn records<'a>(lines: impl Iterator<Item = (u32, &'a str)> + Clone, readings: &Readings) -> Option<Table> {
    stacked::labelled(lines.clone(), readings).or_else(|| addresses::listed(lines, readings))
}

/// Reads neighbouring paragraphs and lists: together as a stack of cells, or each on its own.
fn close(run: &mut Vec<Block>, readings: &Readings, out: &mut Out) {
    let mut run = std::mem::take(run);
    let (steps, left) = steps(&run, readings);
    for step in steps {
        let paragraph = match step {
            Step::Table(table) => {
                out.blocks.push(Block::Table(table));
                continue;
            }
            Step::Block(at) => match std::mem::replace(&mut run[at], Block::List(vec![])) {
                Block::Paragraph(paragraph) => paragraph,
                other => {
                    out.blocks.push(other);
                    continue;
                }
            },
            Step::Rest(paragraph) => paragraph,
        };
        for block in together::split(paragraph, readings, &mut out.diagnostics) {
            if let Block::Paragraph(paragraph) = &block {
                let left = paragraph.lines.iter().filter(|line| left.binary_search(&line.number).is_ok());
                out.diagnostics.extend(left.map(|line| Diagnostic::new(line.number, &line.text, LEFT)));
            }
            out.blocks.push(block);
        }
    }
}

/// What is done with a run of paragraphs and lists, in its order.
enum Step {
    Table(Table),
    /// A block that is no cell of a table.
    Block(usize),
    /// The lines of a block before or behind the cells of a table.
    Rest(Paragraph),
}

/// The stacks of cells in a run and what stands around them, and the lines behind them that look like more rows.
fn steps(run: &[Block], readings: &Readings) -> (Vec<Step>, Vec<u32>) {
    let lines = cells::lines(run);
    let (mut steps, mut left) = (vec![], vec![]);
    let (mut block, mut line, mut behind) = (0, 0, None);
    while block < run.len() {
        while lines.get(line).is_some_and(|line| line.block < block) {
            line += 1;
        }
        if let Some((table, used)) = stacked::records(&run[block..], readings) {
            left.extend(behind.take().into_iter().flat_map(|end| cells::left(&lines[end..line], readings)));
            steps.push(Step::Table(table));
            block += used;
            behind = lines[line..].iter().position(|line| line.block >= block).map(|at| line + at);
        } else if let Some(cells::Stack { before, table, lines: used }) =
            labels::stack(&lines[line..], readings).or_else(|| cells::stack(&lines[line..], readings))
        {
            if before > 0 {
                steps.push(Step::Rest(cells::paragraph(&lines[line..line + before])));
                line += before;
            }
            left.extend(behind.take().into_iter().flat_map(|end| cells::left(&lines[end..line], readings)));
            steps.push(Step::Table(table));
            line += used;
            behind = Some(line);
            let last = lines[line - 1].block;
            let rest = lines[line..].iter().take_while(|line| line.block == last).count();
            if rest > 0 {
                steps.push(Step::Rest(cells::paragraph(&lines[line..line + rest])));
            }
            block = last + 1;
        } else if let Some((paragraph, used)) = headed::spaced(&run[block..], readings) {
            steps.push(Step::Rest(paragraph));
            block += used;
        } else {
            steps.push(Step::Block(block));
            block += 1;
        }
    }
    left.extend(behind.into_iter().flat_map(|end| cells::left(&lines[end..], readings)));
    (steps, left)
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

#[cfg(test)]
mod tests;
