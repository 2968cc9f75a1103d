//! Cells run together: a table whose cells follow each other on a line without any mark.
//!
//! In comes a paragraph; out come its lines as paragraphs and tables. A line of column names begins a table;
//! below it each line is cut at the port language that ends it, at the address that begins it, or into the
//! numbers of a setting. Without such a header, lines that all end in ports with protocols are rows too.
//! Invariant: a line below a header that cannot be cut stays in the table whole, so that it is reported.

use super::{digits, header, paragraph, table};
use crate::document::{Block, Item, Line, Paragraph};
use crate::requirement::columns::Column;
use crate::requirement::expression::Expression;
use crate::requirement::fold::Folded;
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::PortWord;
use crate::requirement::{lists, names};

/// Longest line that can be a row.
const LINE: usize = 400;
/// Most lines without ports that a list without bullets may have.
const SILENT: usize = 200;

/// The tables in a paragraph, and what stands around them.
pub(super) fn split(source: Paragraph, readings: &Readings) -> Vec<Block> {
    let mut blocks = vec![];
    let mut before: Vec<Line> = vec![];
    let mut lines = source.lines.into_iter().peekable();
    while let Some(line) = lines.next() {
        let named = header::names(&line.text, readings.words).filter(|named| tells_rows(named));
        let Some(named) = named.filter(|_| lines.peek().is_some()) else {
            before.push(line);
            continue;
        };
        let columns: Vec<Column> = named.iter().map(|name| name.word).collect();
        let mut rows = vec![(line.number, named.into_iter().map(|name| name.text).collect::<Vec<String>>())];
        while let Some(next) = lines.next_if(|next| header::names(&next.text, readings.words).is_none()) {
            match cut(&next.text, &columns, readings) {
                Cut::Row(cells) => rows.push((next.number, cells)),
                Cut::Continues(text) if rows.len() > 1 => append(&mut rows, &text),
                Cut::Continues(text) => rows.push((next.number, whole(&text, columns.len()))),
            }
        }
        if rows.len() > 1 {
            blocks.extend(paragraph(std::mem::take(&mut before), source.bold));
            blocks.push(Block::Table(table(rows, 1)));
        } else {
            before.push(line);
        }
    }
    match unheaded(&before, readings).or_else(|| items(&before, readings)) {
        Some(found) => blocks.push(found),
        None => blocks.extend(paragraph(before, source.bold)),
    }
    blocks
}

/// Whether a header names a column by which its rows can be cut.
fn tells_rows(named: &[header::Named]) -> bool {
    named.iter().any(|name| {
        matches!(name.word, Column::Ports | Column::DestinationPorts | Column::Url | Column::Default)
    })
}

enum Cut {
    Row(Vec<String>),
    /// More ports for the row above.
    Continues(String),
}

/// Cuts a line into cells for `columns`.
fn cut(text: &str, columns: &[Column], readings: &Readings) -> Cut {
    let is = |word: Column| columns.contains(&word);
    if text.len() <= LINE {
        if is(Column::Default) && (is(Column::Minimum) || is(Column::Maximum)) {
            if let Some(cells) = setting(text, columns) {
                return Cut::Row(cells);
            }
        } else if columns.first() == Some(&Column::Url) {
            if let Some(address) = names::parse(text) {
                let mut cells = whole(&text[..address.end], columns.len());
                if let Some(last) = cells.last_mut() {
                    text[address.end..].trim().clone_into(last);
                }
                return Cut::Row(cells);
            }
        } else if let Some(at) = port_column(columns) {
            return ports(text, columns, at, readings);
        }
    }
    Cut::Continues(text.to_owned())
}

fn port_column(columns: &[Column]) -> Option<usize> {
    columns.iter().position(|word| matches!(word, Column::Ports | Column::DestinationPorts))
}

/// Cuts at the ports: behind the other cells, or before them where the header begins with the port.
fn ports(text: &str, columns: &[Column], at: usize, readings: &Readings) -> Cut {
    let continues = |all: &Expression| all.has_ports() && all.applications().is_empty();
    if at > 0 && readings.complete(text).is_some_and(|all| continues(&all)) {
        return Cut::Continues(text.to_owned());
    }
    let found = if at == 0 {
        leading(text, readings).map(|(ports, rest)| (rest, ports))
    } else {
        trailing(text, readings)
    };
    let Some((rest, ports)) = found else { return Cut::Continues(text.to_owned()) };
    let mut cells = whole("", columns.len());
    ports.clone_into(&mut cells[at]);
    // The text goes to the first column that holds text.
    if let Some(text_column) = columns.iter().position(|word| {
        !matches!(word, Column::Ports | Column::DestinationPorts | Column::Protocol) || columns.len() == 2
    }) {
        let text_column = if text_column == at { usize::from(at == 0) } else { text_column };
        if let Some(cell) = cells.get_mut(text_column) {
            rest.trim().clone_into(cell);
        }
    }
    Cut::Row(cells)
}

