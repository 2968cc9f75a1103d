//! Lexicons: phrases of many languages, found in one pass.
//!
//! In come phrases with a meaning each; out come, for a folded text, the meanings of the phrases that
//! stand in it as whole words, leftmost and longest first. Invariant: found phrases never overlap.

use foldhash::{HashMap, HashMapExt as _};

use crate::requirement::fold::{Folded, fold};

/// Buckets of phrases by their first bytes: quick to build at every start, and nearly as quick to search
/// as an automaton that takes thirty times as long to build.
const BUCKETS: usize = 4096;
/// Bytes that choose a bucket: a whole kana or Chinese character.
const PREFIX: usize = 3;
/// Characters in which the first bytes of a folded text stand, with the marks that folding takes away.
const HEAD: usize = 8;
/// Bytes of text to one byte of it when it is folded, at most: a letter in full width, and its accent.
const FOLDS: usize = 8;
/// Most white space and punctuation around a phrase that is all of a text.
const PUNCTUATION: usize = 16;

/// Phrases and what they mean.
#[derive(Debug)]
pub(crate) struct Lexicon<T> {
    phrases: Vec<Phrase<T>>,
    /// The first bytes of each phrase as a [`key`], and its index; longest phrase first, bucket after bucket.
    entries: Vec<(u32, u32)>,
    /// Where each bucket begins in `entries`, and where the last one ends.
    starts: Vec<u32>,
    /// For each byte with which a phrase begins, how many bytes of such phrases choose their bucket: bit 1 for one,
    /// bit 2 for two, bit 3 for three. Most places of a text are passed by this alone.
    leads: [u8; 256],
    whole: HashMap<String, usize>,
    /// Bytes of the longest phrase.
    longest: usize,
    /// Bytes with which a phrase begins that may end a longer word, or stand in one.
    inner: [bool; 256],
}

#[derive(Debug)]
struct Phrase<T> {
    text: String,
    meaning: T,
    /// `*word`: may end a longer word.
    open_left: bool,
    /// `word*`: may begin a longer word.
    open_right: bool,
    /// `*word*`: may stand inside of a longer word.
    open: bool,
}

/// A phrase that stands in a text; offsets count bytes of the folded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<T> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) meaning: T,
}

