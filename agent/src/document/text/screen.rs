//! Screen columns: a line as a terminal shows it, where a CJK character is two columns wide.
//!
//! In comes a line; out comes one entry a column, so that text below a header can be found by its
//! place. Invariant: the entries without [`FILLER`] are the line's characters in their order.

use unicode_width::UnicodeWidthChar as _;

/// Stands in the second column of a wide character.
const FILLER: char = '\0';
/// Distance between tab stops.
const TAB: usize = 8;

/// A line by screen columns.
pub(super) struct Screen(Vec<char>);

impl Screen {
    pub(super) fn new(line: &str) -> Self {
        let mut columns = Vec::with_capacity(line.len());
        for c in line.chars() {
            if c == '\t' {
                columns.resize((columns.len() / TAB + 1) * TAB, ' ');
                continue;
            }
            let width = c.width().unwrap_or(0);
            // Combining characters stay with their base, at the cost of one column.
            columns.push(if c == FILLER { ' ' } else { c });
            if width > 1 {
                columns.push(FILLER);
            }
        }
        Self(columns)
    }

    /// The character in `column`; a space beyond the end.
    pub(super) fn at(&self, column: usize) -> char {
        self.0.get(column).copied().unwrap_or(' ')
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The text between two columns, the second excluded.
    pub(super) fn slice(&self, from: usize, to: usize) -> String {
        let to = to.min(self.0.len());
        self.0.get(from.min(to)..to).unwrap_or_default().iter().filter(|&&c| c != FILLER).collect()
    }

    /// Start and end of each piece of text that two or more spaces part from the others.
    pub(super) fn segments(&self) -> Vec<(usize, usize)> {
        let mut segments: Vec<(usize, usize)> = vec![];
        for (column, &c) in self.0.iter().enumerate() {
            if c == ' ' || c == '\u{3000}' || c == FILLER && self.at(column - 1) == '\u{3000}' {
                continue;
            }
            match segments.last_mut() {
                Some((_, end)) if column - *end < 2 => *end = column + 1,
                _ => segments.push((column, column + 1)),
            }
        }
        segments
    }
}
