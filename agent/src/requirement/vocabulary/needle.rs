//! Needles: words that are looked for in many short texts.

use memchr::memmem::Finder;

use crate::requirement::fold::fold;

/// A piece of a pattern, folded, with its own spaces.
#[derive(Debug)]
pub(crate) struct Needle {
    finder: Finder<'static>,
    /// Its first and its last byte are letters, which no other letter may adjoin.
    starts_word: bool,
    ends_word: bool,
    pairs: Pairs,
}

/// The pairs of neighbouring bytes of a text, some of which fall together: a text holds no needle that has a pair more.
#[derive(Debug, Default)]
pub(crate) struct Pairs([u64; 8]);

impl Pairs {
    pub(crate) fn of(text: &str) -> Self {
        let mut pairs = Self::default();
        for pair in text.as_bytes().windows(2) {
            let bit = (usize::from(pair[0]) * 31 + usize::from(pair[1])) % 512;
            pairs.0[bit / 64] |= 1 << (bit % 64);
        }
        pairs
    }

    fn hold(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |missing, (own, other)| missing | other & !own) == 0
    }
}

impl Needle {
    /// `None` of nothing.
    pub(super) fn new(word: &str) -> Option<Self> {
        let word = fold(word);
        let (starts_word, ends_word) = (word.starts_with(is_letter), word.ends_with(is_letter));
        let (finder, pairs) = (Finder::new(&word).into_owned(), Pairs::of(&word));
        (!word.is_empty()).then_some(Self { finder, starts_word, ends_word, pairs })
    }

    /// Whether a text with these pairs may hold the word.
    pub(crate) fn may_be_among(&self, pairs: &Pairs) -> bool {
        pairs.hold(&self.pairs)
    }

    /// Where the word first stands in a folded text so that no letters of a spaced script adjoin it: its start and
    /// its end.
    pub(crate) fn find(&self, text: &str) -> Option<(usize, usize)> {
        let length = self.finder.needle().len();
        let mut from = 0;
        while let Some(at) = self.find_anywhere(&text[from..]) {
            let (start, end) = (from + at, from + at + length);
            let starts = !self.starts_word || !text[..start].ends_with(is_letter);
            let ends = !self.ends_word || !text[end..].starts_with(is_letter);
            if starts && ends {
                return Some((start, end));
            }
            from = end;
        }
        None
    }

    /// Where the text first stands, whatever adjoins it.
    pub(crate) fn find_anywhere(&self, text: &str) -> Option<usize> {
        self.finder.find(text.as_bytes())
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_without_a_pair_of_a_needle_are_told() {
        let needle = Needle::new(" to ").expect("a word");
        assert!(!needle.may_be_among(&Pairs::of("edge server ports")));
        assert!(needle.may_be_among(&Pairs::of("edge to relay")));
    }

    proptest! {
        /// What is told by pairs is what a search would find.
        #[test]
        fn a_needle_is_among_the_pairs_of_a_text_that_holds_it(
            before in "\\PC{0,8}", word in "\\PC{1,6}", behind in "\\PC{0,8}",
        ) {
            if let Some(needle) = Needle::new(&word) {
                let text = [before.as_str(), &fold(&word), behind.as_str()].concat();
                prop_assert!(needle.may_be_among(&Pairs::of(&text)));
            }
        }
    }
}
