//! Folding: text as it is compared, with the way back to the text as it is shown.
//!
//! In comes a cell's text; out comes the same text in compatibility form (full width becomes half
//! width, ligatures fall apart, raised digits follow a star), lower case, without accents. Invariant: every
//! byte of the folded text knows the byte of the source that it came from.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use compact_str::CompactString;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Folded text and where it came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folded {
    text: CompactString,
    /// Source offset of each byte of `text`, and of its end; empty where they are the same.
    origin: Vec<u32>,
}

impl Folded {
    /// Folds `source`.
    pub(crate) fn new(source: &str) -> Self {
        if source.is_ascii() || source.chars().all(|c| c.is_ascii() || is_own_fold(c)) {
            let mut text = CompactString::new(source);
            text.make_ascii_lowercase();
            return Self { text, origin: vec![] };
        }
        let mut folded = Folding {
            text: String::with_capacity(source.len()),
            origin: Vec::with_capacity(source.len() + 1),
        };
        let mut rest = source;
        let mut offset = 0;
        while let Some(first) = rest.chars().next() {
            // A base character and the marks behind it compose to one, as half-width kana do.
            let mut length = first.len_utf8();
            while let Some(mark) = rest[length..].chars().next().filter(|&c| is_mark(c)) {
                length += mark.len_utf8();
            }
            if first.is_ascii() && length == 1 {
                folded.push(first.to_ascii_lowercase(), offset);
            } else if is_own_fold(first) && length == first.len_utf8() {
                folded.push(first, offset);
            } else if let Some(letter) = LETTERS.get(first).filter(|_| length == first.len_utf8()) {
                letter.chars().for_each(|c| folded.push(c, offset));
            } else {
                folded.push_cluster(&rest[..length], offset);
            }
            offset += length;
            rest = &rest[length..];
        }
        folded.origin.push(u32::try_from(offset).unwrap_or(u32::MAX));
        Self { text: folded.text.into(), origin: folded.origin }
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
}

/// Text that is being folded.
#[derive(Default)]
struct Folding {
    text: String,
    origin: Vec<u32>,
}

impl Folding {
    /// A character and the marks that compose with it.
    fn push_cluster(&mut self, cluster: &str, offset: usize) {
        if cluster.starts_with(is_raised) {
            self.push('*', offset);
        }
        for c in cluster.nfkc() {
            self.push_composed(c, offset);
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

/// Characters of the European scripts and of general punctuation as they fold, worked out once: Unicode's own
/// tables are larger than a processor keeps at hand.
struct Letters {
    folds: Vec<Box<str>>,
}

static LETTERS: LazyLock<Letters> = LazyLock::new(|| {
    let fold = |c: char| {
        let mut folded = Folding::default();
        folded.push_cluster(c.encode_utf8(&mut [0; 4]), 0);
        folded.text.into_boxed_str()
    };
    Letters { folds: Letters::RANGES.into_iter().flatten().map(fold).collect() }
});

impl Letters {
    const EUROPEAN: RangeInclusive<char> = '\u{80}'..='\u{52f}';
    const PUNCTUATION: RangeInclusive<char> = '\u{2000}'..='\u{206f}';
    const RANGES: [RangeInclusive<char>; 2] = [Self::EUROPEAN, Self::PUNCTUATION];

    fn get(&self, c: char) -> Option<&str> {
        let european = *Self::EUROPEAN.end() as usize - *Self::EUROPEAN.start() as usize + 1;
        let at = if Self::EUROPEAN.contains(&c) {
            c as usize - *Self::EUROPEAN.start() as usize
        } else if Self::PUNCTUATION.contains(&c) {
            european + (c as usize - *Self::PUNCTUATION.start() as usize)
        } else {
            return None;
        };
        self.folds.get(at).map(Box::as_ref)
    }
}

/// Whether a character is its own folded form: kana that are no compatibility forms, and the common Chinese
/// characters.
fn is_own_fold(c: char) -> bool {
    matches!(c, '\u{3001}' | '\u{3002}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fe}' | '\u{4e00}'..='\u{9fa5}')
}

/// Circled and superscript digits, which mark footnotes: a star keeps them from the number that they follow.
pub(crate) fn is_raised(c: char) -> bool {
    matches!(c, '\u{2460}'..='\u{2473}' | '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}'..='\u{2079}')
}

/// Folds a word of the vocabulary.
pub(crate) fn fold(source: &str) -> String {
    Folded::new(source).text.into_string()
}

/// Whether a character composes with the one before it.
pub(crate) fn is_mark(c: char) -> bool {
    matches!(c, '\u{ff9e}' | '\u{ff9f}') || c >= '\u{300}' && !is_own_fold(c) && is_combining_mark(c)
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

    /// The short ways say what Unicode's tables say.
    #[test]
    fn every_character_folds_as_its_cluster() {
        for c in ('\u{80}'..='\u{ffff}').chain('\u{1f100}'..='\u{1f2ff}') {
            let source = c.to_string();
            let mut slow = Folding::default();
            slow.push_cluster(&source, 0);
            assert_eq!(Folded::new(&source).text, slow.text, "{c:?}");
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
