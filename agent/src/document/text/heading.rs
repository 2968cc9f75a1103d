//! Headings that the text marks: `#`, `=` as in AsciiDoc, `h2.` as in wikis, underlines, and the title of a front matter.
//!
//! In come lines; out come heading blocks. Lone short lines without a mark stay paragraphs: whether
//! they head something is a question of what follows, which the importer answers. Invariant: an
//! underline heads at most two lines above it.

use super::{Block, Lines, Taken, heading_block};
use crate::document::inline;

/// Marks that reST and Markdown underline headings with.
const UNDERLINES: &str = "=-~^\"'`#*+:._";

/// The title in a YAML front matter, and the first line after it.
pub(super) fn front_matter(lines: &Lines<'_>) -> (Option<String>, usize) {
    if lines.get(0).trim_start_matches('\u{feff}') != "---" {
        return (None, 0);
    }
    let Some(end) = (1..lines.len().min(200)).find(|&at| matches!(lines.get(at), "---" | "...")) else {
        return (None, 0);
    };
    let title = (1..end).find_map(|at| {
        let value = lines.get(at).strip_prefix("title:")?.trim();
        let value = value.trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| inline::plain(value).text)
    });
    (title, end + 1)
}

/// A heading with a mark at line `at`; underlines only where no paragraph is `open` above.
pub(super) fn marked(lines: &Lines<'_>, at: usize, fresh: bool) -> Taken {
    let line = lines.get(at);
    let trimmed = line.trim_start();
    for mark in ['#', '='] {
        let level = trimmed.chars().take_while(|&c| c == mark).count();
        let text = trimmed[level..].trim();
        if (1..=6).contains(&level)
            && trimmed[level..].starts_with([' ', '\t'])
            && !text.is_empty()
            && line.len() - trimmed.len() < 4
        {
            let text = text.trim_end_matches(mark).trim_end();
            return Some((
                vec![heading_block(at, u8::try_from(level).unwrap_or(6), without_anchor(text))],
                at + 1,
            ));
        }
    }
    if !fresh {
        return None;
    }
    if let Some((level, text)) = wiki(line) {
        return Some((vec![heading_block(at, level, text)], at + 1));
    }
    // reST: a line above and below the title.
    if let Some(mark) = underline(trimmed) {
        let title = lines.get(at + 1);
        return (!title.trim().is_empty() && underline(lines.get(at + 2).trim()) == Some(mark))
            .then(|| (vec![heading_block(at + 1, 1, title)], at + 3))
            .or_else(|| Some((vec![], at + 1)));
    }
    let mark = underline(lines.get(at + 1).trim())?;
    let level = 2 + u8::try_from(UNDERLINES.find(mark).unwrap_or(0)).unwrap_or(0).min(4);
    let level = if mark == '=' { 1 } else { level };
    (!lines.get(at + 1).starts_with(' '))
        .then(|| (vec![heading_block(at, level, trimmed)] as Vec<Block>, at + 2))
}

/// `h2. Title`.
fn wiki(line: &str) -> Option<(u8, &str)> {
    let (mark, text) = line.split_once(". ")?;
    let level = mark.strip_prefix('h').filter(|level| level.len() == 1)?.parse().ok()?;
    ((1..=6).contains(&level) && !text.trim().is_empty()).then(|| (level, text.trim()))
}

/// The mark of a line that consists of one, at least three times.
fn underline(line: &str) -> Option<char> {
    let mark = line.chars().next().filter(|&c| UNDERLINES.contains(c))?;
    (line.len() >= 3 && line.chars().all(|c| c == mark)).then_some(mark)
}

/// Hugo and kramdown append `{#anchor}`.
fn without_anchor(text: &str) -> &str {
    match text.rfind("{#") {
        Some(start) if text.ends_with('}') => text[..start].trim_end(),
        _ => text,
    }
}
