//! What is wrong with a policy or a catalog file, where, and what would be right.

mod complaint;
mod shape;

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use self::complaint::Complaint;

/// A place in a file: line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// File.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// The line there.
    pub line: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// Everything that is wrong with a file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// Collects problems of one text.
pub(crate) struct Collector<'a> {
    text: &'a str,
    /// Where each line begins: every entry of the policy asks for its place.
    lines: Vec<usize>,
    file: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(text: &'a str, file: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, lines, file, problems: Vec::new() }
    }

    /// The place of a span.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let offset = span.start.min(self.text.len());
        // The first line begins before any offset.
        let line = self.lines.partition_point(|begin| *begin <= offset);
        let before = &self.text.as_bytes()[self.lines[line - 1]..offset];
        let column = String::from_utf8_lossy(before).chars().count() + 1;
        let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Place { line: count(line), column: count(column) }
    }

    /// Notes a problem at a span.
    pub(crate) fn add(&mut self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.add_at(self.place(span), message, help);
    }

    /// Notes a problem at a place.
    pub(crate) fn add_at(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        let begin = self.lines.get(place.line as usize - 1).copied().unwrap_or(self.text.len());
        let line = self.text[begin..].lines().next().unwrap_or_default().to_owned();
        self.problems.push(Problem {
            file: self.file.to_owned(),
            place,
            line,
            message: message.into(),
            help,
        });
    }

    /// Notes what TOML's reader says.
    pub(crate) fn add_toml(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let (message, help) = shape::explain(error.message(), self.text, &span);
        self.add(&span, message, help);
    }

    /// The last problem that was noted.
    pub(crate) fn last(mut self) -> Option<Problem> {
        self.problems.pop()
    }

    /// `value` if there was no problem.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Problems> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        self.problems.sort_by_key(|problem| problem.place);
        Err(Problems(self.problems))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, line, message, help } = self;
        writeln!(f, "{file}:{}:{}: {message}", place.line, place.column)?;
        let number = place.line.to_string();
        write!(f, "  {number} | {}", line.trim_end())?;
        if let Some(help) = help {
            write!(f, "\n  {:width$} = help: {help}", "", width = number.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                // Set in, as what goes on below the line above.
                f.write_str("\n  ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "one\n\nzwölf = 12\n";
        let collector = Collector::new(text, "policy.toml");
        let places = [0, 3, 4, 5, 9, text.len(), text.len() + 7]
            .map(|offset| collector.place(&(offset..offset)))
            .map(|Place { line, column }| (line, column));
        assert_eq!(places, [(1, 1), (1, 4), (2, 1), (3, 1), (3, 4), (4, 1), (4, 1)]);
    }

    #[test]
    fn a_problem_shows_its_line() {
        let mut collector = Collector::new("one\ntwo", "policy.toml");
        collector.add(&(4..7), "wrong", None);
        collector.add_at(Place { line: 9, column: 1 }, "beyond", None);
        let Problems(problems) = collector.finish(()).expect_err("two problems");
        let lines: Vec<_> = problems.iter().map(|problem| problem.line.as_str()).collect();
        assert_eq!(lines, ["two", ""]);
    }
}
