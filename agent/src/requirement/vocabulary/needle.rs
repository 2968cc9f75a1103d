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
}

impl Needle {
    /// `None` of nothing.
    pub(super) fn new(word: &str) -> Option<Self> {
        let word = fold(word);
        let (starts_word, ends_word) = (word.starts_with(is_letter), word.ends_with(is_letter));
        (!word.is_empty()).then(|| Self { finder: Finder::new(&word).into_owned(), starts_word, ends_word })
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
