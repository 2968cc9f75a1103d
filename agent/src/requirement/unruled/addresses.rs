//! Lists of addresses: a URL or a pattern of hosts on each line, with its port and its purpose behind it.
//!
//! In come lines; out comes a table of addresses. Documents list links to other documents too, so that an
//! address has no path, and one alone has a port or a star. Invariant: a line that is anything else makes
//! all of them text.

use super::table;
use crate::document::Table;
use crate::requirement::names;
use crate::requirement::reading::Readings;
use crate::requirement::{Ports, fold::Folded};

/// Longest line that is looked at.
const LINE: usize = 300;
/// What parts an address from its purpose.
const SEPARATORS: [&str; 5] = [" - ", " – ", " — ", ": ", "："];

/// The table of addresses that `lines` are.
pub(super) fn listed<'a>(lines: impl Iterator<Item = (u32, &'a str)>, readings: &Readings) -> Option<Table> {
    let mut rows = vec![(0, vec!["URL".to_owned(), String::new()])];
    let mut plain = 0;
    for (number, text) in lines {
        let (address, purpose) = address(text, readings)?;
        plain += usize::from(!address.starts_with("*.") && address.matches(':').count() < 2);
        rows.push((number, vec![address, purpose]));
    }
    rows[0].0 = rows.get(1)?.0;
    (rows.len() > 2 || plain == 0).then(|| table(rows, 1))
}

/// The address that a line begins with, its port behind a colon, and its purpose.
fn address(text: &str, readings: &Readings) -> Option<(String, String)> {
    let text = text.trim();
    if text.len() > LINE || !(text.starts_with("*.") || text.contains("://")) {
        return None;
    }
    let found = names::parse(text).filter(|found| !found.scheme.is_empty() || text.starts_with("*."))?;
    let host = text[..found.end].trim_end_matches('/');
    if host.split("://").last().is_some_and(|host| host.contains('/')) {
        return None;
    }
    let rest = &text[found.end..];
    let (beside, purpose) = SEPARATORS
        .iter()
        .filter_map(|separator| Some((rest.find(separator)?, separator.len())))
        .min()
        .map_or((rest, ""), |(at, length)| (&rest[..at], rest[at + length..].trim()));
    let beside = beside.trim_matches([' ', ',', ';', '(', ')', '（', '）', '、']);
    if beside.is_empty() {
        return Some((host.to_owned(), purpose.to_owned()));
    }
    if !beside.contains(char::is_numeric) && purpose.is_empty() {
        return Some((host.to_owned(), beside.to_owned()));
    }
    // `Port 5228` beside an address that has none.
    let port = port(beside, readings).filter(|_| found.port.is_none())?;
    Some((format!("{host}:{port}"), purpose.to_owned()))
}

/// The only port that a text states.
fn port(text: &str, readings: &Readings) -> Option<u16> {
    let expression = readings.complete(Folded::new(text).as_str())?;
    match expression.groups.as_slice() {
        [group] => match group.ports.as_slice() {
            [Ports::Range(range)] if range.lo() == range.hi() => Some(range.lo()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::vocabulary::Vocabulary;

    fn rows(lines: &[&str]) -> Option<Vec<(u32, Vec<String>)>> {
        let readings = Readings::new(Vocabulary::standard().expect("well-formed"));
        let table = listed((1..).zip(lines.iter().copied()), &readings)?;
        let cells = |row: &crate::document::Row| row.cells.iter().map(|cell| cell.text.to_string()).collect();
        Some(table.rows[1..].iter().map(|row| (row.line, cells(row))).collect())
    }

    #[test]
    fn addresses_alone_are_a_table() {
        let lines = [
            "https://updates.harbour.example",
            "https://maps.harbour.example:8080/",
            "https://licence.harbour.example (port 444) – licences",
            "*.push.harbour.example, Port 5228: messages",
            "https://time.harbour.example (clock)",
        ];
        let expected = [
            ("https://updates.harbour.example", ""),
            ("https://maps.harbour.example:8080", ""),
            ("https://licence.harbour.example:444", "licences"),
            ("*.push.harbour.example:5228", "messages"),
            ("https://time.harbour.example", "clock"),
        ];
        let expected = expected.map(|(address, purpose)| vec![address.to_owned(), purpose.to_owned()]);
        assert_eq!(rows(&lines), Some((1..).zip(expected).collect()));
        assert!(rows(&["*.push.harbour.example"]).is_some());
    }

    #[test]
    fn links_and_text_are_none() {
        for lines in [
            &["https://docs.harbour.example/ports", "https://docs.harbour.example/names"][..],
            &["https://www.harbour.example"],
            &["https://a.harbour.example", "Web: TCP 443"],
            &["https://a.harbour.example 443 and 80", "https://b.harbour.example"],
            &["settings.harbour.example", "README.example"],
            &[],
        ] {
            assert_eq!(rows(lines), None, "{lines:?}");
        }
    }
}
