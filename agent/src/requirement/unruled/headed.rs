//! Tables below a line of column names.
//!
//! In come the names and the lines below them; out comes a table. Each line is cut by itself; what only the rows
//! together tell is where cells of text end that stand side by side. Invariant: every line up to the last row is in the
//! table, and one that cannot be cut stays whole, so that it is reported.

use std::ops::Range;

use super::anchors::{self, Part};
use super::cut::{Cut, cut, leading, port_column, whole};
use super::{apart, header, shape, table as table_of};
use crate::document::{Block, Cell, Line, Paragraph, Row, Table};
use crate::requirement::Diagnostic;
use crate::requirement::columns::{Column, says_protocol};
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::Vocabulary;

/// Says of a row that several columns of text could share its words in several ways.
const SHARED: &str =
    "which of these words belong to which column cannot be told: part the cells by tabs or bars";

/// Lines below a header that are looked at to prove it.
const PROVING: usize = 6;
/// How many of them have to be rows.
const PROOF: usize = 2;

/// What stands at the end of ports of which more are to come.
const OPEN: [char; 7] = [',', '、', '，', ';', '/', '-', '–'];

/// The names of columns on one line.
pub(super) struct Header {
    names: Vec<String>,
    columns: Vec<Column>,
    /// The columns as its lines are cut, where there are enough to tell them by.
    parts: Option<Vec<Part>>,
    /// Its names have nothing between them.
    glued: bool,
}

impl Header {
    /// The header that `line` is, if it names a column by which its rows can be cut.
    pub(super) fn of(line: &str, words: &Vocabulary) -> Option<Self> {
        let header = Self::with(line, header::names(line, words)?, words);
        let tells = |column: &Column| column.heads_ports() || matches!(column, Column::Url | Column::Default);
        header.columns.iter().any(tells).then_some(header)
    }

    /// The header that `line` is although not all of its names are known, by the lines below it: several have ports and
    /// transports where the columns say.
    pub(super) fn proven(line: &str, below: &[Line], readings: &Readings) -> Option<Self> {
        let near = &below[..below.len().min(PROVING)];
        let header = Self::supposed(line, readings.words)?;
        let is_row = |line: &&Line| header.cuts(line, readings);
        (near.iter().filter(is_row).count() >= PROOF).then_some(header)
    }

    /// The header that `line` may be, although not all of its names are known.
    pub(super) fn supposed(line: &str, words: &Vocabulary) -> Option<Self> {
        Some(Self::with(line, header::supposed(line, words)?, words))
    }

