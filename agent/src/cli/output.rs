//! What commands write for programs, and what is told of errors.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::{
    catalog::CatalogError,
    datapath::chain,
    files::FileError,
    problem::{Complaint, Problems},
    schema::Formed,
    terminal::{self, Escaped},
};

/// Writes a JSON document over several lines. `content` is an object.
pub(super) fn json(out: &mut Escaped<impl Write>, content: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(out.as_is(), &Formed::new(content))?;
    Ok(writeln!(out)?)
}

/// Writes a JSON document on one line, for whoever reads several of them.
pub(super) fn json_line(out: &mut Escaped<impl Write>, content: &impl Serialize) -> Result<()> {
    serde_json::to_writer(out.as_is(), &Formed::new(content))?;
    Ok(writeln!(out)?)
}

/// An error whose cause is the input: it is not valid, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the input is not valid")]
pub(super) struct BadInput(pub(super) anyhow::Error);

/// Everything that an error says is wrong.
pub(crate) fn complaints(error: &anyhow::Error) -> Vec<Complaint> {
    if let Some(BadInput(error)) = error.downcast_ref() {
        return complaints(error);
    }
    if let Some(Problems(problems)) = error.downcast_ref() {
        return problems.iter().map(Complaint::from).collect();
    }
    match error.downcast_ref() {
        Some(CatalogError::File(problem)) => return vec![Complaint::from(&**problem)],
        Some(other) => return vec![Complaint::new(other.what(), Some(other.help()))],
        None => {}
    }
    let file = error.downcast_ref().map(|error: &FileError| error.path().display().to_string());
    vec![Complaint { file, ..Complaint::new(chain(error.as_ref()), None) }]
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
        let [told] = <[Complaint; 1]>::try_from(complaints(&wrong.into())).expect("one");
        assert_eq!(
            told.to_string(),
            "mine.toml:2:10: this is a number, and text is meant\n  2 | system = 5\n    = help: write `\"5\"`"
        );
        assert_eq!(
            serde_json::json!(told),
            serde_json::json!({
                "file": "mine.toml", "line": 2, "column": 10, "text": "system = 5",
                "message": "this is a number, and text is meant", "help": "write `\"5\"`",
            })
        );
        let [told] = <[Complaint; 1]>::try_from(complaints(&anyhow::anyhow!("no"))).expect("one");
        assert_eq!(told.to_string(), "portcullis: no");
        assert_eq!(
            serde_json::json!(told),
            serde_json::json!({
                "file": null, "line": null, "column": null, "text": null, "message": "no", "help": null,
            })
        );
    }
}
