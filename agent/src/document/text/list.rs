//! Lists of plain text: `-`, `•`, `・`, `○`, `✓`, `①`, `1.`, `1)`, `(1)`, `a)`, `(a)`.
//!
//! In come lines; out comes one list block with its items' depths. A line indented further than the
//! item's mark continues the item. A mark of another kind at the same indentation nests, as `・` below
//! `■` and `-` below `1.` do. Invariant: a mark with which words or numbers begin too is followed by white
//! space, so that `*.host` and `-1` are text.

use unicode_width::UnicodeWidthStr as _;

use super::{Block, Lines, Taken, quoted};
use crate::document::{Item, inline};

/// Marks that stand apart from the text, since words, numbers and patterns begin with them too.
const DASHES: &str = "-*+–—－";
/// Marks with which nothing else begins, so that the text may follow at once; the last four are what word
/// processors leave of theirs.
const SYMBOLS: &str = "•·・･◦‣⁃∙▪▫►▸▶▷➢➤○●◎◆◇■□✓✔➜\u{f0b7}\u{f0a7}\u{f0d8}\u{f0fc}";
/// Marks of headings as well as of items.
const HEADINGS: &str = "■□◆◇●○◎";
/// Columns of a line that its author may have broken for want of room.
const FULL: usize = 50;

/// A mark and the item that it begins.
#[derive(Clone, Copy, Debug)]
struct Marked<'a> {
    indent: usize,
    mark: &'a str,
    kind: Kind,
    text: &'a str,
}

/// What the marks of one list have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Symbol(char),
    /// Numbers, by the character that encloses them.
    Number(char),
    /// Letters, by the character that encloses them.
    Letter(char),
}

/// The list that begins at line `at`.
pub(super) fn items(lines: &Lines<'_>, at: usize) -> Taken {
    // `(c) 2024` is a copyright, unless `(b)` came before.
    item(lines.get(at)).filter(|item| item.mark != "(c)")?;
    let mut items: Vec<Item> = vec![];
    let mut open: Vec<(usize, Kind)> = vec![];
    let mut sources: Vec<String> = vec![];
    let mut next = at;
    while next < lines.len() {
        let line = lines.get(next);
        if let Some(Marked { indent, mark, kind, text }) = item(line) {
            while open.last().is_some_and(|&(outer, _)| outer > indent) {
                open.pop();
            }
            match open.iter().position(|&known| known == (indent, kind)) {
                Some(known) => open.truncate(known + 1),
                None => open.push((indent, kind)),
            }
            let depth = u8::try_from(open.len() - 1).unwrap_or(u8::MAX);
            items.push(Item {
                line: Lines::number(next),
                depth,
                bullet: mark.to_owned(),
                text: String::new(),
            });
            sources.push(text.to_owned());
        } else if line.trim().is_empty() {
            // A blank line ends the list unless an item or indented text follows.
            if !is_item(lines.get(next + 1)) {
                break;
            }
        } else if is_block(line)
            || !line.starts_with([' ', '\t'])
                && (lines.is_blank(next.saturating_sub(1))
                    || is_heading(lines.get(next - 1))
                    || super::table(lines, next).is_some())
        {
            break;
        } else if let Some(source) = sources.last_mut() {
            source.push('\n');
            source.push_str(line.trim());
        }
        next += 1;
    }
    for (item, source) in items.iter_mut().zip(sources) {
        item.text = inline::plain(&source).text.into_string();
    }
    Some((vec![Block::List(items)], next))
}

/// Whether a line begins an item.
pub(super) fn is_item(line: &str) -> bool {
    item(line).is_some()
}

/// Whether the item on a line may head the lines below it: with a heading's mark, and shorter than a line that was
/// broken for want of room.
fn is_heading(line: &str) -> bool {
    item(line).is_some_and(|item| item.mark.starts_with(|mark| HEADINGS.contains(mark)))
        && line.width() < FULL
}

/// The item that a line begins.
fn item(line: &str) -> Option<Marked<'_>> {
    let text = quoted(line);
    let indent = line.len() - line.trim_start().len();
    let first = text.chars().next()?;
    let (length, kind) = if SYMBOLS.contains(first) || DASHES.contains(first) {
        (first.len_utf8(), Kind::Symbol(first))
    } else if ('①'..='⑳').contains(&first) {
        (first.len_utf8(), Kind::Number('①'))
    } else {
        number(text)?
    };
    let (mark, rest) = text.split_at(length);
    let next = rest.chars().next()?;
    let apart = next.is_whitespace()
        || match kind {
            // `○○` stands for a name that is left out.
            Kind::Symbol(_) => SYMBOLS.contains(first) && next != first,
            Kind::Number('①') => true,
            Kind::Number('.') => false,
            Kind::Number(_) | Kind::Letter(_) => !next.is_ascii(),
        };
    let rest = rest.trim();
    let says = if SYMBOLS.contains(first) { rest.contains(char::is_alphanumeric) } else { !rest.is_empty() };
    (apart && says).then_some(Marked { indent, mark, kind, text: rest })
}

