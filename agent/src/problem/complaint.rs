//! An error -> one shape of it for people and programs, whatever it is about.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Place, Problem};

/// One thing that is wrong, as it is told to people and to programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// The file that it is about.
    pub file: Option<String>,
    /// The line there, from 1.
    pub line: Option<u32>,
    /// The column there, in characters from 1.
    pub column: Option<u32>,
    /// The text of the line.
    pub text: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Complaint {
    /// One without a place.
    #[must_use]
    pub fn new(message: String, help: Option<String>) -> Self {
        Self { file: None, line: None, column: None, text: None, message, help }
    }
}

impl From<&Problem> for Complaint {
    fn from(problem: &Problem) -> Self {
        let Problem { file, place: Place { line, column }, line: text, message, help } = problem.clone();
        Self { file: Some(file), line: Some(line), column: Some(column), text: Some(text), message, help }
    }
}

/// As a compiler does: the place and what is wrong, the line there, and what would be right.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, text, message, help } = self;
        let (Some(file), Some(line), Some(column)) = (file, line, column) else {
            write!(f, "portcullis: {message}")?;
            return help.iter().try_for_each(|help| write!(f, "\n  = help: {help}"));
        };
        let (number, text) = (line.to_string(), text.as_deref().unwrap_or_default());
        write!(f, "{file}:{line}:{column}: {message}\n  {number} | {}", text.trim_end())?;
        help.iter().try_for_each(|help| write!(f, "\n  {:width$} = help: {help}", "", width = number.len()))
    }
}
