//! Readings: expressions of cells, each text read once.
//!
//! In come cell texts; out come their expressions. Tables repeat themselves (`TCP`, `443`, `Any`), so
//! that most cells have been read before. Invariant: the memory of the cache is bounded.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::expression::{Context, Expression};
use super::fold::Folded;
use super::vocabulary::{FlagWord, FlowWord, HintWord, Vocabulary};

/// Texts remembered at most, and the longest text that is.
const REMEMBERED: usize = 4096;
const LONGEST: usize = 240;

/// Reads cells with one vocabulary.
pub(crate) struct Readings {
    pub(crate) words: &'static Vocabulary,
    cache: RefCell<[HashMap<String, Rc<Expression>>; 2]>,
    hints: RefCell<HashMap<String, Rc<Hints>>>,
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
        Self { words, cache: RefCell::default(), hints: RefCell::default() }
    }

    /// The expression of a cell with ports.
    pub(crate) fn ports(&self, text: &str) -> Rc<Expression> {
        self.read(text, Context::Ports)
    }

    /// The expression of a cell with protocols.
    pub(crate) fn protocols(&self, text: &str) -> Rc<Expression> {
        self.read(text, Context::Protocols)
    }

    /// What a text says in passing.
    pub(crate) fn hints(&self, text: &str) -> Rc<Hints> {
        if let Some(known) = self.hints.borrow().get(text) {
            return Rc::clone(known);
        }
        let mut hints = Hints::default();
        for found in self.words.hints.find(&Folded::new(text)) {
            match found.meaning {
                HintWord::Flow(flow) => hints.flows.push(flow),
                HintWord::Verb(flow) => hints.verbs.push(flow),
                HintWord::Flag(flag) => hints.flags.push(flag),
            }
        }
        let hints = Rc::new(hints);
        let mut known = self.hints.borrow_mut();
        if text.len() <= LONGEST && known.len() < REMEMBERED {
            known.insert(text.to_owned(), Rc::clone(&hints));
        }
        hints
    }

    fn read(&self, text: &str, context: Context) -> Rc<Expression> {
        let slot = usize::from(context == Context::Protocols);
        if let Some(known) = self.cache.borrow()[slot].get(text) {
            return Rc::clone(known);
        }
        let expression = Rc::new(Expression::read(text, context, self.words));
        let cache = &mut self.cache.borrow_mut()[slot];
        if text.len() <= LONGEST && cache.len() < REMEMBERED {
            cache.insert(text.to_owned(), Rc::clone(&expression));
        }
        expression
    }
}
