//! Cells on lines or paragraphs of their own: a table of which only the order of its cells is left.
//!
//! In come neighbouring paragraphs and lists as lines; out comes where a table begins and ends in them. The names
//! of the columns come first, and some may be unknown: then the body tells how many cells a row has, by the
//! distance at which its ports and protocols come again. Items of a list and notes belong to the cell above them.
//! Invariant: a row is read only where its port cell is port language as a whole, and a row that is too short or
//! too long only where the next one begins with certainty.

use std::ops::Range;

use super::{header, table};
use crate::document::{self, Block, Paragraph, Table};
use crate::requirement::columns::Column;
use crate::requirement::fold::Folded;
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::Vocabulary;

/// Longest cell of a table whose rows nothing but their ports proves, in characters.
const CELL: usize = 160;
/// Longest cell of a table whose rows have protocols too.
const LONG: usize = 600;
/// Longest name of a column.
const NAME: usize = 40;
/// Longest line that holds the names of all columns, in bytes.
const HEADER: usize = 240;
/// Most columns.
const COLUMNS: usize = 12;
/// Most cells that a row may have too many.
const EXTRA: usize = 8;
/// Rows by which the number of columns is chosen.
const PROOF: usize = 8;
/// Most cells of one table.
const CELLS: usize = 20_000;

/// A line of a run of paragraphs and lists.
pub(super) struct Line<'a> {
    pub(super) number: u32,
    pub(super) text: &'a str,
    /// The block that it stands in.
    pub(super) block: usize,
    /// It begins its paragraph or list.
    first: bool,
    /// It begins an item of a list.
    item: bool,
    /// It stands in a list.
    listed: bool,
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
struct Cell {
    /// Its own lines.
    own: Range<usize>,
    /// The end of the items and notes below them.
    all: usize,
}

/// The cells of lines, found as far as they are asked for.
struct Cells<'a> {
    lines: &'a [Line<'a>],
    spaced: bool,
    found: Vec<Cell>,
    at: usize,
}

impl<'a> Cells<'a> {
    fn of(lines: &'a [Line<'a>], spaced: bool) -> Self {
        Self { lines, spaced, found: vec![], at: 0 }
    }

    /// Whether there are as many cells as `count`.
    fn reach(&mut self, count: usize) -> bool {
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

    fn own(&self, at: usize) -> &'a [Line<'a>] {
        self.found.get(at).map_or(&[], |cell| &self.lines[cell.own.clone()])
    }

    /// The text of a cell, without what stands below it.
    fn text(&self, at: usize) -> String {
        text(self.own(at))
    }
}

