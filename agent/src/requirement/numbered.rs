//! Numbers that belong to the word before them, and are no ports: `RFC 5424`, `version 10`, `page 12`.
//!
//! In comes the text before a number; out comes the word that takes it, if one does.

use super::vocabulary::{NumberWord, PortWord, Vocabulary};

/// Most characters of such a word in a script that does not part words.
const LONGEST: usize = 6;

/// The word that takes the number behind `before`, a folded text. Whatever parts the two, it stands at the end of it.
pub(super) fn taken(before: &str, words: &Vocabulary) -> Option<NumberWord> {
    let before = before.trim_end_matches([' ', '#', '№', '.', ':', '-', '–', '(']);
    let last = before.chars().next_back()?;
    if !last.is_alphabetic() {
        return None;
    }
    if last > '\u{3000}' {
        // The longest end of the run that is such a word.
        let starts: Vec<usize> = before.char_indices().rev().take(LONGEST).map(|(at, _)| at).collect();
        return starts.iter().rev().find_map(|&at| words.numbered.whole(&before[at..]));
    }
    let rest = before.trim_end_matches(char::is_alphabetic);
    let word = &before[rest.len()..];
    let found = words.numbered.whole(word)?;
    // `64 KB 443`: behind a number the word is a unit.
    let amount = rest.trim_end().ends_with(|c: char| c.is_ascii_digit())
        && words.ports.whole(word) == Some(PortWord::Unit);
    (!amount).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::fold::Folded;

    #[test]
    fn words_take_the_number_behind_them() {
        use NumberWord::{Edition, Place};
        let words = Vocabulary::standard().expect("well-formed");
        for (before, expected) in [
            ("Syslog (RFC", Some(Edition)),
            ("see KB ", Some(Edition)),
            ("64 KB ", None),
            ("Version: ", Some(Edition)),
            ("Build #", Some(Edition)),
            ("HTTPS (seit ", Some(Edition)),
            ("versão ", Some(Edition)),
            ("Версия ", Some(Edition)),
            ("対応バージョン", Some(Edition)),
            ("请参见版本", Some(Edition)),
            ("see page ", Some(Place)),
            ("siehe Abb. ", Some(Place)),
            ("étape ", Some(Place)),
            ("según capítulo ", Some(Place)),
            ("см. раздел ", Some(Place)),
            ("第", Some(Place)),
            ("TCP ", None),
            ("Portal ", None),
            ("RFC 863, ", None),
            ("", None),
        ] {
            assert_eq!(taken(Folded::new(before).as_str(), words), expected, "{before}");
        }
    }
}
