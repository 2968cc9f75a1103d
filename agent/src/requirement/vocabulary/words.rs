//! Words: whether a text holds a word that is no port language, told without reading the text.
//!
//! In come the phrases of port language; out comes, for a text, whether one of its words stands in none of
//! them. Most text is prose, and most pieces of it that could be ports are passed by this alone. Invariant: a text
//! that holds a foreign word is never read as port language and nothing else; the opposite is not said.

use compact_str::CompactString;
use foldhash::{HashSet, HashSetExt as _};

use crate::requirement::fold::{Folded, fold, is_mark};

/// The words of a lexicon.
#[derive(Debug)]
pub(crate) struct Words {
    whole: HashSet<String>,
    /// Words that may go on: `входящ*`.
    stems: Vec<String>,
    /// The bytes with which they begin.
    stem_leads: [bool; 256],
    /// Characters of scripts that do not part words.
    unparted: HashSet<char>,
}

impl Words {
    /// The words of phrases; a star at the end of one means that its last word may go on.
    pub(super) fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words =
            Self { whole: HashSet::new(), stems: vec![], stem_leads: [false; 256], unparted: HashSet::new() };
        for phrase in phrases {
            let text = fold(phrase.trim_matches('*'));
            let mut rest = text.as_str();
            while let Some((word, behind)) = next(rest) {
                words.whole.insert(word.to_owned());
                if behind.is_empty() && phrase.ends_with('*') {
                    words.stem_leads[usize::from(word.as_bytes()[0])] = true;
                    words.stems.push(word.to_owned());
                }
                rest = behind;
            }
            words.unparted.extend(text.chars().filter(|&c| is_unparted(c)));
        }
        words
    }

    /// Whether `text` holds a word or a character that none of the phrases has.
    pub(crate) fn are_exceeded_by(&self, text: &str) -> bool {
        if text.is_ascii() {
            return self.lack_word(text);
        }
        self.lack_plainly(text) || {
            let folded = Folded::new(text);
            self.lack_word(folded.as_str()) || folded.as_str().chars().any(|c| self.lack_character(c))
        }
    }

    /// Whether `text`, which is not folded, holds something that folding changes no more than in its case, and
    /// that is none of these.
    fn lack_plainly(&self, text: &str) -> bool {
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            if self.lack_character(c) && !characters.peek().is_some_and(|&next| is_mark(next)) {
                return true;
            }
        }
        let ascii = |c: Option<char>| c.is_none_or(|c| c.is_ascii());
        let mut at = 0;
        while let Some(start) = text[at..].find(|c: char| c.is_ascii_alphabetic()) {
            let start = at + start;
            let length = text[start..].bytes().take_while(u8::is_ascii_alphabetic).count();
            at = start + length;
            let alone = ascii(text[..start].chars().next_back()) && ascii(text[at..].chars().next());
            if alone && self.lack_word(&text[start..at]) {
                return true;
            }
        }
        false
    }

    fn lack_character(&self, c: char) -> bool {
        is_unparted(c) && !self.unparted.contains(&c)
    }

    /// Whether a word of `text`, which is folded but for its case, is none of these.
    fn lack_word(&self, mut text: &str) -> bool {
        while let Some((word, behind)) = next(text) {
            let mut word = CompactString::new(word);
            word.make_ascii_lowercase();
            let goes_on = || {
                self.stem_leads[usize::from(word.as_bytes()[0])]
                    && self.stems.iter().any(|stem| word.starts_with(stem.as_str()))
            };
            if !self.whole.contains(word.as_str()) && !goes_on() {
                return true;
            }
            text = behind;
        }
        false
    }
}

/// The first run of letters of one script that parts its words, and the text behind it.
fn next(text: &str) -> Option<(&str, &str)> {
    let start = text.find(|c| script(c).is_some())?;
    let text = &text[start..];
    let own = text.chars().next().and_then(script);
    let end = text.find(|c| script(c) != own).unwrap_or(text.len());
    Some(text.split_at(end))
}

#[derive(PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
}

/// The script of a folded letter, if it parts its words.
fn script(c: char) -> Option<Script> {
    match c {
        'a'..='z' | 'A'..='Z' | '\u{df}'..='\u{f6}' | '\u{f8}'..='\u{24f}' => Some(Script::Latin),
        '\u{370}'..='\u{3ff}' => Some(Script::Greek),
        '\u{400}'..='\u{52f}' => Some(Script::Cyrillic),
        _ => None,
    }
}

/// Kana and Chinese characters.
fn is_unparted(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}') && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::Vocabulary;
    use crate::requirement::expression::{Context, Expression};

    fn vocabulary() -> &'static Vocabulary {
        Vocabulary::standard().expect("well-formed")
    }

    #[test]
    fn words_of_prose_exceed_port_language() {
        for (text, exceeds) in [
            ("443/TCP", false),
            ("TCP 5000 up to 5010", false),
            ("5000 から 5010 まで", false),
            ("größer als 1023", false),
            ("Входящие порты 443", false),
            ("node 443", true),
            ("the nodes listen on 443", true),
            ("узел 443", true),
            ("443 番の書", true),
            ("Größe 443", true),
            ("", false),
        ] {
            assert_eq!(vocabulary().port_words.are_exceeded_by(text), exceeds, "{text}");
        }
    }

    /// Pieces of port language and of other text, with what may stand between them.
    fn text() -> impl Strategy<Value = String> {
        let pieces = "TCP|tcp/ip|port|Ports|порты|входящий|Входящ|ポート|送信元|から|番号|すべて|any|no|higher\
            |and above|dynamic|größer als|gro\u{308}ßer|élevé|e\u{301}leve\u{301}|SIP|SIP/TLS|LDAP over SSL|ｴｸｽﾌﾟﾚｽ\
            |ＴＣＰ|http2|443|5000-5010|1.024|4 GB|10gbit|node|x|de|ohne|узел|例|端口|ﬁle|İ|ß|SS|µ|IPsec|ESP|(|)|,|;\
            |\n|*|-|_|'|’|.|①|²|\u{3099}|\u{301}";
        let pieces: Vec<&str> = pieces.split('|').collect();
        let gaps = vec![" ", "", " ", "/", "-", ", "];
        prop::collection::vec((select(pieces), select(gaps)), 1..6)
            .prop_map(|parts| parts.into_iter().flat_map(|(piece, gap)| [piece, gap]).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// What is told without reading is what reading would say.
        #[test]
        fn what_exceeds_is_never_complete(text in text()) {
            if vocabulary().port_words.are_exceeded_by(&text) {
                let expression = Expression::read(&text, Context::Ports, vocabulary());
                prop_assert!(!expression.is_complete(), "{text:?}: {expression:?}");
            }
        }
    }
}