impl<T: Copy + PartialEq> Lexicon<T> {
    /// Builds a lexicon; of phrases given twice the first wins.
    pub(super) fn new<'a>(entries: impl IntoIterator<Item = (&'a str, T)>) -> Self {
        let mut phrases: Vec<Phrase<T>> = vec![];
        let mut whole: HashMap<String, usize> = HashMap::new();
        for (entry, meaning) in entries {
            let text = fold(entry.trim_matches('*'));
            if text.is_empty() {
                continue;
            }
            let (open_left, open_right) = (entry.starts_with('*'), entry.ends_with('*'));
            let open = open_left && open_right;
            if let Some(&at) = whole.get(&text) {
                let phrase = &mut phrases[at];
                if phrase.meaning == meaning {
                    phrase.open_left |= open_left;
                    phrase.open_right |= open_right;
                    phrase.open |= open;
                }
                continue;
            }
            whole.insert(text.clone(), phrases.len());
            phrases.push(Phrase { text, meaning, open_left, open_right, open });
        }
        let mut leads = [0; 256];
        let mut inner = [false; 256];
        let mut order: Vec<(usize, std::cmp::Reverse<usize>, (u32, u32))> = vec![];
        for (index, phrase) in (0..).zip(&phrases) {
            let text = phrase.text.as_bytes();
            let prefix = &text[..text.len().min(PREFIX)];
            leads[usize::from(text[0])] |= 1 << prefix.len();
            inner[usize::from(text[0])] |= phrase.open_left;
            order.push((bucket(key(prefix)), std::cmp::Reverse(text.len()), (key(prefix), index)));
        }
        order.sort_unstable();
        let mut starts = vec![0; BUCKETS + 1];
        for &(bucket, ..) in &order {
            starts[bucket + 1] += 1;
        }
        for bucket in 0..BUCKETS {
            starts[bucket + 1] += starts[bucket];
        }
        let entries = order.into_iter().map(|(.., entry)| entry).collect();
        let longest = phrases.iter().map(|phrase| phrase.text.len()).max().unwrap_or(0);
        Self { phrases, entries, starts, leads, whole, longest, inner }
    }

    /// The phrases in `text`, leftmost and longest, none overlapping.
    pub(crate) fn find(&self, text: &Folded) -> Vec<Found<T>> {
        let text = text.as_str();
        let mut found = vec![];
        let mut at = 0;
        let mut in_word = false;
        while let Some(&lead) = text.as_bytes().get(at) {
            // Inside of a word only what may end a longer one can begin.
            let inside = std::mem::replace(&mut in_word, lead.is_ascii_lowercase()) && in_word;
            let begins =
                if inside { self.inner[usize::from(lead)] } else { self.leads[usize::from(lead)] != 0 };
            if !begins && lead.is_ascii() {
                at += 1;
                continue;
            }
            if let Some(phrase) = self.at(text, at) {
                at = phrase.end;
                in_word = text[..at].ends_with(|c: char| c.is_ascii_lowercase());
                found.push(phrase);
            } else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        found
    }

    /// The first phrase that `wanted` takes of those with which `text` begins, longest first.
    fn beginning<R>(&self, text: &str, mut wanted: impl FnMut(&Phrase<T>) -> Option<R>) -> Option<R> {
        let bytes = text.as_bytes();
        let lengths = bytes.first().map_or(0, |&lead| self.leads[usize::from(lead)]);
        for length in (1..=PREFIX.min(bytes.len())).rev() {
            if lengths & 1 << length == 0 {
                continue;
            }
            let key = key(&bytes[..length]);
            for &(other, index) in self.bucket(key) {
                if other == key
                    && let Some(phrase) = self.phrases.get(index as usize)
                    && text.starts_with(&phrase.text)
                    && let Some(taken) = wanted(phrase)
                {
                    return Some(taken);
                }
            }
        }
        None
    }

    /// Whether `source`, which is not folded yet, begins as some phrase does; not said of text that a phrase does not
    /// begin.
    pub(crate) fn may_begin(&self, source: &str) -> bool {
        let end = source.char_indices().nth(HEAD).map_or(source.len(), |(at, _)| at);
        let head = Folded::new(&source[..end]);
        let bytes = head.as_str().as_bytes();
        bytes.len() < PREFIX && end < source.len() || self.is_begun_by(bytes)
    }

    /// Whether the first bytes of some phrase are those of `bytes`.
    fn is_begun_by(&self, bytes: &[u8]) -> bool {
        let lengths = bytes.first().map_or(0, |&lead| self.leads[usize::from(lead)]);
        (1..=PREFIX.min(bytes.len())).filter(|length| lengths & 1 << length != 0).any(|length| {
            let key = key(&bytes[..length]);
            self.bucket(key).iter().any(|&(other, _)| other == key)
        })
    }

    /// The phrases whose key falls where this one does.
    fn bucket(&self, key: u32) -> &[(u32, u32)] {
        let bucket = bucket(key);
        &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize]
    }

    /// The lengths of the phrases with which `text` begins, whole words or not, and what they mean.
    pub(crate) fn beginnings(&self, text: &str) -> Vec<(usize, T)> {
        let mut found = vec![];
        self.beginning(text, |phrase| -> Option<()> {
            found.push((phrase.text.len(), phrase.meaning));
            None
        });
        found
    }

    /// The longest phrase that stands at `at` as whole words.
    fn at(&self, text: &str, at: usize) -> Option<Found<T>> {
        self.beginning(&text[at..], |phrase| {
            let end = at + phrase.text.len();
            // `port*` and `*port` together do not find `suporte`.
            let (starts, ends) = (starts_word(text, at, end), ends_word(text, at, end));
            let fits =
                phrase.open || starts && ends || phrase.open_left && ends || phrase.open_right && starts;
            fits.then(|| Found {
                start: at,
                end: if phrase.open_right { word_end(text, end) } else { end },
                meaning: phrase.meaning,
            })
        })
    }

    /// The meaning of the phrase that `text` consists of.
    pub(crate) fn whole(&self, text: &str) -> Option<T> {
        let trimmed = text.trim();
        // Text that is longer or begins otherwise needs no hash to be told from all phrases.
        let known = |text: &str| {
            let lead = text.bytes().next().map_or(0, |lead| self.leads[usize::from(lead)]);
            if lead != 0 && text.len() <= self.longest { self.whole.get(text) } else { None }
        };
        let at = known(trimmed).or_else(|| {
            let bare = trimmed.trim_matches(is_around);
            if bare.len() < trimmed.len() { known(bare) } else { None }
        })?;
        self.phrases.get(*at).map(|phrase| phrase.meaning)
    }

    /// [`Self::whole`] of a text that is not folded yet.
    pub(crate) fn whole_of(&self, source: &str) -> Option<T> {
        // Folding keeps the length of ASCII, and punctuation around the phrase is short.
        if source.is_ascii() {
            let begins = |text: &str| {
                let mut head = [0; PREFIX];
                let length = text.len().min(PREFIX);
                head[..length].copy_from_slice(&text.as_bytes()[..length]);
                head.make_ascii_lowercase();
                self.is_begun_by(&head[..length])
            };
            // Punctuation around it may be a part of the phrase.
            let bare = |text: &str| text.as_bytes().first().is_none_or(u8::is_ascii_alphanumeric);
            let trimmed = source.trim_ascii_start();
            if source.len() > self.longest + PUNCTUATION
                || !begins(trimmed) && (bare(trimmed) || !begins(trimmed.trim_start_matches(is_around)))
            {
                return None;
            }
        } else if source.len() > (self.longest + PUNCTUATION) * FOLDS {
            return None;
        }
        self.whole(Folded::new(source).as_str())
    }

    /// Whether phrases, white space and punctuation are all that `text` holds, and one of them at least.
    pub(crate) fn covers(&self, text: &Folded) -> bool {
        let found = self.find(text);
        let mut at = 0;
        let gaps = found
            .iter()
            .map(|phrase| (std::mem::replace(&mut at, phrase.end), phrase.start))
            .collect::<Vec<_>>();
        let rest = text.as_str();
        let blank = |gap: &str| !gap.chars().any(char::is_alphanumeric);
        !found.is_empty() && gaps.into_iter().all(|(from, to)| blank(&rest[from..to])) && blank(&rest[at..])
    }
}