    /// The header that the first row of a table is, if its names tell where the ports of its rows are.
    pub(super) fn of_row(row: Option<&Row>, readings: &Readings) -> Option<Self> {
        let named = |cell: &Cell| {
            let text = cell.one_line();
            let word = shape::named(&text, readings.words);
            header::Named { text, word: word.unwrap_or(Column::Other) }
        };
        let names: Vec<header::Named> = row?.cells.iter().map(named).collect();
        let header = Self::with("", names, readings.words);
        let known = header.columns.iter().filter(|column| **column != Column::Other).count();
        (known >= 2 && header.parts.is_some()).then_some(header)
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a line is a row whose ports have a transport.
    pub(super) fn cuts(&self, line: &Line, readings: &Readings) -> bool {
        let cut = self.parts.as_deref().map(|parts| cut(&line.text, &self.columns, Some(parts), readings));
        matches!(cut, Some(Cut::Row(cells)) if self.is_told(&cells, readings))
    }

    /// Whether a row has as many cells as there are names, and ports where those are named.
    pub(super) fn fits(&self, row: &Row, readings: &Readings) -> bool {
        let ports = port_column(&self.columns).and_then(|at| row.cells.get(at));
        let ports = ports.and_then(|cell| readings.remarked(&cell.text));
        row.cells.len() == self.columns.len() && ports.is_some_and(|read| read.has_numbers())
    }

    fn with(line: &str, named: Vec<header::Named>, words: &Vocabulary) -> Self {
        let says = |name: &header::Named| {
            name.word == Column::Transport
                || name.word == Column::Protocol && says_protocol(&name.text, words)
        };
        let said = named.iter().any(says);
        let column = |name: &header::Named| match name.word {
            // `Type | Port | Protocol`
            Column::Protocol if said && !says(name) => Column::Feature,
            word => word,
        };
        let columns: Vec<Column> = named.iter().map(column).collect();
        let names: Vec<String> = named.into_iter().map(|name| name.text).collect();
        let mut at = 0;
        let glued = names.iter().any(|name| {
            let found = line.get(at..).and_then(|rest| rest.find(name.as_str()));
            let start = found.map_or(at, |found| at + found);
            let adjoins = line.get(..start).is_some_and(|before| before.ends_with(char::is_alphanumeric));
            at = start + name.len();
            adjoins
        });
        // Two columns are told apart by the ports alone.
        let parts = anchors::parts(&columns).filter(|_| columns.len() > 2);
        Self { names, columns, parts, glued }
    }

    /// Whether cells have a transport in the column of protocols, or beside the ports.
    fn is_told(&self, cells: &[String], readings: &Readings) -> bool {
        self.columns.iter().zip(cells).any(|(column, cell)| match column {
            Column::Protocol | Column::Transport => readings.protocols(cell).named().next().is_some(),
            column if column.heads_ports() => {
                readings.remarked(cell).is_some_and(|read| read.named().next().is_some())
            }
            Column::Packed => !cell.is_empty(),
            _ => false,
        })
    }
}

/// A line of column names that stands alone, and the paragraphs of rows below it, as one; gives the blocks used.
pub(super) fn spaced(run: &[Block], readings: &Readings) -> Option<(Paragraph, usize)> {
    let [Block::Paragraph(first), rest @ ..] = run else { return None };
    let [line] = &first.lines[..] else { return None };
    let Some(Block::Paragraph(below)) = rest.first() else { return None };
    let proven = || {
        let near = &below.lines[..below.lines.len().min(PROVING)];
        if may_be_rows(&speak_of_transports(near)) {
            Header::proven(&line.text, near, readings)
        } else {
            None
        }
    };
    let header =
        Header::of(&line.text, readings.words).or_else(proven).filter(|header| header.parts.is_some())?;
    let mut lines = vec![line.clone()];
    let mut used = 1;
    for block in rest {
        let Block::Paragraph(below) = block else { break };
        if !below.lines.first().is_some_and(|line| header.cuts(line, readings)) {
            break;
        }
        lines.extend(below.lines.iter().cloned());
        used += 1;
    }
    (used > 1).then_some((Paragraph { lines, bold: false }, used))
}

/// The table of `lines` below a header, and how many of them are in it; `told` takes the rows whose cells remain in
/// doubt.
pub(super) fn table(
    number: u32,
    header: &Header,
    lines: &[Line],
    readings: &Readings,
    told: &mut Vec<Diagnostic>,
) -> (Table, usize) {
    let mut cuts: Vec<Cut> = lines
        .iter()
        .map(|line| cut(&line.text, &header.columns, header.parts.as_deref(), readings))
        .collect();
    // Behind the last row only text can go on.
    let goes_on = header.columns.last().is_some_and(anchors::is_text);
    let row = |cut: &Cut| matches!(cut, Cut::Row(_) | Cut::Bare(_)) || goes_on;
    let used =
        cuts.iter().rposition(|cut| row(cut) || is_more(cut, header)).map_or(cuts.len(), |last| last + 1);
    cuts.truncate(used);
    let stated = cuts.iter().any(|cut| matches!(cut, Cut::Row(_)));
    let mut body = Body { rows: vec![], before: None, header };
    for (line, cut) in lines.iter().zip(cuts) {
        match cut {
            Cut::Row(cells) => body.row(line, cells),
            // Where other rows have transports, this line goes on with the one above, or is in doubt.
            Cut::Bare(cells) if !stated => body.row(line, cells),
            Cut::Bare(_) if is_rest(&line.text) || body.open_ports().is_some() => {
                body.more(line, header.columns.len() - 1, readings);
            }
            Cut::Continues(column) => body.more(line, column, readings),
            Cut::Bare(_) | Cut::Whole => body.whole(line),
        }
    }
    body.end();
    let mut rows = body.rows;
    for range in texts(&header.columns) {
        part(&mut rows, &range, header, told);
    }
    rows.insert(0, (number, header.names.clone()));
    (table_of(rows, 1), used)
}

/// Whether a line has more for the ports of the row above.
fn is_more(cut: &Cut, header: &Header) -> bool {
    matches!(cut, Cut::Continues(at) if header.parts.is_none() || Some(*at) == port_column(&header.columns))
}

/// Which lines speak of a transport and have a digit.
pub(super) fn speak_of_transports(lines: &[Line]) -> Vec<bool> {
    let speaks = |line: &Line| anchors::speaks_of_transport(&line.text);
    if lines.len() >= PROOF { lines.iter().map(speaks).collect() } else { vec![] }
}

/// Whether lines below one that may be a header can prove it, told by which of them speak of a transport.
pub(super) fn may_be_rows(speaking: &[bool]) -> bool {
    speaking.iter().take(PROVING).filter(|&&speaks| speaks).count() >= PROOF
}

/// Whether a line reads as the rest of a sentence.
fn is_rest(text: &str) -> bool {
    text.starts_with(char::is_lowercase) || text.trim_end().ends_with(['.', '。'])
}

/// The rows of a table so far.
struct Body<'a> {
    rows: Vec<(u32, Vec<String>)>,
    /// Lines before the first row, which may begin its first cell.
    before: Option<(u32, String)>,
    header: &'a Header,
}

