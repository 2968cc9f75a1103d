//! Diagnostics: what the importer could not read, with the line to look at.
//!
//! In come findings while a document is read; out comes one sentence each, with what to do. Invariant:
//! a row that has ports by its shape yields a requirement or a diagnostic.

use serde::{Deserialize, Serialize};

/// One thing that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// 1-based line of the document.
    pub line: u32,
    /// What is wrong, and what to do.
    pub message: String,
    /// The text in question.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// Longest text that is quoted.
const QUOTED: usize = 120;

impl Diagnostic {
    /// A diagnostic about `text` on `line`.
    pub(crate) fn new(line: u32, text: &str, message: impl Into<String>) -> Self {
        let mut text = crate::document::collapse(text);
        if let Some((end, _)) = text.char_indices().nth(QUOTED) {
            text.truncate(end);
            text.push('…');
        }
        Self { line, message: message.into(), text }
    }
}
