//! Footnotes: sentences below a table that qualify some of its rows.
//!
//! In come the blocks behind a table and the marks in its cells; out come the sentences by their marks.
//! Invariant: a sentence is a footnote only by the mark that it begins with.

use std::collections::HashMap;

use super::fold::Folded;
use super::vocabulary::Vocabulary;
use crate::document::{Block, Row, collapse};

/// Blocks behind a table that may hold its footnotes.
const REACH: usize = 12;

/// Characters at the start of a line in which its mark stands.
const LEAD: usize = 4;

/// Footnotes by their marks.
#[derive(Debug, Default)]
pub(crate) struct Footnotes(HashMap<String, String>);

impl Footnotes {
    /// The footnotes in the blocks that follow a table.
    pub(crate) fn behind(blocks: &[Block]) -> Self {
        let mut notes = Self::default();
        for block in blocks.iter().take(REACH) {
            match block {
                Block::Paragraph(paragraph) => {
                    for line in &paragraph.lines {
                        notes.add(&line.text);
                    }
                }
                Block::List(items) => {
                    for item in items {
                        // `1.`, `(1)` and `①` explain the same mark.
                        let folded = Folded::new(&item.bullet);
                        let mark = folded.as_str().trim_matches(['(', '.', ')']);
                        let marked = matches!(mark, "*" | "**" | "†")
                            || mark.starts_with(|c: char| c.is_ascii_digit());
                        if marked {
                            notes.0.entry(mark.to_owned()).or_insert_with(|| collapse(&item.text));
                        }
                    }
                }
                // A table of its own has footnotes of its own.
                Block::Table(_) | Block::Heading(_) => break,
            }
        }
        notes
    }

    /// Adds the footnotes in a row of the table itself; tells whether there were any.
    pub(crate) fn row(&mut self, row: &Row, words: &Vocabulary) -> bool {
        let Some(text) = super::columns::spanning(row) else { return false };
        let cell = row.cells.first().map_or("", |cell| cell.text.as_str());
        let before = self.0.len();
        cell.lines().for_each(|line| self.add(line));
        let labelled =
            words.note_labels.find(&Folded::new(&text)).first().is_some_and(|label| label.start == 0);
        self.0.len() > before || labelled
    }

    /// The sentence behind `mark`.
    pub(crate) fn get(&self, mark: &str) -> Option<&str> {
        self.0.get(mark).map(String::as_str)
    }

    /// Takes a line that begins with a mark: `* text`, `(1) text`, `[1] text`, `1. text`, `¹ text`.
    fn add(&mut self, line: &str) {
        let line = line.trim();
        let stars = line
            .chars()
            .take_while(|c| matches!(c, '*' | '†' | '‡' | '§'))
            .map(char::len_utf8)
            .sum::<usize>();
        // `※1 text`, `*1 text`, `① text` explain the same mark as `1. text`.
        let folded = Folded::new(&line.chars().take(LEAD).collect::<String>());
        let numbered = folded.as_str().trim_start_matches(['*', '※']);
        let digits = numbered.bytes().take_while(u8::is_ascii_digit).count();
        let raised = numbered.len() < folded.as_str().len() && (1..=2).contains(&digits);
        let (mark, text) = if raised {
            let behind = folded.source(folded.as_str().len() - numbered.len() + digits);
            (
                &numbered[..digits],
                line.get(behind..).unwrap_or_default().trim_start_matches([')', ']', '.', ':']),
            )
        } else if stars > 0 {
            (&line[..stars], &line[stars..])
        } else {
            let open = usize::from(line.starts_with(['(', '[']));
            let digits = line[open..].bytes().take_while(u8::is_ascii_digit).count();
            let rest = &line[open + digits..];
            let closed =
                rest.starts_with([')', ']', '.', ':']) || open == 0 && rest.starts_with(' ') && digits < 3;
            if digits == 0 || digits > 2 || !closed {
                return;
            }
            (&line[open..open + digits], rest.trim_start_matches([')', ']', '.', ':']))
        };
        let text = text.trim();
        if text.chars().any(char::is_alphabetic) {
            self.0.entry(mark.to_owned()).or_insert_with(|| collapse(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Line, Paragraph};

    #[test]
    fn marks_lead_to_their_sentences() {
        let lines = [
            "* Only for old clients.",
            "** Can be changed.",
            "(1) Nodes of one site.",
            "2. With a balancer.",
            "† By default.",
            "※3 Both ways.",
            "④ On request.",
        ];
        let lines = lines.iter().map(|text| Line { number: 1, text: (*text).to_owned() }).collect();
        let notes = Footnotes::behind(&[Block::Paragraph(Paragraph { lines, bold: false })]);
        for (mark, text) in [
            ("*", "Only for old clients."),
            ("**", "Can be changed."),
            ("1", "Nodes of one site."),
            ("2", "With a balancer."),
            ("†", "By default."),
            ("3", "Both ways."),
            ("4", "On request."),
        ] {
            assert_eq!(notes.get(mark), Some(text), "{mark}");
        }
    }
}
