//! What commands write for programs, and errors in one shape for people and programs.

use std::{fmt, io::Write};

use anyhow::Result;
use serde::Serialize;

use crate::{
    catalog::CatalogError,
    datapath::chain,
    files::FileError,
    problem::{Place, Problem, Problems},
    terminal::{self, Escaped},
};

/// The form of every JSON document that a command prints.
const SCHEMA: u32 = 1;

/// A JSON document with its form.
#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    #[serde(flatten)]
    content: &'a T,
}

/// Writes a JSON document over several lines. `content` is an object.
pub(super) fn json(out: &mut Escaped<impl Write>, content: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(out.as_is(), &Document { schema: SCHEMA, content })?;
    Ok(writeln!(out)?)
}

/// Writes a JSON document on one line, for whoever reads several of them.
pub(super) fn json_line(out: &mut Escaped<impl Write>, content: &impl Serialize) -> Result<()> {
    serde_json::to_writer(out.as_is(), &Document { schema: SCHEMA, content })?;
    Ok(writeln!(out)?)
}

/// An error whose cause is the input: it is not valid, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the input is not valid")]
pub(super) struct BadInput(pub(super) anyhow::Error);

/// One thing that is wrong, as it is told to people and to programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Complaint {
    /// The file that it is about.
    pub(super) file: Option<String>,
    /// The line there, from 1.
    pub(super) line: Option<u32>,
    /// The column there, in characters from 1.
    pub(super) column: Option<u32>,
    /// What is wrong.
    pub(super) message: String,
    /// What would be right.
    pub(super) help: Option<String>,
    /// The text of the line.
    #[serde(skip)]
    text: String,
}

impl Complaint {
    /// One without a place.
    pub(super) fn new(message: String, help: Option<String>) -> Self {
        Self { file: None, line: None, column: None, message, help, text: String::new() }
    }

    /// Everything that an error says is wrong.
    pub(super) fn all(error: &anyhow::Error) -> Vec<Self> {
        if let Some(BadInput(error)) = error.downcast_ref() {
            return Self::all(error);
        }
        if let Some(Problems(problems)) = error.downcast_ref() {
            return problems.iter().map(Self::from).collect();
        }
        match error.downcast_ref() {
            Some(CatalogError::File(problem)) => return vec![Self::from(&**problem)],
            Some(other) => return vec![Self::new(other.what(), Some(other.help()))],
            None => {}
        }
        let file = error.downcast_ref().map(|error: &FileError| error.path().display().to_string());
        vec![Self { file, ..Self::new(chain(error.as_ref()), None) }]
    }
}

impl From<&Problem> for Complaint {
    fn from(problem: &Problem) -> Self {
        let Problem { file, place: Place { line, column }, line: text, message, help } = problem.clone();
        Self { file: Some(file), line: Some(line), column: Some(column), message, help, text }
    }
}

/// As a compiler does: the place and what is wrong, the line there, and what would be right.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, help, text } = self;
        let (Some(file), Some(line), Some(column)) = (file, line, column) else {
            write!(f, "portcullis: {message}")?;
            return help.iter().try_for_each(|help| write!(f, "\n  = help: {help}"));
        };
        let number = line.to_string();
        write!(f, "{file}:{line}:{column}: {message}\n  {number} | {}", text.trim_end())?;
        help.iter().try_for_each(|help| write!(f, "\n  {:width$} = help: {help}", "", width = number.len()))
    }
}

/// Tells what went wrong: to programs on standard output, where they look for the result, to people on
/// standard error.
pub(super) fn tell(complaints: &[Complaint], to_program: bool) {
    if to_program {
        // Where standard output cannot be written, the exit code is what is left.
        let _ = json(&mut terminal::out(), &serde_json::json!({ "errors": complaints }));
    } else {
        complaints.iter().for_each(|complaint| complain!("{complaint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn an_error_has_one_shape_for_people_and_programs() {
        let wrong = Catalog::parse_system("schema = 1\nsystem = 5\n", "mine.toml").expect_err("a number");
        let [told] = <[Complaint; 1]>::try_from(Complaint::all(&wrong.into())).expect("one");
        assert_eq!(
            told.to_string(),
            "mine.toml:2:10: this is a number, and text is meant\n  2 | system = 5\n    = help: write `\"5\"`"
        );
        assert_eq!(
            serde_json::json!(told),
            serde_json::json!({
                "file": "mine.toml", "line": 2, "column": 10,
                "message": "this is a number, and text is meant", "help": "write `\"5\"`",
            })
        );
        let [told] = <[Complaint; 1]>::try_from(Complaint::all(&anyhow::anyhow!("no"))).expect("one");
        assert_eq!(told.to_string(), "portcullis: no");
        assert_eq!(
            serde_json::json!(told),
            serde_json::json!({ "file": null, "line": null, "column": null, "message": "no", "help": null })
        );
    }
}