/// Length and kind of `1.`, `1)`, `(1)`, `a)`, `(a)` or `(iv)` at the start of a text.
fn number(text: &str) -> Option<(usize, Kind)> {
    let inner = text.strip_prefix(['(', '（']);
    let enclosed = inner.is_some();
    let inner = inner.unwrap_or(text);
    let start = text.len() - inner.len();
    let end = inner.char_indices().take(5).find(|&(_, c)| !is_digit(c) && !c.is_ascii_lowercase())?;
    let (label, closing) = (&inner[..end.0], end.1);
    let shape = match closing {
        ')' | '）' if enclosed => '(',
        ')' | '）' => ')',
        '.' if !enclosed => '.',
        _ => return None,
    };
    let count = label.chars().count();
    // `(c) 2019`: what the law wants said, and no item.
    if label == "c" && begins_with_year(inner[end.0 + closing.len_utf8()..].trim_start()) {
        return None;
    }
    let kind = if label.chars().all(is_digit) && (1..=if enclosed { 2 } else { 3 }).contains(&count) {
        Kind::Number(shape)
    } else if count == 1 || enclosed && count > 0 && label.chars().all(|c| matches!(c, 'i' | 'v' | 'x')) {
        Kind::Letter(shape)
    } else {
        return None;
    };
    Some((start + end.0 + closing.len_utf8(), kind))
}

fn begins_with_year(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits == 4 && (text.starts_with("19") || text.starts_with("20"))
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || ('０'..='９').contains(&c)
}

/// Lines that cannot continue an item.
fn is_block(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('#')
        || line.starts_with('|')
        || line.starts_with("+-")
        || line.starts_with("```")
        || line.to_ascii_lowercase().starts_with("<table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Vec<(u8, String, String)> {
        let lines = Lines(content.split('\n').collect());
        match items(&lines, 0) {
            Some((blocks, _)) => match blocks.into_iter().next() {
                Some(Block::List(items)) => {
                    items.into_iter().map(|item| (item.depth, item.bullet, item.text)).collect()
                }
                other => panic!("a list, not {other:?}"),
            },
            None => vec![],
        }
    }

    #[test]
    fn marks_begin_items_and_stay_out_of_their_text() {
        for mark in [
            "-",
            "*",
            "+",
            "–",
            "•",
            "・",
            "○",
            "●",
            "◆",
            "■",
            "□",
            "◇",
            "▪",
            "‣",
            "►",
            "✓",
            "①",
            "⑳",
            "1.",
            "1)",
            "(1)",
            "（１）",
            "1）",
            "a)",
            "(a)",
            "(iv)",
        ] {
            let expected = [(0, mark.to_owned(), "Web：443/TCP".to_owned())];
            assert_eq!(read(&format!("{mark} Web：443/TCP")), expected, "{mark}");
        }
        for mark in ["・", "○", "■", "①", "(1)", "1)"] {
            let expected = [(0, mark.to_owned(), "監視：161/UDP".to_owned())];
            assert_eq!(read(&format!("{mark}監視：161/UDP")), expected, "{mark}");
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_is_text() {
        for text in [
            "*.example.net",
            "-1",
            "1.5 GB",
            "○○サーバー",
            "(c) 2024 Vendor",
            "(see below) text",
            "4505/TCP",
            "● ○",
            "(web) 443",
            "※1 注記",
        ] {
            assert_eq!(read(text), [], "{text}");
        }
    }

    #[test]
    fn marks_of_another_kind_nest() {
        let found = read("1. Server\n\n・Web: TCP 443\n・Mail: TCP 25\n2. Client\n・NTP: UDP 123");
        let depths: Vec<(u8, &str)> = found.iter().map(|(depth, mark, _)| (*depth, mark.as_str())).collect();
        assert_eq!(depths, [(0, "1."), (1, "・"), (1, "・"), (0, "2."), (1, "・")]);
    }

    #[test]
    fn a_table_or_text_below_a_heading_is_no_part_of_it() {
        let table = "Role   Port\nWeb    443\nMail   25\n";
        for content in
            [format!("■Ports\n{table}"), format!("- Ports\n{table}"), "■受信\n監視：161".to_owned()]
        {
            assert_eq!(read(&content).len(), 1, "{content}");
            assert!(!read(&content)[0].2.contains('\n'), "{content}");
        }
        assert_eq!(read("- the first\nhalf")[0].2, "the first\nhalf");
    }
}
