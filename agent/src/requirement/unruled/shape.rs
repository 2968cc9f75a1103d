//! Shapes of stacked cells: what the columns are that only the order of cells tells, and where each row begins.
//!
//! In come the cells below one that may name a column; out come the names, and the rows as ranges of cells. Names may
//! be unknown: the distance at which ports and protocols come again proves how many there are. Invariant: a row
//! begins only where its port cell is port language as a whole.

use std::ops::Range;

use super::cells::{Cells, Line, text};
use super::header;
use crate::requirement::columns::{Column, says_protocol};
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
pub(super) const COLUMNS: usize = 12;
/// Most cells that a row may have too many.
const EXTRA: usize = 8;
/// Rows by which the number of columns is chosen.
const PROOF: usize = 8;

/// What the columns of a table are, and where its body begins.
pub(super) struct Shape {
    pub(super) names: Vec<String>,
    port: usize,
    protocol: Option<usize>,
    body: usize,
}

impl Shape {
    /// The shape that proves itself by the rows below it, and by how many.
    pub(super) fn of(cells: &mut Cells<'_>, readings: &Readings) -> Option<(usize, Self)> {
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
            let Some(shape) = Self::with(texts, &words, width, readings) else { continue };
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

    fn with(names: Vec<String>, words: &[Option<Column>], body: usize, readings: &Readings) -> Option<Self> {
        let port = words.iter().position(|&word| is_port(word))?;
        let mut protocols = (0..words.len()).filter(|&at| words[at] == Some(Column::Protocol));
        let first = protocols.clone().next();
        // `Type | Port | Protocol`
        let protocol = protocols.find(|&at| says_protocol(&names[at], readings.words)).or(first);
        Some(Self { names, port, protocol, body })
    }

    /// The shape of cells below a line of all names, which the body tells apart: its ports come again at the distance of
    /// a row.
    pub(super) fn below(cells: &mut Cells<'_>, line: &str, readings: &Readings) -> Option<Self> {
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
    pub(super) fn speaking(&self, readings: &Readings) -> usize {
        let speaks = |name: &&String| {
            named(name, readings.words).is_some()
                || !readings.words.columns.find(&Folded::new(name)).is_empty()
        };
        self.names.iter().filter(speaks).count()
    }

    /// How many rows in a row are regular at the beginning of the body.
    fn proof(&self, cells: &mut Cells<'_>, readings: &Readings) -> usize {
        let starts = (0..PROOF).map(|row| self.body + row * self.names.len());
        let width = self.names.len();
        starts.take_while(|&at| self.is_row(cells, at, readings) && cells.reach(at + width)).count()
    }

    /// The rows of the body.
    pub(super) fn rows(&self, cells: &mut Cells<'_>, readings: &Readings) -> Vec<Range<usize>> {
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
        if !reads(&port_text(cells.own(at + self.port)), readings) {
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
    pub(super) fn is_certain(&self, cells: &Cells<'_>, at: usize, readings: &Readings) -> bool {
        let ports = port_text(cells.own(at + self.port));
        let Some(ports) = readings.remarked(&ports).filter(|ports| ports.has_numbers()) else { return false };
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
    if line.len() > HEADER || line.ends_with(is_end) || line.ends_with('.') || line.contains([':', '：']) {
        return None;
    }
    let folded = Folded::new(line);
    let found = words.columns.find(&folded);
    let ports = found.iter().filter(|found| is_port(Some(found.meaning)));
    let ports: Vec<usize> = ports.map(|found| folded.source(found.start)).collect();
    if ports.is_empty() {
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
    let spans = spans.filter(|_| parts.len() > 1).map(|(from, to)| (parts[from].start, parts[to].end));
    spans.filter(|(from, to)| ports.iter().any(|port| (from..to).contains(&port))).find_map(|(from, to)| {
        // In some scripts a name is one word with what qualifies it.
        let ends = || {
            let folded = Folded::new(&line[from..to]);
            let last = words.columns.find(&folded).pop();
            !line[from..to].contains(' ')
                && last
                    .is_some_and(|found| is_port(Some(found.meaning)) && found.end == folded.as_str().len())
        };
        (is_port(words.whole_columns.whole_of(&line[from..to])) || ends())
            .then(|| (line[..from].trim(), &line[from..to], line[to..].trim()))
    })
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
pub(super) fn named(text: &str, words: &Vocabulary) -> Option<Column> {
    words.whole_columns.whole_of(without_note(text))
}

/// Whether a text is short enough for the name of a column, and no sentence.
pub(super) fn may_name(text: &str) -> bool {
    text.len() <= 4 * NAME
        && text.chars().count() <= NAME
        && !text.ends_with(is_end)
        && !text.contains([':', '：'])
}

fn is_end(c: char) -> bool {
    matches!(c, '。' | ',' | '、' | ';' | '!' | '?')
}

pub(super) fn is_port(word: Option<Column>) -> bool {
    word.is_some_and(Column::heads_ports)
}

/// Whether a text is port language and nothing else.
pub(super) fn reads(text: &str, readings: &Readings) -> bool {
    readings.remarked(text).is_some_and(|expression| expression.has_ports() || expression.nothing)
}

/// The text of a cell without its notes.
fn port_text(lines: &[Line<'_>]) -> String {
    let own: Vec<&str> = lines.iter().map(|line| line.text).filter(|text| !is_note(text)).collect();
    without_note(&own.join("\n")).to_owned()
}

/// `(note 1)`, `*2`, `※3`: the number of a note and nothing else.
pub(super) fn is_note(text: &str) -> bool {
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