/// What may stand around a phrase that is all of a text.
fn is_around(c: char) -> bool {
    c.is_whitespace() || ".:;,*()?".contains(c)
}

/// Up to [`PREFIX`] bytes as one number, shorter ones unlike longer ones.
fn key(prefix: &[u8]) -> u32 {
    prefix.iter().fold(1, |key, &byte| key << 8 | u32::from(byte))
}

/// The bucket of phrases with this key: the upper bits of a product, which all bits of the key have reached.
fn bucket(key: u32) -> usize {
    (key.wrapping_mul(0x9E37_79B1) >> (u32::BITS - BUCKETS.ilog2())) as usize
}

/// Scripts that part words by spaces.
#[derive(PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Digit,
    /// Chinese and Japanese, punctuation, white space.
    Unparted,
}

fn script(c: char) -> Script {
    match c {
        '0'..='9' => Script::Digit,
        'a'..='z' | 'A'..='Z' | '\u{df}'..='\u{f6}' | '\u{f8}'..='\u{24f}' | '_' => Script::Latin,
        '\u{370}'..='\u{3ff}' => Script::Greek,
        '\u{400}'..='\u{52f}' => Script::Cyrillic,
        _ => Script::Unparted,
    }
}

/// Words of so few letters are parts of names where digits adjoin them: `O365`.
const SHORT: usize = 2;

/// Whether no word of the same script goes on to the left of `at`.
fn starts_word(text: &str, at: usize, end: usize) -> bool {
    let (Some(before), Some(first)) = (text[..at].chars().next_back(), text[at..].chars().next()) else {
        return true;
    };
    let (before, first) = (script(before), script(first));
    if first == Script::Latin && before == Script::Digit {
        return end - at > SHORT;
    }
    first == Script::Unparted || before != first
}

/// Whether no word of the same script goes on to the right of `at`. One digit belongs to a name, as in
/// `SNMP3`; more are a number.
fn ends_word(text: &str, start: usize, at: usize) -> bool {
    let (Some(last), Some(after)) = (text[..at].chars().next_back(), text[at..].chars().next()) else {
        return true;
    };
    let (last, after) = (script(last), script(after));
    if last == Script::Latin && after == Script::Digit {
        return at - start > SHORT && text[at..].bytes().take_while(u8::is_ascii_digit).count() > 1;
    }
    last == Script::Unparted || last != after
}

fn word_end(text: &str, at: usize) -> usize {
    let Some(last) = text[..at].chars().next_back().map(script) else { return at };
    if last == Script::Unparted {
        return at;
    }
    at + text[at..].chars().take_while(|&c| script(c) == last).map(char::len_utf8).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> Lexicon<u8> {
        Lexicon::new([
            ("source port", 1),
            ("source", 2),
            ("port", 3),
            ("*port", 4),
            ("входящ*", 5),
            ("ポート", 6),
            ("送信元ポート", 7),
            ("tcp", 8),
            ("a", 9),
        ])
    }

    #[test]
    fn the_longest_whole_word_wins() {
        let cases: &[(&str, &[u8])] = &[
            ("Source Port", &[1]),
            ("Source IP, Port", &[2, 3]),
            ("Zielport", &[]),
            ("Resource", &[]),
            ("Входящий трафик", &[5]),
            ("送信元ポート番号", &[7]),
            ("既定のポート", &[6]),
            ("TCP443", &[8]),
            ("tcp4", &[]),
            ("443tcp a 444", &[8, 9]),
        ];
        for (text, expected) in cases {
            let found: Vec<u8> =
                lexicon().find(&Folded::new(text)).iter().map(|found| found.meaning).collect();
            assert_eq!(&found, expected, "{text}");
        }
    }

    #[test]
    fn open_ends_match_compounds() {
        let lexicon = Lexicon::new([("*port", 4), ("port*", 5)]);
        let found: Vec<u8> =
            lexicon.find(&Folded::new("Zielport")).iter().map(|found| found.meaning).collect();
        assert_eq!(found, [4]);
        let both = Lexicon::new([("*port", 4), ("port*", 4)]);
        for (text, finds) in [("Zielport", 1), ("Portliste", 1), ("Suporte", 0)] {
            assert_eq!(both.find(&Folded::new(text)).len(), finds, "{text}");
        }
    }

    #[test]
    fn covers_only_what_it_knows() {
        assert!(lexicon().covers(&Folded::new("Source / Port:")));
        assert!(!lexicon().covers(&Folded::new("Source of port 5")));
    }
}