/// The longest port language at the end of a line, and the text before it.
pub(super) fn trailing<'a>(text: &'a str, readings: &Readings) -> Option<(&'a str, &'a str)> {
    let reads = |start: usize| readings.complete(&text[start..]).is_some_and(|it| is_sure(&it));
    let starts = boundaries(text);
    if let Some(&start) = starts.iter().find(|&&start| reads(start)) {
        return Some((&text[..start], &text[start..]));
    }
    // A name that ends in digits runs into the port: `T.1201503 (TCP)`.
    let run = text
        .char_indices()
        .filter(|(_, c)| c.is_ascii_digit())
        .map(|(at, _)| at)
        .find(|&at| at == 0 || !text.as_bytes()[at - 1].is_ascii_digit())?;
    let length = text[run..].bytes().take_while(u8::is_ascii_digit).count();
    let cuts: Vec<usize> = digits::name_and_port(&text[run..run + length])
        .into_iter()
        .map(|cut| run + cut)
        .filter(|&cut| reads(cut))
        .collect();
    let known = |cut: &&usize| {
        let name = Folded::new(&text[..**cut]);
        matches!(readings.words.ports.whole(name.as_str()), Some(PortWord::Application(_)))
    };
    // Where several cuts are possible and no name decides, the line stays whole and gets reported.
    let only = if let [only] = &cuts[..] { Some(only) } else { None };
    let cut = *cuts.iter().find(known).or(only)?;
    Some((&text[..cut], &text[cut..]))
}

/// The longest port language at the start of a line, and the text behind it.
fn leading<'a>(text: &'a str, readings: &Readings) -> Option<(&'a str, &'a str)> {
    let mut ends = boundaries(text);
    ends.push(text.len());
    let end =
        *ends.iter().rev().find(|&&end| readings.complete(&text[..end]).is_some_and(|it| is_sure(&it)))?;
    Some((&text[..end], &text[end..]))
}

/// Whether port language has numbers, and none that is in doubt.
fn is_sure(expression: &Expression) -> bool {
    expression.has_numbers() && expression.problems.is_empty()
}

/// Where a cell may begin: at a letter or digit behind something else, another script, or a lower-case letter.
fn boundaries(text: &str) -> Vec<usize> {
    let mut starts = vec![];
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let begins = match before {
            None => c.is_alphanumeric(),
            Some(before) => {
                c.is_alphanumeric()
                    && (!before.is_alphanumeric()
                        || before.is_lowercase() && c.is_uppercase()
                        || before.is_ascii() != c.is_ascii()
                        || before.is_ascii_digit() != c.is_ascii_digit())
            }
        };
        if begins {
            starts.push(at);
        }
        before = Some(c);
    }
    starts
}

/// `NameDescription5350102465535`: the name, the description, and three numbers.
fn setting(text: &str, columns: &[Column]) -> Option<Vec<String>> {
    let text = text.trim();
    let numbers = text.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let tail = text[numbers.len()..].trim();
    let apart: Vec<u32> = tail.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [default, min, max] = match (&apart[..], &digits::default_and_bounds(tail)[..]) {
        (&[default, min, max], _) => [default, min, max],
        (_, &[only]) => only,
        _ => return None,
    };
    // The name is the first word, up to the capital with which the description begins.
    let word = numbers.split_whitespace().next()?;
    let turn = word
        .char_indices()
        .zip(word.chars().skip(1))
        .filter(|((_, c), next)| c.is_lowercase() && next.is_uppercase())
        .map(|((at, c), _)| at + c.len_utf8())
        .last();
    let end = turn.filter(|_| columns.len() > 4).unwrap_or(word.len());
    let mut texts = [word[..end].to_owned(), numbers[end..].trim().to_owned()].into_iter();
    let cells = columns.iter().map(|column| match column {
        Column::Default => default.to_string(),
        Column::Minimum => min.to_string(),
        Column::Maximum => max.to_string(),
        _ => texts.next().unwrap_or_default(),
    });
    Some(cells.collect())
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

/// A row with `text` in its first cell.
fn whole(text: &str, columns: usize) -> Vec<String> {
    let mut cells = vec![String::new(); columns];
    if let Some(first) = cells.first_mut() {
        text.trim().clone_into(first);
    }
    cells
}
