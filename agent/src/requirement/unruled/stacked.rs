//! Stacked records: a table of which each record became a block of lines, labelled or not.
//!
//! In come paragraphs; out comes a table. `Port: 443` names its column itself; column names on the lines of a
//! paragraph tell how many lines each record below has. Invariant: no table is made of lines that a sentence
//! interrupts.

use super::shape::{is_port, named, reads};
use super::table;
use crate::document::{Block, Table};
use crate::requirement::columns::Column;
use crate::requirement::lists;
use crate::requirement::reading::Readings;

/// Longest label that heads no column.
const LABEL: usize = 40;
/// Most labels of a record.
const MAX_LABELS: usize = 20;

/// `Service: web`, `Port: 443`, …: a record of labelled lines, or several. Labels that head no column are kept beside
/// two that do, if they state no ports.
pub(super) fn labelled<'a>(
    lines: impl Iterator<Item = (u32, &'a str)>,
    readings: &Readings,
) -> Option<Table> {
    let mut columns: Vec<(&str, Option<Column>)> = vec![];
    let mut rows: Vec<(u32, Vec<String>)> = vec![];
    for (number, text) in lines {
        let (label, value) = text.split_once([':', '：'])?;
        let label = label.trim();
        let word = named(label, readings.words);
        // A label of the first line that heads no column makes it something else.
        let other = || columns.is_empty() || label.len() > LABEL || lists::states_ports(text, readings);
        if word.is_none() && other() {
            return None;
        }
        let known = columns.iter().position(|&(name, known)| {
            if word.is_some() { known == word } else { known.is_none() && name == label }
        });
        let at = known.unwrap_or(columns.len());
        if known.is_none() {
            if columns.len() == MAX_LABELS {
                return None;
            }
            columns.push((label, word));
        }
        // A label that comes again begins the next record.
        let filled = rows.last().is_some_and(|(_, cells)| cells.get(at).is_some_and(|cell| !cell.is_empty()));
        if rows.is_empty() || filled {
            rows.push((number, vec![]));
        }
        let (_, cells) = rows.last_mut()?;
        if cells.len() <= at {
            cells.resize(at + 1, String::new());
        }
        value.trim().clone_into(&mut cells[at]);
    }
    let words = || columns.iter().filter_map(|(_, word)| *word);
    let has_port = words().any(|word| is_port(Some(word)));
    if words().count() < 2 || !has_port {
        return None;
    }
    let header = (rows.first()?.0, columns.into_iter().map(|(label, _)| label.to_owned()).collect());
    rows.insert(0, header);
    Some(table(rows, 1))
}

/// Column names on the lines of a paragraph, and each record a paragraph below; gives the paragraphs used. What is too
/// much of a record belongs to its port, and its last cells may be blank.
pub(super) fn records(blocks: &[Block], readings: &Readings) -> Option<(Table, usize)> {
    let Some(Block::Paragraph(header)) = blocks.first() else { return None };
    let width = header.lines.len();
    if !(2..=MAX_LABELS).contains(&width) {
        return None;
    }
    let words: Option<Vec<Column>> =
        header.lines.iter().map(|line| named(&line.text, readings.words)).collect();
    let port = words?.iter().position(|&word| is_port(Some(word)))?;
    let names = header.lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
    let mut rows = vec![(header.line(), names)];
    for block in &blocks[1..] {
        let Block::Paragraph(record) = block else { break };
        let texts: Vec<&str> = record.lines.iter().map(|line| line.text.as_str()).collect();
        let extra = texts.len().saturating_sub(width);
        if texts.len() <= port + extra || texts.len() < 2 {
            break;
        }
        let ports = texts[port..=port + extra].join("\n");
        if !reads(&ports, readings) {
            break;
        }
        let mut cells: Vec<String> = texts[..port].iter().map(|&text| text.to_owned()).collect();
        cells.push(ports);
        cells.extend(texts[port + extra + 1..].iter().map(|&text| text.to_owned()));
        cells.resize(width, String::new());
        rows.push((record.line(), cells));
    }
    let used = rows.len();
    (used > 1).then(|| (table(rows, 1), used))
}
