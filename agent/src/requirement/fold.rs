//! Folding: text as it is compared, with the way back to the text as it is shown.
//!
//! In comes a cell's text; out comes the same text in compatibility form (full width becomes half
//! width, ligatures fall apart, raised digits follow a star), lower case, without accents. Invariant: every
//! byte of the folded text knows the byte of the source that it came from.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Folded text and where it came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folded {
    text: String,
    /// Source offset of each byte of `text`, and of its end; empty where they are the same.
    origin: Vec<u32>,
}

impl Folded {
    /// Folds `source`.
    pub(crate) fn new(source: &str) -> Self {
        if source.is_ascii() {
            return Self { text: source.to_ascii_lowercase(), origin: vec![] };
        }
        let mut folded =
            Self { text: String::with_capacity(source.len()), origin: Vec::with_capacity(source.len() + 1) };
        let mut rest = source;
        let mut offset = 0;
        while let Some(first) = rest.chars().next() {
            // A base character and the marks behind it compose to one, as half-width kana do.
            let mut length = first.len_utf8();
            length += rest[length..].chars().take_while(|&c| is_mark(c)).map(char::len_utf8).sum::<usize>();
            if first.is_ascii() && length == 1 {
                folded.push(first.to_ascii_lowercase(), offset);
            } else {
                if is_raised(first) {
                    folded.push('*', offset);
                }
                for c in rest[..length].nfkc() {
                    folded.push_composed(c, offset);
                }
            }
            offset += length;
            rest = &rest[length..];
        }
        folded.origin.push(u32::try_from(offset).unwrap_or(u32::MAX));
        folded
    }

    /// The folded text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Offset in the source of the folded byte `at`.
    pub(crate) fn source(&self, at: usize) -> usize {
        if self.origin.is_empty() {
            at
        } else {
            self.origin.get(at).map_or(usize::MAX, |&offset| offset as usize)
        }
    }

    /// Lower case without accents; kana keep their voicing marks, which change the sound, not its tone.
    fn push_composed(&mut self, composed: char, offset: usize) {
        for lower in composed.to_lowercase() {
            let latin_or_cyrillic =
                matches!(lower, '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{52f}' | '\u{1e00}'..='\u{1fff}');
            if lower == 'ß' {
                // As in upper case, and as the Swiss write it.
                self.push('s', offset);
                self.push('s', offset);
            } else if latin_or_cyrillic {
                lower.nfd().filter(|&c| !is_combining_mark(c)).for_each(|c| self.push(c, offset));
            } else if !('\u{300}'..='\u{36f}').contains(&lower) {
                self.push(lower, offset);
            }
        }
    }

    fn push(&mut self, c: char, offset: usize) {
        self.text.push(c);
        self.origin.resize(self.text.len(), u32::try_from(offset).unwrap_or(u32::MAX));
    }
}

/// Circled and superscript digits, which mark footnotes: a star keeps them from the number that they follow.
pub(crate) fn is_raised(c: char) -> bool {
    matches!(c, '\u{2460}'..='\u{2473}' | '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}'..='\u{2079}')
}

/// Folds a word of the vocabulary.
pub(crate) fn fold(source: &str) -> String {
    Folded::new(source).text
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{ff9e}' | '\u{ff9f}') || !c.is_ascii() && is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_width_case_and_accents() {
        for (source, folded) in [
            ("Número de PUERTO", "numero de puerto"),
            ("ＴＣＰ　４４３", "tcp 443"),
            ("ﾎﾟｰﾄ", "ポート"),
            ("Übergröße", "ubergrosse"),
            ("входящий Ёж", "входящии еж"),
            ("5000 ～ 6000", "5000 ~ 6000"),
        ] {
            assert_eq!(fold(source), folded);
        }
    }

    #[test]
    fn every_byte_knows_its_source() {
        let source = "Ａé１x";
        let folded = Folded::new(source);
        assert_eq!(folded.as_str(), "ae1x");
        let origins: Vec<_> = (0..=4).map(|at| folded.source(at)).collect();
        assert_eq!(origins, [0, 3, 5, 8, 9]);
    }
}
