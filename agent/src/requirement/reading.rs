//! Readings: expressions of cells, each text read once.
//!
//! In come cell texts; out come their expressions. Tables repeat themselves (`TCP`, `443`, `Any`), so
//! that most cells have been read before. Invariant: the memory of the cache is bounded.

use std::cell::RefCell;
use std::rc::Rc;

use compact_str::CompactString;
use foldhash::{HashMap, HashMapExt as _};

use super::expression::{Context, Expression};
use super::fold::Folded;
use super::vocabulary::{FlagWord, FlowWord, HintWord, Vocabulary};
use super::wrapped;

/// Longest text that is remembered.
const LONGEST: usize = 240;

/// Reads cells with one vocabulary.
pub(crate) struct Readings {
    pub(crate) words: &'static Vocabulary,
    ports: RefCell<Recent<Expression>>,
    protocols: RefCell<Recent<Expression>>,
    hints: RefCell<Recent<Hints>>,
}

/// What a text says in passing about direction and qualifications.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// Directions that count anywhere.
    pub(crate) flows: Vec<FlowWord>,
    /// Directions that only count in notes.
    pub(crate) verbs: Vec<FlowWord>,
    pub(crate) flags: Vec<FlagWord>,
}

impl Readings {
    pub(crate) fn new(words: &'static Vocabulary) -> Self {
        Self { words, ports: RefCell::default(), protocols: RefCell::default(), hints: RefCell::default() }
    }

    /// The expression of a cell with ports.
    pub(crate) fn ports(&self, text: &str) -> Rc<Expression> {
        known(&self.ports, text, || {
            Expression::read(&wrapped::joined(text, self.words), Context::Ports, self.words)
        })
    }

    /// The expression of a text that is port language and nothing else; `None` of any other, mostly without reading
    /// it.
    pub(crate) fn complete(&self, text: &str) -> Option<Rc<Expression>> {
        if self.words.port_words.are_exceeded_by(text) {
            return None;
        }
        Some(self.ports(text)).filter(|expression| expression.is_complete())
    }

    /// The expression of a text that is port language but for remarks in brackets: `21 (control)`.
    pub(crate) fn remarked(&self, text: &str) -> Option<Rc<Expression>> {
        self.complete(text).or_else(|| self.complete(&without_brackets(text)?))
    }

    /// The expression of a cell with protocols.
    pub(crate) fn protocols(&self, text: &str) -> Rc<Expression> {
        known(&self.protocols, text, || Expression::read(text, Context::Protocols, self.words))
    }

    /// What a text says in passing.
    pub(crate) fn hints(&self, text: &str) -> Rc<Hints> {
        known(&self.hints, text, || {
            let mut hints = Hints::default();
            for found in self.words.hints.find(&Folded::new(text)) {
                match found.meaning {
                    HintWord::Flow(flow) => hints.flows.push(flow),
                    HintWord::Verb(flow) => hints.verbs.push(flow),
                    HintWord::Flag(flag) => hints.flags.push(flag),
                }
            }
            hints
        })
    }
}

/// A text without what stands in brackets, if any does and anything else.
fn without_brackets(text: &str) -> Option<String> {
    if !text.contains(['(', '（']) {
        return None;
    }
    let mut bare = String::new();
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' | '（' => depth += 1,
            ')' | '）' => depth = depth.checked_sub(1)?,
            _ if depth == 0 => bare.push(c),
            _ => {}
        }
    }
    (depth == 0 && !bare.trim().is_empty()).then_some(bare)
}

/// What is remembered about `text`, or what `read` says about it now.
fn known<T>(recent: &RefCell<Recent<T>>, text: &str, read: impl FnOnce() -> T) -> Rc<T> {
    if let Some(known) = recent.borrow_mut().get(text) {
        return known;
    }
    let value = Rc::new(read());
    if text.len() <= LONGEST {
        recent.borrow_mut().put(text, Rc::clone(&value));
    }
    value
}

/// What was read of the texts that came last, in two halves: when the newer one is full it becomes the older one,
/// whose texts are forgotten unless they come again. So what a table repeats is known while it is read, however
/// many texts a document has that come only once.
#[derive(Debug)]
struct Recent<T> {
    newer: HashMap<CompactString, Rc<T>>,
    older: HashMap<CompactString, Rc<T>>,
}

impl<T> Recent<T> {
    /// Texts of one half: more than a table repeats, and few enough to stay near the processor.
    const HALF: usize = 128;

    fn get(&mut self, text: &str) -> Option<Rc<T>> {
        if let Some(known) = self.newer.get(text) {
            return Some(Rc::clone(known));
        }
        let (text, known) = self.older.remove_entry(text)?;
        self.insert(text, Rc::clone(&known));
        Some(known)
    }

    fn put(&mut self, text: &str, value: Rc<T>) {
        self.insert(text.into(), value);
    }

    fn insert(&mut self, text: CompactString, value: Rc<T>) {
        if self.newer.len() >= Self::HALF {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.clear();
        }
        self.newer.insert(text, value);
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { newer: HashMap::new(), older: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_known_and_memory_is_bounded() {
        let recent = RefCell::new(Recent::default());
        let mut reads = 0;
        for number in 0..10 * Recent::<u32>::HALF {
            known(&recent, "443/TCP", || {
                reads += 1;
                0_u32
            });
            known(&recent, &number.to_string(), || 0);
            let held = recent.borrow();
            assert!(held.newer.len() + held.older.len() <= 2 * Recent::<u32>::HALF);
        }
        assert_eq!(reads, 1);
    }
}
