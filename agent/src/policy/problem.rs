//! What is wrong with a policy, where, and what would be right.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A place in a file: line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Everything that is wrong with a policy; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Place {
    /// The place of a byte offset in `text`.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: count(line), column: count(column) }
    }
}

/// Collects problems of one text.
pub(super) struct Collector<'a> {
    text: &'a str,
    file: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(text: &'a str, file: &'a str) -> Self {
        Self { text, file, problems: Vec::new() }
    }

    /// The place of a span.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        Place::of(self.text, span.start)
    }

    /// Notes a problem at a span.
    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.add_at(self.place(span), message, help);
    }

    /// Notes a problem at a place.
    pub(super) fn add_at(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        let line = self.text.lines().nth(place.line as usize - 1).unwrap_or_default().to_owned();
        self.problems.push(Problem {
            file: self.file.to_owned(),
            place,
            line,
            message: message.into(),
            help,
        });
    }

    /// `value` if there was no problem.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, Problems> {
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
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
