//! Labels and values in turn, each on a line of its own: `Port`, `443`, `Protocol`, `TCP`, and so on for each record.
//!
//! In come neighbouring lines; out comes where records begin and end in them, and their table. A label is the name of a
//! column; the first one of a record begins the next. Invariant: a table has two records at least, each with ports in
//! full.

use super::cells::{Line, Stack, text};
use super::shape::{is_port, may_name, named, reads};
use super::table;
use crate::requirement::columns::Column;
use crate::requirement::reading::Readings;

/// Lines before the port's label in which a record can begin.
const BEFORE: usize = 24;
/// Most lines of a value.
const VALUE: usize = 6;
/// Most records.
const RECORDS: usize = 5_000;

/// A label and the lines of its value.
struct Field {
    label: usize,
    end: usize,
}

/// The records that begin in the first block of `lines`.
pub(super) fn stack(lines: &[Line<'_>], readings: &Readings) -> Option<Stack> {
    let block = lines.first()?.block;
    let label = |at: usize| {
        let line = lines.get(at).filter(|line| may_name(line.text))?;
        named(line.text, readings.words)
    };
    let own = lines.iter().take_while(|line| line.block == block).count();
    // Most blocks have no line that names a port column and comes again.
    let again = |at: usize| {
        let near = &lines[at + 1..lines.len().min(at + 1 + 4 * BEFORE)];
        near.iter().any(|line| line.text == lines[at].text)
    };
    let near = if own == 1 { label(0).map_or(0, |_| BEFORE.min(lines.len())) } else { own };
    let port = (0..near).find(|&at| is_port(label(at)) && again(at))?;
    // The record begins with the first of the labels above that comes again, too.
    let mut start = port;
    while let Some(above) =
        (start.saturating_sub(VALUE + 1)..start.saturating_sub(1)).rev().find(|&at| label(at).is_some())
    {
        if !again(above) || port - above > BEFORE {
            break;
        }
        start = above;
    }
    if start >= own {
        return None;
    }
    let first = lines[start].text;
    let mut records: Vec<Vec<Field>> = vec![];
    let mut at = start;
    while records.len() < RECORDS && lines.get(at).is_some_and(|line| line.text == first) {
        let mut fields: Vec<Field> = vec![];
        while label(at).is_some() && !fields.iter().any(|field| lines[field.label].text == lines[at].text) {
            // What follows a label is its value, unless the value is blank.
            let known = |at: usize| {
                label(at).is_some()
                    && records.first().is_none_or(|record| {
                        record.iter().any(|field| lines[field.label].text == lines[at].text)
                    })
            };
            let value = if fields.len() > 1 && known(at + 1) && !known(at + 2) { 0 } else { 1 };
            // A value that begins in the block of its label ends in it.
            let beside = |next: usize| lines.get(next).is_some_and(|line| line.block == lines[at].block);
            let ends = |next: usize| known(next) || beside(at + 1) && !beside(next);
            let end = (at + 1 + value..lines.len().min(at + 1 + VALUE)).find(|&next| ends(next));
            fields.push(Field { label: at, end: end.unwrap_or(at + 1 + value).min(lines.len()) });
            at = fields[fields.len() - 1].end;
        }
        // Records without ports are none, and what follows them is asked again.
        let ports = fields.iter().find(|field| is_port(label(field.label)));
        let stated = ports.is_some_and(|field| reads(&text(&lines[field.label + 1..field.end]), readings));
        if !stated || fields.len() < 2 {
            break;
        }
        records.push(fields);
    }
    // What stands behind the last value of a record, and behind those of few others, is none of its lines.
    let last = |record: &Vec<Field>| record.last().map_or(0, |field| field.end - field.label);
    let longer = records.iter().filter(|record| last(record) > 2).count();
    let usual = longer * 2 <= records.len();
    let ends = (1..records.len()).find(|&at| usual && last(&records[at]) > 2);
    if let Some(end) = ends {
        records.truncate(end + 1);
        if let Some(field) = records[end].last_mut() {
            field.end = field.label + 2;
        }
    }
    let mut columns: Vec<(&str, Option<Column>)> = vec![];
    let mut rows: Vec<(u32, Vec<String>)> = vec![];
    for record in &records {
        let mut cells = vec![String::new(); columns.len()];
        for field in record {
            let name = lines[field.label].text;
            let column = columns.iter().position(|&(known, _)| known == name).unwrap_or_else(|| {
                columns.push((name, label(field.label)));
                cells.push(String::new());
                columns.len() - 1
            });
            cells[column] = text(&lines[field.label + 1..field.end]);
        }
        rows.push((lines[record[0].label].number, cells));
    }
    if rows.len() < 2 {
        return None;
    }
    let end = records.last().and_then(|record| record.last()).map_or(start, |field| field.end);
    let mut out =
        vec![(lines[start].number, columns.iter().map(|&(name, _)| name.to_owned()).collect::<Vec<_>>())];
    rows.iter_mut().for_each(|(_, cells)| cells.resize(columns.len(), String::new()));
    out.append(&mut rows);
    Some(Stack { before: start, table: table(out, 1), lines: end - start })
}
