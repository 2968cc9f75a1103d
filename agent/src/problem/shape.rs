//! What TOML's reader says -> what an operator would say: what is wrong, and what would be right.

use std::ops::Range;

/// The message and the help for what the reader says of `span` in `text`.
pub(super) fn explain(said: &str, text: &str, span: &Range<usize>) -> (String, Option<String>) {
    if let Some((what, known)) = said.split_once(", expected one of ") {
        return (what.to_owned(), Some(format!("it may be one of {known}")));
    }
    if said.starts_with("unknown ")
        && let Some((what, known)) = said.split_once(", expected ")
    {
        return (what.to_owned(), Some(format!("it may be {known}")));
    }
    if let Some(field) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let value = match field {
            "version" | "schema" => "1",
            _ => "…",
        };
        return (format!("`{field}` is missing here"), Some(format!("write `{field} = {value}`")));
    }
    let kinds = said.strip_prefix("invalid type: ").and_then(|kinds| kinds.split_once(", expected "));
    match kinds {
        Some((found, expected)) => of_another_kind(found, expected, text, span),
        None => (said.to_owned(), None),
    }
}

/// A value of another kind than its key has.
fn of_another_kind(found: &str, expected: &str, text: &str, span: &Range<usize>) -> (String, Option<String>) {
    let here = text.get(span.start..).unwrap_or_default();
    let header = here.lines().next().filter(|line| line.starts_with('[')).unwrap_or_default();
    // A list on one line ends with a bracket, too, but stands behind its key.
    let begins_line = text.get(..span.start).unwrap_or_default().rsplit('\n').next() == Some("");
    let name = header.trim_matches(|c: char| matches!(c, '[' | ']') || c.is_whitespace());
    if begins_line && !header.is_empty() && is_key(name) {
        let (message, help) = if header.starts_with("[[") {
            (
                format!("`[[{name}]]` begins one of several tables, and there is one `{name}` alone"),
                format!("write `[{name}]`"),
            )
        } else {
            (
                format!("`[{name}]` is one table, and `{name}` is a list of tables"),
                format!("write `[[{name}]]`, also where there is only one"),
            )
        };
        return (message, Some(help));
    }
    let expected = match expected {
        "a sequence" => "a list",
        "a string" => "text",
        "a boolean" => "true or false",
        "a map" => "a table",
        "u8" | "u16" | "u32" | "u64" | "i64" | "usize" => "a whole number",
        _ if expected.starts_with("struct ") => "a table",
        other => other,
    };
    let (kind, value) = found.split_once(' ').map_or((found, ""), |(kind, value)| (kind, value));
    let (found, value) = match kind {
        "map" => ("a table", ""),
        "sequence" => ("a list", ""),
        "string" => ("text", value.trim_matches('"')),
        "integer" => ("a number", value.trim_matches('`')),
        "boolean" => ("true or false", value.trim_matches('`')),
        "floating" => ("a fraction", value.trim_start_matches("point ").trim_matches('`')),
        _ => (kind, ""),
    };
    let help = match (expected, found) {
        ("a list", "text") => Some(format!("write `[\"{value}\"]`")),
        ("a list", "a number") => Some(format!("write `[{value}]`")),
        ("text", "a number" | "a fraction" | "true or false") => Some(format!("write `\"{value}\"`")),
        ("true or false" | "a whole number", "text") => Some("write it without quotation marks".to_owned()),
        _ => None,
    };
    (format!("this is {found}, and {expected} is meant"), help)
}

/// Whether this may be a key with those around it, as `interface.allow`.
fn is_key(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(plain)
}
