//! A value -> the JSON object that leaves this program, with the number of its form.

use serde::Serialize;

/// The form of every JSON document, event and answer.
const SCHEMA: u32 = 1;

/// A value with its form. The value is an object in JSON.
#[derive(Serialize)]
pub(crate) struct Formed<'a, T> {
    schema: u32,
    #[serde(flatten)]
    content: &'a T,
}

impl<'a, T: Serialize> Formed<'a, T> {
    pub(crate) fn new(content: &'a T) -> Self {
        Self { schema: SCHEMA, content }
    }
}
