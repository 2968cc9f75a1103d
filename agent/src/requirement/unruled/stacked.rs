//! Stacked cells: a table of which each cell became a line, or each record a block of labelled lines.
//!
//! In come paragraphs; out comes a table. Column names that stand on lines of their own tell how many cells
//! a row has; `Port: 443` names its column itself; a label with nothing but ports on the lines below it is a
//! row of two cells. Invariant: no table is made of lines that a sentence interrupts.

use super::table;
use crate::document::{Line, Paragraph, Table};
use crate::requirement::columns::Column;
use crate::requirement::lists;
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::Vocabulary;

/// Longest line that can be a cell.
const CELL: usize = 160;
/// Longest label that heads no column.
const LABEL: usize = 40;
/// Most labels of a record.
const MAX_LABELS: usize = 20;
/// Most lines that one stack may have.
const LINES: usize = 20_000;

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
        let word = column(label, readings.words);
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
    let has_port = words().any(|word| matches!(word, Column::Ports | Column::DestinationPorts));
    if words().count() < 2 || !has_port {
        return None;
    }
    let header = (rows.first()?.0, columns.into_iter().map(|(label, _)| label.to_owned()).collect());
    rows.insert(0, header);
    Some(table(rows, 1))
}

/// Column names on lines of their own, then as many cells again and again; gives the paragraphs used.
pub(super) fn cells(paragraphs: &[Paragraph], readings: &Readings) -> Option<(Table, usize)> {
    let first = paragraphs.first()?;
    column(&first.lines.first()?.text, readings.words)?;
    // One cell a paragraph, or a record a paragraph.
    let spaced = first.lines.len() == 1;
    let lines: Vec<&Line> = if spaced {
        paragraphs
            .iter()
            .take(LINES)
            .take_while(|next| next.lines.len() == 1)
            .flat_map(|next| &next.lines)
            .collect()
    } else {
        first.lines.iter().collect()
    };
    let names: Vec<&&Line> =
        lines.iter().take_while(|line| column(&line.text, readings.words).is_some()).collect();
    let words: Vec<Column> = names.iter().filter_map(|line| column(&line.text, readings.words)).collect();
    let width = names.len();
    let port = words.iter().position(|word| matches!(word, Column::Ports | Column::DestinationPorts))?;
    if width < 2 {
        return None;
    }
    if !spaced && lines.len() == width {
        return records(paragraphs, &lines, port, readings);
    }
    let mut rows =
        vec![(lines[0].number, lines[..width].iter().map(|line| line.text.clone()).collect::<Vec<_>>())];
    let mut used = width;
    for row in lines[width..].chunks(width) {
        let reads = row.get(port).is_some_and(|line| reads(&line.text, readings));
        if row.len() < width || !reads || row.iter().any(|line| line.text.chars().count() > CELL) {
            break;
        }
        rows.push((row[0].number, row.iter().map(|line| line.text.clone()).collect()));
        used += width;
    }
    let whole = spaced || used == lines.len();
    (rows.len() > 1 && whole).then(|| (table(rows, 1), if spaced { used } else { 1 }))
}

/// A paragraph a record: the first has the column names, and what is too much belongs to the port.
fn records(
    paragraphs: &[Paragraph],
    header: &[&Line],
    port: usize,
    readings: &Readings,
) -> Option<(Table, usize)> {
    let width = header.len();
    let mut rows = vec![(header[0].number, header.iter().map(|line| line.text.clone()).collect::<Vec<_>>())];
    let mut used = 1;
    for record in &paragraphs[1..] {
        let texts: Vec<&str> = record.lines.iter().map(|line| line.text.as_str()).collect();
        let extra = texts.len().checked_sub(width);
        let Some(extra) = extra else { break };
        let ports = texts[port..=port + extra].join("\n");
        if !reads(&ports, readings) {
            break;
        }
        let mut cells: Vec<String> = texts[..port].iter().map(|&text| text.to_owned()).collect();
        cells.push(ports);
        cells.extend(texts[port + extra + 1..].iter().map(|&text| text.to_owned()));
        rows.push((record.line(), cells));
        used += 1;
    }
    (rows.len() > 1).then(|| (table(rows, 1), used))
}

fn reads(text: &str, readings: &Readings) -> bool {
    readings.complete(text).is_some_and(|expression| expression.has_ports() || expression.nothing)
}

/// What a line says if it is the name of a column and nothing else.
fn column(text: &str, words: &Vocabulary) -> Option<Column> {
    words.whole_columns.whole_of(text)
}
