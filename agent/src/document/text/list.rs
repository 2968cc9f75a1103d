//! Lists of plain text: `-`, `*`, `+`, `•`, `1.`, `a)`.
//!
//! In come lines; out comes one list block with its items' depths. A line indented further than the
//! item's mark continues the item. Invariant: a mark is followed by white space, so that `*.host` and
//! `-1` are text.

use super::{Block, Lines, Taken, quoted};
use crate::document::{Item, inline};

/// The list that begins at line `at`.
pub(super) fn items(lines: &Lines<'_>, at: usize) -> Taken {
    bullet(lines.get(at))?;
    let mut items: Vec<Item> = vec![];
    let mut indents: Vec<usize> = vec![];
    let mut sources: Vec<String> = vec![];
    let mut next = at;
    while next < lines.len() {
        let line = lines.get(next);
        if let Some((indent, mark, text)) = bullet(line) {
            while indents.last().is_some_and(|&open| open > indent) {
                indents.pop();
            }
            if indents.last() != Some(&indent) {
                indents.push(indent);
            }
            let depth = u8::try_from(indents.len() - 1).unwrap_or(u8::MAX);
            items.push(Item {
                line: Lines::number(next),
                depth,
                bullet: mark.to_owned(),
                text: String::new(),
            });
            sources.push(text.to_owned());
        } else if line.trim().is_empty() {
            // A blank line ends the list unless an item or indented text follows.
            let follows = lines.get(next + 1);
            if bullet(follows).is_none() {
                break;
            }
        } else if is_block(line) || !line.starts_with([' ', '\t']) && lines.is_blank(next.saturating_sub(1)) {
            break;
        } else if let Some(source) = sources.last_mut() {
            source.push('\n');
            source.push_str(line.trim());
        }
        next += 1;
    }
    for (item, source) in items.iter_mut().zip(sources) {
        item.text = inline::plain(&source).text;
    }
    Some((vec![Block::List(items)], next))
}

/// Indentation, mark and text of a line that begins an item.
fn bullet(line: &str) -> Option<(usize, &str, &str)> {
    let text = quoted(line);
    let indent = line.len() - line.trim_start().len();
    let end = text.find([' ', '\t', '\u{a0}'])?;
    let (mark, rest) = text.split_at(end);
    let number = mark.strip_suffix(['.', ')']).unwrap_or_default();
    let numbered = (1..=3).contains(&number.len())
        && (number.bytes().all(|byte| byte.is_ascii_digit())
            || number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_lowercase()));
    (matches!(mark, "-" | "*" | "+" | "•" | "·" | "◦" | "▪" | "–" | "・" | "●" | "■") || numbered)
        .then(|| (indent, mark, rest.trim()))
        .filter(|(_, _, rest)| !rest.is_empty())
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
