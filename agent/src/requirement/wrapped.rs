//! Wrapped ranges: a range that its cell breaks over two lines, as `4850 bis` above `4859`.
//!
//! In comes a cell's text; out comes the same text with such lines joined. A line break parts statements
//! elsewhere, so that a mark of a range must stand between two numbers. Invariant: a dash and a space that
//! begin a line are an item's mark, and join nothing.

use std::borrow::Cow;

use super::fold::Folded;
use super::vocabulary::{PortWord, Vocabulary};

/// Bytes of the longest mark with the spaces around it.
const MARK: usize = 24;

/// `text` with the lines joined between which a range goes on.
pub(crate) fn joined<'a>(text: &'a str, words: &Vocabulary) -> Cow<'a, str> {
    if !text.contains('\n') {
        return Cow::Borrowed(text);
    }
    let is_range = |mark: &str| {
        let mark = mark.trim();
        (1..=MARK).contains(&mark.len())
            && words.ports.whole(Folded::new(mark).as_str()) == Some(PortWord::Range)
    };
    let mut out = String::with_capacity(text.len());
    let mut open = false;
    for (at, line) in text.split('\n').enumerate() {
        let Some(first) = line.find(char::is_numeric) else {
            open = false;
            if at > 0 {
                out.push('\n');
            }
            out.push_str(line);
            continue;
        };
        let lead = line[..first].trim();
        let ended = out.ends_with(char::is_numeric) && !is_mark(&line[..first]) && is_range(lead);
        let last = line.rfind(char::is_numeric).unwrap_or(first);
        let behind = line[last..].trim_start_matches(char::is_numeric);
        let ends_open = is_range(behind);
        // `22 -` above `80 -` is how the lines of this cell end.
        let closed = open && lead.is_empty() && !ends_open;
        if at > 0 {
            out.push(if closed || ended { ' ' } else { '\n' });
        }
        out.push_str(line.trim_end());
        open = ends_open && !open;
    }
    Cow::Owned(out)
}

/// Whether a line begins as an item does: with a dash that stands apart.
fn is_mark(lead: &str) -> bool {
    lead.ends_with([' ', '\t', '\u{a0}'])
        && lead.trim().chars().all(|c| matches!(c, '-' | '–' | '—' | '−' | '‐' | '‑'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::reading::Readings;

    #[test]
    fn ranges_go_on_below_their_marks() {
        let words = Vocabulary::standard().expect("well-formed");
        for (text, expected) in [
            ("4840, 4850 bis\n4859", "4840, 4850 bis 4859"),
            ("6000 -\n6100\n7000", "6000 - 6100\n7000"),
            ("6000\nto 6100", "6000 to 6100"),
            ("6000-\n6100", "6000- 6100"),
            ("６０００～\n６１００", "６０００～ ６１００"),
            ("6000\n-6100", "6000 -6100"),
            ("6000\n- 6100", "6000\n- 6100"),
            ("22 -\n80 -\n443", "22 -\n80 -\n443"),
            ("22 -\n80 -\n443 -", "22 -\n80 -\n443 -"),
            ("- 22\n- 80", "- 22\n- 80"),
            ("443,\n80", "443,\n80"),
            ("443\nWeb 2", "443\nWeb 2"),
        ] {
            assert_eq!(joined(text, words), expected, "{text}");
        }
    }

    #[test]
    fn a_wrapped_range_reads_as_one() {
        let readings = Readings::new(Vocabulary::standard().expect("well-formed"));
        for text in ["6000 bis\n6100", "6000-\n6100", "6000\nto 6100"] {
            let expression = readings.complete(text).expect(text);
            let shown: Vec<String> =
                expression.groups.iter().flat_map(|group| &group.ports).map(ToString::to_string).collect();
            assert_eq!(shown, ["6000-6100"], "{text}");
        }
    }
}
