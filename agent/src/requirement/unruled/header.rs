//! Headers without gaps: `ProtocolPort` to `Protocol` and `Port`.
//!
//! In comes a line; out come the column names that it consists of. Invariant: the names cover the whole
//! line, and in scripts with capitals each begins with one or behind a space.

use crate::requirement::columns::Column;
use crate::requirement::fold::Folded;
use crate::requirement::vocabulary::Vocabulary;

/// Longest line that can be a header.
const LINE: usize = 160;

/// A column name and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) text: String,
    pub(super) word: Column,
}

/// The column names that `line` consists of: at least two.
pub(super) fn names(line: &str, words: &Vocabulary) -> Option<Vec<Named>> {
    let line = line.trim();
    if line.len() > LINE || line.is_empty() || !words.whole_columns.may_begin(line.trim_start_matches(is_gap))
    {
        return None;
    }
    let folded = Folded::new(line);
    let mut names = vec![];
    cover(line, &folded, 0, words, &mut names).then_some(names).filter(|names| names.len() >= 2)
}

/// Covers the text from `at` on by the longest names that leave a rest which can be covered too.
fn cover(line: &str, folded: &Folded, at: usize, words: &Vocabulary, names: &mut Vec<Named>) -> bool {
    let text = folded.as_str();
    let start = at + text[at..].chars().take_while(|&c| is_gap(c)).map(char::len_utf8).sum::<usize>();
    if start >= text.len() {
        return true;
    }
    if !begins_name(line, folded, start) || names.len() > 12 {
        return false;
    }
    for (length, word) in words.whole_columns.beginnings(&text[start..]) {
        let end = start + length;
        let shown = line
            .get(folded.source(start)..folded.source(end).min(line.len()))
            .unwrap_or_default()
            .trim()
            .to_owned();
        names.push(Named { text: shown, word });
        if cover(line, folded, end, words, names) {
            return true;
        }
        names.pop();
    }
    false
}

/// What may part two names.
fn is_gap(c: char) -> bool {
    c.is_whitespace() || matches!(c, '|' | ',' | '｜' | '，')
}

/// Whether a name may begin here: at a capital, behind a space, or in a script without capitals.
fn begins_name(line: &str, folded: &Folded, at: usize) -> bool {
    let source = folded.source(at).min(line.len());
    let (before, first) = (line[..source].chars().next_back(), line[source..].chars().next());
    match (before, first) {
        (Some(before), Some(first)) => {
            !before.is_alphanumeric()
                || !first.is_lowercase()
                || !before.is_lowercase() && !before.is_uppercase()
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_the_whole_line() {
        let words = Vocabulary::standard().expect("well-formed");
        let cases: &[(&str, &[&str])] = &[
            ("ProtokollAnschluss", &["Protokoll", "Anschluss"]),
            (
                "RichtlinieBeschreibungStandardMin.Max",
                &["Richtlinie", "Beschreibung", "Standard", "Min.", "Max"],
            ),
            ("機能使用されるポート", &["機能", "使用されるポート"]),
            ("Service Port Protocol", &["Service", "Port", "Protocol"]),
            ("PuertoProtocoloDescripción", &["Puerto", "Protocolo", "Descripción"]),
            ("Reporter", &[]),
            ("The service uses a port", &[]),
        ];
        for (line, expected) in cases {
            let found: Vec<String> =
                names(line, words).unwrap_or_default().into_iter().map(|name| name.text).collect();
            assert_eq!(&found, expected, "{line}");
        }
    }
}