fn text(lines: &[Line<'_>]) -> String {
    lines.iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
}

/// What the columns of a table are, and where its body begins.
struct Shape {
    names: Vec<String>,
    port: usize,
    protocol: Option<usize>,
    body: usize,
}

impl Shape {
    /// The shape that proves itself by the rows below it, and by how many.
    fn of(cells: &mut Cells<'_>, readings: &Readings) -> Option<(usize, Self)> {
        let mut names: Vec<(String, Option<Column>)> = vec![];
        while names.len() < COLUMNS && cells.reach(names.len() + 1) {
            let Some(name) = name(cells.own(names.len()), readings) else { break };
            names.push(name);
        }
        let known = names.iter().take_while(|(_, word)| word.is_some()).count();
        let mut best: Option<(usize, Self)> = None;
        // The names that are known come first, so that they win where others prove no more.
        for width in std::iter::once(known).chain(2..=names.len()).filter(|&width| width >= 2) {
            let (texts, words): (Vec<String>, Vec<_>) = names[..width].iter().cloned().unzip();
            let Some(shape) = Self::with(texts, &words, width) else { continue };
            let strange = words.iter().filter(|word| word.is_none()).count();
            if strange > width - strange + 1 {
                continue;
            }
            let proof = shape.proof(cells, readings);
            let spoken = shape.protocol.is_some() || {
                let read = readings.complete(&port_text(cells.own(width + shape.port)));
                read.is_some_and(|read| !read.protocols().is_empty())
            };
            let needed = match (strange, spoken) {
                (0, _) => 1,
                (_, true) => 2,
                (_, false) => 3,
            };
            // The first row has no name of a column, unless all are known.
            let begins = strange == 0 || !(width..names.len().min(2 * width)).any(|at| names[at].1.is_some());
            if begins && proof >= needed && best.as_ref().is_none_or(|(known, _)| proof > *known) {
                best = Some((proof, shape));
            }
        }
        best
    }

    fn with(names: Vec<String>, words: &[Option<Column>], body: usize) -> Option<Self> {
        let port = words.iter().position(|&word| is_port(word))?;
        let protocol = words.iter().position(|&word| word == Some(Column::Protocol));
        Some(Self { names, port, protocol, body })
    }

    /// The shape of cells below a line of all names, which the body tells apart: its ports come again at the distance of
    /// a row.
    fn below(cells: &mut Cells<'_>, line: &str, readings: &Readings) -> Option<Self> {
        let (before, port, behind) = port_name(line, readings.words)?;
        cells.reach(2 + 3 * COLUMNS);
        let ports = (1..cells.found.len()).filter(|&at| {
            let read = readings.complete(&port_text(cells.own(at)));
            read.is_some_and(|read| read.has_numbers() && !read.protocols().is_empty())
        });
        let ports: Vec<usize> = ports.take(3).collect();
        let (&[first, second] | &[first, second, _]) = &ports[..] else { return None };
        let (width, at) = (second - first, first - 1);
        let regular = ports.get(2).is_none_or(|third| third - second == width);
        if !regular || !(2..=COLUMNS).contains(&width) || at >= width || (at == 0) != before.is_empty() {
            return None;
        }
        let mut names = told_apart(before, at, readings.words);
        names.push(port.to_owned());
        names.extend(told_apart(behind, width - at - 1, readings.words));
        let shape = Self { names, port: at, protocol: None, body: 1 };
        (shape.proof(cells, readings) >= 2).then_some(shape)
    }

    /// How many names speak of what columns hold.
    fn speaking(&self, readings: &Readings) -> usize {
        self.names.iter().filter(|name| !readings.words.columns.find(&Folded::new(name)).is_empty()).count()
    }

    /// How many rows in a row are regular at the beginning of the body.
    fn proof(&self, cells: &mut Cells<'_>, readings: &Readings) -> usize {
        let starts = (0..PROOF).map(|row| self.body + row * self.names.len());
        let width = self.names.len();
        starts.take_while(|&at| self.is_row(cells, at, readings) && cells.reach(at + width)).count()
    }

    /// The rows of the body.
    fn rows(&self, cells: &mut Cells<'_>, readings: &Readings) -> Vec<Range<usize>> {
        let width = self.names.len();
        let mut rows = vec![];
        let mut at = self.body;
        while self.is_row(cells, at, readings) {
            let next = at + width;
            if self.is_row(cells, next, readings) {
                rows.push(at..next);
                at = next;
                continue;
            }
            // The row is too short, or too long, or the one behind it cannot be read.
            let least = at + 1 + self.port.max(self.protocol.unwrap_or_default());
            let begins = |cells: &mut Cells<'_>, at: usize| {
                cells.reach(at + width);
                self.is_certain(cells, at, readings)
                    && (self.protocol.is_some() || self.is_row(cells, at + width, readings))
            };
            let mut found = None;
            for again in (least..next).chain(next + 1..=next + EXTRA) {
                // Another header ends the table.
                if cells.reach(again + 1)
                    && name(cells.own(again), readings).is_some_and(|(_, word)| is_port(word))
                {
                    break;
                }
                if begins(cells, again) {
                    found = Some(again);
                    break;
                }
            }
            rows.push(at..found.unwrap_or(next).min(cells.found.len()));
            let Some(found) = found else { break };
            at = found;
        }
        rows
    }

    /// Whether the cells from `at` on are a row: with ports, a protocol or a word for one, and no prose.
    fn is_row(&self, cells: &mut Cells<'_>, at: usize, readings: &Readings) -> bool {
        let width = self.names.len();
        let whole = cells.reach(at + width);
        if !reads(cells.own(at + self.port), readings) {
            return false;
        }
        // The last row may lack its last cells.
        if !whole && (self.protocol.is_none() || !self.is_certain(cells, at, readings)) {
            return false;
        }
        let protocol = self.protocol.filter(|&column| column != self.port);
        let speaks = protocol.is_none_or(|column| {
            let text = cells.text(at + column);
            text.chars().count() <= NAME && !text.contains(|c: char| c.is_ascii_digit() || is_end(c))
                || readings.protocols(&text).is_complete()
        });
        let longest = if protocol.is_some() { LONG } else { CELL };
        speaks
            && (at..cells.found.len().min(at + width)).all(|at| {
                cells.own(at).iter().map(|line| line.text.chars().count()).sum::<usize>() <= longest
            })
    }

    /// Whether a row that begins at `at` has numbers for ports, and a protocol in the column or beside them.
    fn is_certain(&self, cells: &Cells<'_>, at: usize, readings: &Readings) -> bool {
        let ports = port_text(cells.own(at + self.port));
        let Some(ports) = readings.complete(&ports).filter(|ports| ports.has_numbers()) else { return false };
        match self.protocol.filter(|&column| column != self.port) {
            None => true,
            Some(column) => {
                let text = cells.text(at + column);
                let protocols = readings.protocols(&text);
                !ports.protocols().is_empty()
                    || protocols.is_complete()
                        && (protocols.has_protocols() || !protocols.applications().is_empty())
            }
        }
    }
}

