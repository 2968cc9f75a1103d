//! Headers without gaps: `ProtocolPort` to `Protocol` and `Port`.
//!
//! In comes a line; out come the column names that it consists of. Invariant: the names cover the whole
//! line, and in scripts with capitals each begins with one or behind a space.

use crate::requirement::columns::{Column, packed};
use crate::requirement::fold::Folded;
use crate::requirement::vocabulary::Vocabulary;

/// Longest line that can be a header.
const LINE: usize = 160;

/// Longest part of a name with slashes, in characters.
const PART: usize = 24;

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

/// The column names that `line` may consist of, unknown ones among them: one of ports, and at least one more that is
/// known. Only the lines below can prove it.
pub(super) fn supposed(line: &str, words: &Vocabulary) -> Option<Vec<Named>> {
    let line = line.trim();
    let sentence = line.ends_with(['.', '。', ':', '：', ';', ',', '?', '!']);
    if line.len() > LINE || sentence || line.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let folded = Folded::new(line);
    let text = folded.as_str();
    let shown = |from: usize, to: usize| {
        line.get(folded.source(from)..folded.source(to).min(line.len())).unwrap_or_default().trim()
    };
    let lower = line.starts_with(char::is_lowercase);
    let mut names: Vec<Named> = vec![];
    let (mut at, mut unknown) = (0, None);
    while let Some(c) = text[at..].chars().next() {
        // A word in lower case goes on with the name before it.
        let goes_on = !lower && line[folded.source(at).min(line.len())..].starts_with(char::is_lowercase);
        let begins = !is_gap(c) && !goes_on && begins_name(line, &folded, at);
        if goes_on && unknown.is_none() && !names.is_empty() {
            let end = at + text[at..].find(is_gap).unwrap_or(text.len() - at);
            if let Some(name) = names.last_mut() {
                name.text.push(' ');
                name.text.push_str(shown(at, end));
            }
            at = end;
            continue;
        }
        let known = if begins { known(line, &folded, at, words) } else { None };
        match known {
            Some((end, word)) => {
                if let Some(from) = unknown.take() {
                    names.push(Named { text: shown(from, at).to_owned(), word: Column::Other });
                }
                let end = end + bracket(&text[end..]);
                names.push(Named { text: shown(at, end).to_owned(), word });
                at = end;
            }
            None => {
                if unknown.is_none() && !is_gap(c) {
                    unknown = Some(at);
                }
                at += c.len_utf8();
            }
        }
    }
    if let Some(from) = unknown {
        names.push(Named { text: shown(from, text.len()).to_owned(), word: Column::Other });
    }
    let ports = names.iter().filter(|name| is_port(name.word)).count();
    let known = names.iter().filter(|name| name.word != Column::Other).count();
    (ports == 1 && known >= 2 && known * 2 >= names.len()).then_some(names)
}

/// The longest known name at `at` behind which another one may begin, or several parted by slashes: its end, and what
/// it says.
fn known(line: &str, folded: &Folded, at: usize, words: &Vocabulary) -> Option<(usize, Column)> {
    let text = folded.as_str();
    let ends = |end: usize| {
        text[end..].chars().next().is_none_or(|c| !c.is_alphanumeric()) || begins_name(line, folded, end)
    };
    let longest = |at: usize| {
        let found = words.whole_columns.beginnings(&text[at..]);
        found.into_iter().map(|(length, word)| (at + length, word)).find(|&(end, _)| ends(end))
    };
    // `Role/Protocol/TCP or UDP/Port`
    let slash = text[at..].match_indices('/').map(|(slash, _)| at + slash + 1).take_while(|&slash| {
        let part = text[at..slash - 1].rsplit('/').next().unwrap_or_default();
        part.chars().count() <= PART && part.split_whitespace().count() <= 3
    });
    if let Some(last) = slash.last()
        && let Some((end, word)) = longest(last)
        && is_port(word)
        && packed(text.get(at..end)?, words).is_some()
    {
        return Some((end, Column::Packed));
    }
    longest(at)
}

fn is_port(word: Column) -> bool {
    word.heads_ports() || word == Column::Packed
}

/// The length of the bracket right behind a name, which belongs to it: `Port (default)`.
fn bracket(text: &str) -> usize {
    let rest = text.trim_start();
    match rest.starts_with(['(', '（']).then(|| rest.find([')', '）'])).flatten() {
        Some(close) => {
            text.len() - rest.len() + close + rest[close..].chars().next().map_or(0, char::len_utf8)
        }
        None => 0,
    }
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
