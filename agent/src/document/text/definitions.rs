//! Definition lists: a term, and what it means on indented lines below it or behind a colon.
//!
//! In come lines; out comes a list in which each definition follows its term, as in HTML's `dl`. Indented
//! text stands below headings too, so that two terms in a row are asked for, and a definition is no sentence
//! and no list of its own. Invariant: a term is one line with nothing above it.

use super::{Block, Lines, Taken, list};
use crate::document::{Item, inline};

/// Longest term.
const TERM: usize = 100;
/// Most lines of a definition.
const LINES: usize = 8;
/// Definitions among the first of which one has a number.
const SAMPLE: usize = 6;
/// How much further a definition is indented at least.
const INDENT: usize = 2;

/// The definition list that begins at line `at`.
pub(super) fn items(lines: &Lines<'_>, at: usize) -> Taken {
    marked(lines, at).or_else(|| indented(lines, at))
}

/// `: text` below the term, as Markdown's extensions write it.
fn marked(lines: &Lines<'_>, at: usize) -> Taken {
    let mut items: Vec<Item> = vec![];
    let mut next = at;
    while is_term(lines.get(next)) && colon(lines.get(next + 1)).is_some() {
        let term = next;
        next += 1;
        while let Some(text) = colon(lines.get(next)) {
            let mut text = text.to_owned();
            let first = next;
            next += 1;
            while lines.get(next).starts_with([' ', '\t']) && colon(lines.get(next)).is_none() {
                text.push('\n');
                text.push_str(lines.get(next).trim_start());
                next += 1;
            }
            define(&mut items, (term, lines.get(term)), (first, &text));
        }
        next += usize::from(lines.is_blank(next) && colon(lines.get(next + 2)).is_some());
    }
    (!items.is_empty()).then(|| (vec![Block::List(items)], next))
}

/// Text behind a colon that begins a line.
fn colon(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix(':')?;
    (text.starts_with([' ', '\t']) && !text.trim().is_empty()).then(|| text.trim_start())
}

/// Indented lines below the term, as in reST.
fn indented(lines: &Lines<'_>, at: usize) -> Taken {
    let mut items: Vec<Item> = vec![];
    let (mut terms, mut numbered) = (0, false);
    let mut next = at;
    while let Some((text, end)) = definition(lines, next, indent(lines.get(at))) {
        numbered |= text.contains(char::is_numeric) || is_number(lines.get(next));
        define(&mut items, (next, lines.get(next)), (next + 1, &text));
        terms += 1;
        if terms == SAMPLE && !numbered {
            return None;
        }
        next = end;
        let behind = next + usize::from(lines.is_blank(next));
        if definition(lines, behind, indent(lines.get(at))).is_some() {
            next = behind;
        }
    }
    (terms >= 2 && numbered).then(|| (vec![Block::List(items)], next))
}

/// The definition of the term at line `at`, and the line behind it.
fn definition(lines: &Lines<'_>, at: usize, margin: usize) -> Option<(String, usize)> {
    let deeper = |line: usize| !lines.is_blank(line) && indent(lines.get(line)) >= margin + INDENT;
    let term = lines.get(at);
    if !is_term(term) || indent(term) != margin || !deeper(at + 1) {
        return None;
    }
    let mut end = at + 1;
    let mut text = String::new();
    while deeper(end) {
        let line = lines.get(end).trim_start();
        // A line that does not go on with the one above is an item of its own.
        let goes_on = text.is_empty() || text.ends_with([',', '、', '-', '–', '—', '~', '～', '/', '+']);
        if !goes_on || end - at > LINES || list::is_item(line) || line.starts_with(['|', ':']) {
            return None;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
        end += 1;
    }
    (!text.ends_with(['.', ':', '!', '?', '。', '：'])).then_some((text, end))
}

/// Adds a term and its definition; a port is explained by its definition on one line.
fn define(items: &mut Vec<Item>, (term, name): (usize, &str), (line, text): (usize, &str)) {
    let name = inline::plain(name.trim()).text.into_string();
    let text = inline::plain(text).text.into_string();
    let item =
        |line: usize, text: String| Item { line: Lines::number(line), depth: 0, bullet: String::new(), text };
    if is_number(&name) && !text.contains(char::is_numeric) {
        items.push(item(term, format!("{name}: {text}")));
    } else {
        items.push(item(term, name));
        items.push(item(line, text));
    }
}

/// Whether a line can be a term: short, and no sentence or other shape.
fn is_term(line: &str) -> bool {
    let text = line.trim_start();
    !text.is_empty()
        && text.len() <= TERM
        && !text.starts_with(['|', '#', '>', '.', ':', '+', '<', '['])
        && !text.ends_with(['.', ',', ';', ':', '。', '、', '：'])
        && !list::is_item(line)
}

/// Whether a term is a number of more than one digit, as those of most ports are.
fn is_number(term: &str) -> bool {
    term.trim_start().bytes().take_while(u8::is_ascii_digit).count() > 1
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Option<Vec<(u32, String)>> {
        let lines = Lines(content.split('\n').collect());
        let (blocks, _) = items(&lines, 0)?;
        match blocks.into_iter().next() {
            Some(Block::List(items)) => Some(items.into_iter().map(|item| (item.line, item.text)).collect()),
            other => panic!("a list, not {other:?}"),
        }
    }

    #[test]
    fn terms_stand_above_their_definitions() {
        let cases: &[(&str, &[(u32, &str)])] = &[
            (
                "Radar\n    UDP 9200\nSonar\n    TCP 9300,\n    9301\n\n**Chart**\n  TCP 80\n\nText",
                &[
                    (1, "Radar"),
                    (2, "UDP 9200"),
                    (3, "Sonar"),
                    (4, "TCP 9300,\n9301"),
                    (7, "Chart"),
                    (8, "TCP 80"),
                ],
            ),
            (
                "Radar\n: UDP 9200\n: TCP 9201\n  for charts\n\nSonar\n: TCP 9300\n",
                &[
                    (1, "Radar"),
                    (2, "UDP 9200"),
                    (1, "Radar"),
                    (3, "TCP 9201\nfor charts"),
                    (6, "Sonar"),
                    (7, "TCP 9300"),
                ],
            ),
            ("9200/udp\n  Radar\n9300/tcp\n  Sonar\n", &[(1, "9200/udp: Radar"), (3, "9300/tcp: Sonar")]),
        ];
        for (content, expected) in cases {
            let expected = expected.iter().map(|&(line, text)| (line, text.to_owned())).collect();
            assert_eq!(read(content), Some(expected), "{content}");
        }
    }

    #[test]
    fn headings_and_paragraphs_define_nothing() {
        for content in [
            "Ports\n    The server uses 443.\n\nNames\n    There are 2 of them.\n",
            "Radar\n    UDP 9200\n\nText",
            "Radar\n    first\nSonar\n    second\n",
            "Radar\n    - UDP 9200\nSonar\n    - UDP 9300\n",
            "Radar\n    UDP 9200\n    TCP 9201\nSonar\n    TCP 9300\n    TCP 9301\n",
            "Ports of the radar:\n    UDP 9200\n\nPorts of the sonar:\n    TCP 9300\n",
            ": UDP 9200",
        ] {
            assert_eq!(read(content), None, "{content}");
        }
    }
}
