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
        (!value.is_empty()).then(|| inline::plain(value).text.into_string())
    });
    (title, end + 1)
}

/// The levels of underlined headings: in reST the first mark that a document uses is the outermost, whichever it is.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// Marks in the order of their levels, and whether a line of them stands above the heading, too. Empty where only
    /// the two marks of Markdown are used, whose levels are fixed.
    marks: Vec<(char, bool)>,
}

impl Levels {
    /// Those of a document.
    pub(super) fn of(lines: &Lines<'_>) -> Self {
        let mut marks: Vec<(char, bool)> = vec![];
        for at in 1..lines.len() {
            let Some(mark) = underline(lines.get(at)).filter(|_| !lines.is_blank(at - 1)) else { continue };
            let title = lines.get(at - 1).trim();
            // A fence or a break below a paragraph is shorter than its last line.
            if underline(title).is_some() || lines.get(at).chars().count() < title.chars().count() {
                continue;
            }
            let over = at >= 2 && underline(lines.get(at - 2).trim()) == Some(mark);
            if !marks.contains(&(mark, over)) {
                marks.push((mark, over));
            }
        }
        let restructured = marks.iter().any(|&(mark, over)| over || !matches!(mark, '=' | '-'));
        Self { marks: if restructured { marks } else { vec![] } }
    }

    fn level(&self, mark: char, over: bool) -> u8 {
        match self.marks.iter().position(|&known| known == (mark, over)) {
            Some(at) => u8::try_from(at + 1).unwrap_or(u8::MAX).min(6),
            None if over || mark == '=' => 1,
            None => 2 + u8::try_from(UNDERLINES.find(mark).unwrap_or(0)).unwrap_or(0).min(4),
        }
    }
}

/// A heading with a mark at line `at`; underlines only where no paragraph is `open` above.
pub(super) fn marked(lines: &Lines<'_>, levels: &Levels, at: usize, fresh: bool) -> Taken {
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
            .then(|| (vec![heading_block(at + 1, levels.level(mark, true), title)], at + 3))
            .or_else(|| Some((vec![], at + 1)));
    }
    let mark = underline(lines.get(at + 1).trim())?;
    let level = levels.level(mark, false);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Vec<(String, u8)> {
        let lines = Lines(text.split('\n').collect());
        let levels = Levels::of(&lines);
        let mut found = vec![];
        for at in 0..lines.len() {
            let above = at > 0 && !lines.is_blank(at - 1);
            if let Some((blocks, _)) = marked(&lines, &levels, at, !above) {
                found.extend(blocks.into_iter().filter_map(|block| match block {
                    Block::Heading(heading) => Some((heading.text, heading.level)),
                    _ => None,
                }));
            }
        }
        found
    }

    #[test]
    fn the_first_mark_of_a_document_is_the_outermost() {
        let text = "Guide\n#####\n\n*****\nPorts\n*****\n\nRelay\n=====\n\nGate\n====\n";
        let expected = [("Guide", 1), ("Ports", 2), ("Relay", 3), ("Gate", 3)];
        assert_eq!(levels(text), expected.map(|(text, level)| (text.to_owned(), level)));
    }

    #[test]
    fn the_two_marks_of_markdown_have_their_levels() {
        let expected = [("Relay", 3), ("Ports", 1), ("Text above a fence", 4), ("Text above a break", 6)];
        let text = "Relay\n-----\n\nPorts\n=====\n\nText above a fence\n~~~\n\nText above a break\n***\n";
        assert_eq!(levels(text), expected.map(|(text, level)| (text.to_owned(), level)));
    }
}
