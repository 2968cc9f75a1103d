//! Cells on lines or paragraphs of their own: a table of which only the order of its cells is left.
//!
//! In come neighbouring paragraphs and lists as lines; out comes where a table begins and ends in them. The names
//! of the columns come first, and some may be unknown: then the body tells how many cells a row has, by the
//! distance at which its ports and protocols come again. Items of a list and notes belong to the cell above them.
//! Invariant: a row is read only where its port cell is port language as a whole, and a row that is too short or
//! too long only where the next one begins with certainty.

use std::ops::Range;

use super::shape::{COLUMNS, Shape, is_note, is_port, may_name, named};
use super::table;
use crate::document::{self, Block, Paragraph, Table};
use crate::requirement::reading::Readings;

/// Most cells of one table.
const CELLS: usize = 20_000;

/// A line of a run of paragraphs and lists.
pub(super) struct Line<'a> {
    pub(super) number: u32,
    pub(super) text: &'a str,
    /// The block that it stands in.
    pub(super) block: usize,
    /// It begins its paragraph or list.
    pub(super) first: bool,
    /// It begins an item of a list.
    pub(super) item: bool,
    /// It stands in a list.
    pub(super) listed: bool,
}

/// The lines of paragraphs and lists.
pub(super) fn lines(blocks: &[Block]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = vec![];
    for (block, source) in blocks.iter().enumerate() {
        let from = lines.len();
        match source {
            Block::Paragraph(paragraph) => lines.extend(paragraph.lines.iter().map(|line| Line {
                number: line.number,
                text: &line.text,
                block,
                first: false,
                item: false,
                listed: false,
            })),
            // An item takes in the lines below it, though they may be cells.
            Block::List(items) => lines.extend(items.iter().flat_map(|item| {
                item.text.split('\n').zip(item.line..).enumerate().map(move |(at, (text, number))| Line {
                    number,
                    text,
                    block,
                    first: false,
                    item: at == 0,
                    listed: true,
                })
            })),
            Block::Heading(_) | Block::Table(_) => {}
        }
        if let Some(first) = lines.get_mut(from) {
            first.first = true;
        }
    }
    lines
}

/// Lines as a paragraph.
pub(super) fn paragraph(lines: &[Line<'_>]) -> Paragraph {
    let line = |line: &Line<'_>| document::Line { number: line.number, text: line.text.to_owned() };
    Paragraph { lines: lines.iter().map(line).collect(), bold: false }
}

/// The lines behind a table that still look like ports and protocols in cells.
pub(super) fn left<'a>(lines: &'a [Line<'a>], readings: &'a Readings) -> impl Iterator<Item = u32> + 'a {
    let speaks = |line: Option<&Line<'_>>| {
        let read = line.and_then(|line| readings.complete(line.text));
        read.is_some_and(|read| !read.protocols().is_empty() && !read.has_ports())
    };
    let is_left = move |at: usize| {
        let Some(read) = readings.complete(lines[at].text).filter(|read| read.has_numbers()) else {
            return false;
        };
        let before = at.checked_sub(1).and_then(|at| lines.get(at));
        !read.protocols().is_empty() || speaks(lines.get(at + 1)) || speaks(before)
    };
    (0..lines.len()).filter(move |&at| is_left(at)).map(|at| lines[at].number)
}

/// A table among lines.
pub(super) struct Stack {
    /// Lines before it, in the same paragraph.
    pub(super) before: usize,
    pub(super) table: Table,
    /// The lines that it takes up.
    pub(super) lines: usize,
}