/// The name of a port column among the words of a line, and what stands before and behind it.
fn port_name<'a>(line: &'a str, words: &Vocabulary) -> Option<(&'a str, &'a str, &'a str)> {
    if line.len() > HEADER || line.ends_with(is_end) || line.contains([':', '：']) {
        return None;
    }
    let mut parts: Vec<Range<usize>> = vec![];
    for word in line.split_whitespace() {
        let behind = parts.last().map_or(0, |part| part.end);
        let start = behind + line[behind..].find(word)?;
        parts.push(start..start + word.len());
    }
    // The longest name that stands first.
    let spans =
        (0..parts.len()).flat_map(|from| (from..parts.len().min(from + 3)).rev().map(move |to| (from, to)));
    spans.filter(|_| parts.len() > 1).map(|(from, to)| (parts[from].start, parts[to].end)).find_map(
        |(from, to)| {
            // In some scripts a name is one word with what qualifies it.
            let ends = || {
                let folded = Folded::new(&line[from..to]);
                let last = words.columns.find(&folded).pop();
                !line[from..to].contains(' ')
                    && last.is_some_and(|found| {
                        is_port(Some(found.meaning)) && found.end == folded.as_str().len()
                    })
            };
            (is_port(words.whole_columns.whole_of(&line[from..to])) || ends())
                .then(|| (line[..from].trim(), &line[from..to], line[to..].trim()))
        },
    )
}

/// The names of `count` columns, where they can be told apart; the first has all of them where not.
fn told_apart(text: &str, count: usize, words: &Vocabulary) -> Vec<String> {
    let apart: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let mut names = if apart.len() == count {
        apart
    } else {
        let named = header::names(text, words).filter(|names| names.len() == count);
        named.map_or_else(|| vec![text.to_owned()], |names| names.into_iter().map(|name| name.text).collect())
    };
    names.resize(count, String::new());
    names
}

/// A cell as the name of a column, and what it says if that is known.
fn name(lines: &[Line<'_>], readings: &Readings) -> Option<(String, Option<Column>)> {
    if lines.len() > 2 {
        return None;
    }
    let text = text(lines);
    if !may_name(&text) || readings.complete(&text).is_some_and(|read| read.has_numbers()) {
        return None;
    }
    // A name that was broken is known with a space between its halves, or without.
    let word = [text.replace('\n', ""), text.replace('\n', " ")]
        .iter()
        .find_map(|joined| named(joined, readings.words));
    Some((text, word))
}

/// What a line says if it is the name of a column and nothing else.
fn named(text: &str, words: &Vocabulary) -> Option<Column> {
    words.whole_columns.whole_of(without_note(text))
}

/// Whether a text is short enough for the name of a column, and no sentence.
fn may_name(text: &str) -> bool {
    text.len() <= 4 * NAME
        && text.chars().count() <= NAME
        && !text.ends_with(is_end)
        && !text.contains([':', '：'])
}

fn is_end(c: char) -> bool {
    matches!(c, '。' | ',' | '、' | ';' | '!' | '?')
}

fn is_port(word: Option<Column>) -> bool {
    matches!(word, Some(Column::Ports | Column::DestinationPorts))
}

/// Whether a cell is port language and nothing else, but for its notes.
fn reads(lines: &[Line<'_>], readings: &Readings) -> bool {
    let text = port_text(lines);
    readings.complete(&text).is_some_and(|expression| expression.has_ports() || expression.nothing)
}

/// The text of a cell without its notes.
fn port_text(lines: &[Line<'_>]) -> String {
    let own: Vec<&str> = lines.iter().map(|line| line.text).filter(|text| !is_note(text)).collect();
    without_note(&own.join("\n")).to_owned()
}

/// `(note 1)`, `*2`, `※3`: the number of a note and nothing else.
fn is_note(text: &str) -> bool {
    let text = text.trim();
    let marked = text
        .strip_prefix(['*', '※', '†'])
        .is_some_and(|rest| rest.len() <= 2 && rest.bytes().all(|byte| byte.is_ascii_digit()));
    marked || without_note(text).is_empty() && !text.is_empty()
}

/// A text without the reference to a note at its end: `80 (note 2)`, `80(注2)`.
fn without_note(text: &str) -> &str {
    let rest = text.trim_end();
    let Some(inner) = rest.strip_suffix([')', '）']) else { return text };
    let Some(open) = inner.rfind(['(', '（']) else { return text };
    let note = inner[open..].trim_start_matches(['(', '（']).trim();
    let label = note.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = note.len() - label.len();
    let is_label = label.chars().count() <= 8 && label.trim().chars().all(char::is_alphabetic);
    if (1..=2).contains(&number) && is_label { rest[..open].trim_end() } else { text }
}
