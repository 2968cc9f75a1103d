//! Cells run together: a table whose cells follow each other on a line without any mark.
//!
//! In comes a paragraph; out come its lines as paragraphs and tables. A line of column names begins a table. Without
//! such a header, lines that all end in ports with protocols are rows too, and lines that nearly all state ports are
//! items. Invariant: every line is in one of the blocks.

use super::cut::{LINE, trailing};
use super::headed::{self, Header};
use super::{header, paragraph, table};
use crate::document::{Block, Item, Line, Paragraph};
use crate::requirement::reading::Readings;
use crate::requirement::{Diagnostic, lists};

/// Most lines without ports that a list without bullets may have.
const SILENT: usize = 200;

/// The tables in a paragraph, and what stands around them; `told` takes what a person should look at.
pub(super) fn split(source: Paragraph, readings: &Readings, told: &mut Vec<Diagnostic>) -> Vec<Block> {
    let mut blocks = vec![];
    let mut before: Vec<Line> = vec![];
    let mut lines = source.lines;
    let rows = headed::speak_of_transports(&lines);
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let below = &lines[at + 1..];
        let header = Header::of(&line.text, readings.words).or_else(|| {
            let likely = rows.get(at + 1..).is_some_and(headed::may_be_rows);
            if likely { Header::proven(&line.text, below, readings) } else { None }
        });
        let other = |next: &&Line| header::names(&next.text, readings.words).is_none();
        let mut count = if header.is_some() { below.iter().take_while(other).count() } else { 0 };
        // What stands right before the next header is a heading, if it has nothing of a row.
        if count > 1 && count < below.len() && !below[count - 1].text.contains(char::is_numeric) {
            count -= 1;
        }
        match header.filter(|_| count > 0) {
            Some(header) => {
                blocks.extend(paragraph(std::mem::take(&mut before), source.bold));
                let (table, used) = headed::table(line.number, &header, &below[..count], readings, told);
                blocks.push(Block::Table(table));
                count = used;
            }
            None => before.push(std::mem::take(&mut lines[at])),
        }
        at += 1 + count;
    }
    match unheaded(&before, readings).or_else(|| items(&before, readings)) {
        Some(found) => blocks.push(found),
        None => blocks.extend(paragraph(before, source.bold)),
    }
    blocks
}

/// Lines that all end in ports with protocols: rows without a header.
fn unheaded(lines: &[Line], readings: &Readings) -> Option<Block> {
    let mut rows: Vec<(u32, Vec<String>)> = vec![];
    let mut labelled = 0;
    for line in lines {
        if line.text.len() > LINE || line.text.ends_with(['.', '。']) {
            return None;
        }
        let proven = |text: &str| {
            let expression = readings.complete(text);
            expression.is_some_and(|it| it.has_numbers() && !it.protocols().is_empty())
        };
        if proven(&line.text) {
            if rows.is_empty() {
                rows.push((line.number, vec![String::new(), line.text.clone()]));
            } else {
                append(&mut rows, &line.text);
            }
        } else {
            let (label, ports) = trailing(&line.text, readings).filter(|(_, ports)| proven(ports))?;
            labelled += 1;
            rows.push((line.number, vec![label.trim().to_owned(), ports.to_owned()]));
        }
    }
    // A label and its values on lines of their own are enough only together.
    (labelled >= 2).then(|| Block::Table(table(rows, 0)))
}

/// Lines that nearly all state ports are a list whose bullets were lost.
fn items(lines: &[Line], readings: &Readings) -> Option<Block> {
    if lines.len() < 2 || lines.iter().any(|line| line.text.len() > LINE) {
        return None;
    }
    // A third of silent lines makes it prose; most paragraphs show that early.
    let mut silent = 0;
    for line in lines {
        silent += usize::from(!lists::states_ports(&line.text, readings));
        if silent * 3 > lines.len() || silent > SILENT {
            return None;
        }
    }
    let item =
        |line: &Line| Item { line: line.number, depth: 0, bullet: String::new(), text: line.text.clone() };
    (lines.len() - silent >= 2).then(|| Block::List(lines.iter().map(item).collect()))
}

fn append(rows: &mut [(u32, Vec<String>)], text: &str) {
    if let Some(cell) = rows.last_mut().and_then(|(_, cells)| cells.last_mut()) {
        cell.push('\n');
        cell.push_str(text);
    }
}