/// The table that begins in the first paragraph of `lines`.
pub(super) fn stack(lines: &[Line<'_>], readings: &Readings) -> Option<Stack> {
    let first = lines.first().filter(|line| !line.listed)?;
    let spaced = lines.get(1).is_none_or(|second| second.first);
    if spaced && let Some(shape) = Shape::below(&mut Cells::of(lines, true), first.text, readings) {
        let found = read(lines, &shape, true, readings);
        return found.map(|(table, lines)| Stack { before: 0, table, lines });
    }
    // Most paragraphs have no name of a port column near their beginning.
    let port = lines
        .iter()
        .take(COLUMNS)
        .take_while(|line| spaced || line.block == first.block)
        .position(|line| may_name(line.text) && is_port(named(line.text, readings.words)))?;
    let begins: Vec<usize> =
        (0..=port).filter(|&at| !spaced || lines[at].first && !lines[at].listed).collect();
    let mut shapes: Vec<(usize, usize, Shape)> = vec![];
    for at in begins {
        let mut cells = Cells::of(&lines[at..], spaced);
        if let Some((proof, shape)) = Shape::of(&mut cells, readings) {
            shapes.push((at, proof, shape));
        }
    }
    // Where several lines may be the first name, the rows decide, then the names, then the end of the table.
    let rank = |(at, proof, shape): &(usize, usize, Shape)| (*proof, shape.speaking(readings), *at);
    let best = shapes.iter().map(|shape| (rank(shape).0, rank(shape).1)).max()?;
    shapes.retain(|shape| (rank(shape).0, rank(shape).1) == best);
    let fits = |(at, _, shape): &(usize, usize, Shape)| {
        let mut cells = Cells::of(&lines[*at..], spaced);
        let rows = shape.rows(&mut cells, readings);
        rows.last().is_some_and(|row| row.len() == shape.names.len() && row.end == cells.found.len())
    };
    let at = if shapes.len() == 1 {
        0
    } else {
        let known = |(at, ..): &(usize, usize, Shape)| named(lines[*at].text, readings.words).is_some();
        shapes.iter().position(fits).or_else(|| shapes.iter().position(known)).unwrap_or_default()
    };
    let (before, _, shape) = &shapes[at];
    if spaced && *before > 0 {
        return None;
    }
    let (table, used) = read(&lines[*before..], shape, spaced, readings)?;
    Some(Stack { before: *before, table, lines: used })
}

/// The table of a shape, and how many lines it takes up.
fn read(lines: &[Line<'_>], shape: &Shape, spaced: bool, readings: &Readings) -> Option<(Table, usize)> {
    let mut cells = Cells::of(lines, spaced);
    let rows = shape.rows(&mut cells, readings);
    let last = rows.last()?;
    // A list at the very end may be one of its own.
    let end = cells.found[last.end - 1].own.end;
    let whole = end == lines.len() || lines[end].first;
    let certain = rows.iter().filter(|row| shape.is_certain(&cells, row.start, readings)).count() >= 2;
    if !spaced && !whole && !certain {
        return None;
    }
    let mut out = vec![(lines[0].number, shape.names.clone())];
    for row in &rows {
        let mut texts: Vec<String> = vec![];
        for (at, cell) in cells.found[row.clone()].iter().enumerate() {
            let to = if row.start + at + 1 == last.end { cell.own.end } else { cell.all };
            let text = text(&lines[cell.own.start..to]);
            match texts.last_mut().filter(|_| at >= shape.names.len()) {
                Some(above) => {
                    above.push('\n');
                    above.push_str(&text);
                }
                None => texts.push(text),
            }
        }
        texts.resize(shape.names.len(), String::new());
        out.push((lines[cells.found[row.start].own.start].number, texts));
    }
    Some((table(out, 1), end))
}

/// The lines of a cell.
pub(super) struct Cell {
    /// Its own lines.
    pub(super) own: Range<usize>,
    /// The end of the items and notes below them.
    pub(super) all: usize,
}

/// The cells of lines, found as far as they are asked for.
pub(super) struct Cells<'a> {
    pub(super) lines: &'a [Line<'a>],
    pub(super) spaced: bool,
    pub(super) found: Vec<Cell>,
    at: usize,
}

impl<'a> Cells<'a> {
    pub(super) fn of(lines: &'a [Line<'a>], spaced: bool) -> Self {
        Self { lines, spaced, found: vec![], at: 0 }
    }

    /// Whether there are as many cells as `count`.
    pub(super) fn reach(&mut self, count: usize) -> bool {
        while self.found.len() < count.min(CELLS) {
            let begin = self.at;
            let Some(line) = self.lines.get(begin) else { break };
            // Without blank lines between the cells, one ends the table; a list takes none in.
            let behind_list = begin > 0 && self.lines[begin - 1].listed;
            if !self.spaced && begin > 0 && line.first && !line.listed && !behind_list {
                break;
            }
            let below = &self.lines[begin + 1..];
            let own = if self.spaced { below.iter().take_while(|line| !line.first).count() } else { 0 };
            let glued = |line: &&Line<'_>| {
                if self.spaced { line.listed } else { line.item || !line.first && is_note(line.text) }
            };
            let all = own + below[own..].iter().take_while(glued).count();
            self.at = begin + 1 + all;
            self.found.push(Cell { own: begin..begin + 1 + own, all: self.at });
        }
        self.found.len() >= count
    }

    pub(super) fn own(&self, at: usize) -> &'a [Line<'a>] {
        self.found.get(at).map_or(&[], |cell| &self.lines[cell.own.clone()])
    }

    /// The text of a cell, without what stands below it.
    pub(super) fn text(&self, at: usize) -> String {
        text(self.own(at))
    }
}

pub(super) fn text(lines: &[Line<'_>]) -> String {
    lines.iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
}