impl Body<'_> {
    fn row(&mut self, line: &Line, mut cells: Vec<String>) {
        let first = matches!(self.header.columns.first(), Some(column) if anchors::is_text(column));
        let number = match self.before.take() {
            Some((number, before)) if first => {
                cells[0] = format!("{before}\n{}", cells[0]).trim_end().to_owned();
                number
            }
            Some((number, before)) => {
                self.rows.push((number, whole(&before, &self.header.columns)));
                line.number
            }
            None => line.number,
        };
        self.rows.push((number, cells));
    }

    fn whole(&mut self, line: &Line) {
        self.end();
        self.rows.push((line.number, whole(&line.text, &self.header.columns)));
    }

    /// The column of ports whose list the row above has broken off.
    fn open_ports(&self) -> Option<usize> {
        let (_, cells) = self.rows.last()?;
        port_column(&self.header.columns).filter(|&at| cells[at].ends_with(OPEN))
    }

    /// Goes on with the row above: in this column, or with ports whose list that row has broken off.
    fn more(&mut self, line: &Line, column: usize, readings: &Readings) {
        let ports = self.open_ports();
        let Some((_, cells)) = self.rows.last_mut() else {
            match &mut self.before {
                Some((_, before)) => {
                    before.push('\n');
                    before.push_str(&line.text);
                }
                None => self.before = Some((line.number, line.text.clone())),
            }
            return;
        };
        let rest = ports.and_then(|at| Some((at, leading(&line.text, readings)?)));
        let mut add = |at: usize, text: &str| {
            if !cells[at].is_empty() && !text.is_empty() {
                cells[at].push('\n');
            }
            cells[at].push_str(text);
        };
        match rest {
            Some((at, (ports, rest))) => {
                add(at, ports);
                add(column, rest.trim());
            }
            None => add(column, &line.text),
        }
    }

    /// Takes in what no row came behind.
    fn end(&mut self) {
        if let Some((number, before)) = self.before.take() {
            self.rows.push((number, whole(&before, &self.header.columns)));
        }
    }
}

/// The runs of several columns of text side by side.
fn texts(columns: &[Column]) -> Vec<Range<usize>> {
    let runs = anchors::parts(columns).unwrap_or_default().into_iter();
    runs.filter_map(|part| match part {
        Part::Text(range) if range.len() > 1 => Some(range),
        _ => None,
    })
    .collect()
}

/// Parts the text of columns side by side, which the first of them has taken.
fn part(
    rows: &mut [(u32, Vec<String>)],
    columns: &Range<usize>,
    header: &Header,
    told: &mut Vec<Diagnostic>,
) {
    // A line that could not be cut is no text of these columns alone.
    let is_cut =
        |cells: &[String]| (0..cells.len()).any(|at| !columns.contains(&at) && !cells[at].is_empty());
    let mut rows: Vec<&mut (u32, Vec<String>)> = rows.iter_mut().filter(|(_, cells)| is_cut(cells)).collect();
    let texts: Vec<String> = rows.iter().map(|(_, cells)| cells[columns.start].clone()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let parted = apart::part(&texts, columns.len(), header.glued);
    for (((line, cells), found), text) in
        rows.iter_mut().map(|row| (row.0, &mut row.1)).zip(parted).zip(&texts)
    {
        match found {
            Some(found) => cells[columns.clone()].iter_mut().zip(found).for_each(|(cell, text)| *cell = text),
            None => {
                told.push(Diagnostic::new(line, text, SHARED));
                // No end and no role may be called so: it is text that describes the row.
                let describes = |at: &usize| {
                    matches!(
                        header.columns[*at],
                        Column::Service | Column::Feature | Column::Note | Column::Other
                    )
                };
                let at = columns.clone().find(describes);
                let text = std::mem::take(&mut cells[columns.start]);
                match at {
                    Some(at) => cells[at] = text,
                    None => cells.push(text),
                }
            }
        }
    }
}
