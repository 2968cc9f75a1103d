//! Cuts: a line below a header to cells, by what its columns hold.
//!
//! In come a line and the columns of its table; out come its cells: cut at the port language that ends it or stands
//! inside of it, at the address that begins it, or into the numbers of a setting. Invariant: what is cut has all of
//! the line's text.

use std::ops::Range;

use super::anchors::{self, Kind, Line, Part};
use super::boundaries::boundaries;
use super::digits;
use crate::requirement::columns::Column;
use crate::requirement::expression::{Expression, Group};
use crate::requirement::fold::Folded;
use crate::requirement::names;
use crate::requirement::reading::Readings;
use crate::requirement::vocabulary::PortWord;

/// Longest line that can be a row.
pub(super) const LINE: usize = 400;

/// What a line is to the table above it.
pub(super) enum Cut {
    /// Its cells.
    Row(Vec<String>),
    /// Its cells, which have no transport.
    Bare(Vec<String>),
    /// More of the cell in this column of the row above.
    Continues(usize),
    /// A row that cannot be cut.
    Whole,
}

/// Cuts a line into cells for `columns`, whose `parts` are known where text stands behind their ports.
pub(super) fn cut(text: &str, columns: &[Column], parts: Option<&[Part]>, readings: &Readings) -> Cut {
    let is = |word: Column| columns.contains(&word);
    if text.len() <= LINE {
        if let Some(parts) = parts {
            return between(text, columns, parts, readings);
        }
        if is(Column::Default) && (is(Column::Minimum) || is(Column::Maximum)) {
            if let Some(cells) = setting(text, columns) {
                return Cut::Row(cells);
            }
        } else if columns.first() == Some(&Column::Url) {
            if let Some(address) = names::parse(text) {
                let mut cells = vec![String::new(); columns.len()];
                text[..address.end].trim().clone_into(&mut cells[0]);
                text[address.end..].trim().clone_into(&mut cells[columns.len() - 1]);
                return Cut::Row(cells);
            }
        } else if let Some(at) = port_column(columns) {
            return ports(text, columns, at, readings);
        }
    }
    Cut::Continues(columns.len() - 1)
}

/// Cuts around the ports in the middle of a line.
fn between(text: &str, columns: &[Column], parts: &[Part], readings: &Readings) -> Cut {
    let cells = |pieces: Vec<String>| {
        let mut cells = vec![String::new(); columns.len()];
        for (part, piece) in parts.iter().zip(pieces) {
            let (Part::Anchor(_, at) | Part::Text(Range { start: at, .. })) = *part;
            cells[at] = piece;
        }
        cells
    };
    let anchor = |wanted: Kind| {
        let found = parts.iter().find_map(|part| match part {
            Part::Anchor(kind, at) if *kind == wanted => Some(*at),
            _ => None,
        });
        found.unwrap_or(columns.len() - 1)
    };
    if let Some(all) = readings.complete(text)
        && all.problems.is_empty()
        && all.groups.iter().all(is_bare)
    {
        return Cut::Continues(anchor(if all.has_numbers() { Kind::Ports } else { Kind::Protocol }));
    }
    match anchors::cut(text, parts, readings) {
        Line::Row(pieces) => Cut::Row(cells(pieces)),
        Line::Bare(pieces) => Cut::Bare(cells(pieces)),
        Line::Portless => Cut::Continues(columns.len() - 1),
        Line::Uncertain => Cut::Whole,
    }
}

/// Whether a group has ports alone, or protocols alone.
fn is_bare(group: &Group) -> bool {
    group.ports.is_empty() != group.protocols.is_empty() && group.applications.is_empty()
}

pub(super) fn port_column(columns: &[Column]) -> Option<usize> {
    columns.iter().position(|word| word.heads_ports())
}

/// Cuts at the ports: behind the other cells, or before them where the header begins with the port.
fn ports(text: &str, columns: &[Column], at: usize, readings: &Readings) -> Cut {
    let continues = |all: &Expression| all.has_ports() && all.applications().is_empty();
    if at > 0 && readings.complete(text).is_some_and(|all| continues(&all)) {
        return Cut::Continues(columns.len() - 1);
    }
    let found = if at == 0 {
        leading(text, readings).map(|(ports, rest)| (rest, ports))
    } else {
        trailing(text, readings)
    };
    let Some((rest, ports)) = found else { return Cut::Continues(columns.len() - 1) };
    let mut cells = vec![String::new(); columns.len()];
    ports.clone_into(&mut cells[at]);
    // The text goes to the first column that holds text.
    if let Some(text_column) =
        columns.iter().position(|word| !word.heads_ports() && *word != Column::Protocol || columns.len() == 2)
    {
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
pub(super) fn leading<'a>(text: &'a str, readings: &Readings) -> Option<(&'a str, &'a str)> {
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

/// A row with `text` in its first cell of text, or behind all others: it says nothing of ports and protocols.
pub(super) fn whole(text: &str, columns: &[Column]) -> Vec<String> {
    let mut cells = vec![String::new(); columns.len()];
    let text = text.trim().to_owned();
    match columns.iter().position(anchors::is_text) {
        Some(at) => cells[at] = text,
        None => cells.push(text),
    }
    cells
}
