//! Readings: expressions of cells, each text read once.
//!
//! In come cell texts; out come their expressions. Tables repeat themselves (`TCP`, `443`, `Any`), so
//! that most cells have been read before. Invariant: the memory of the cache is bounded.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::expression::{Context, Expression};
use super::vocabulary::Vocabulary;

/// Texts remembered at most, and the longest text that is.
const REMEMBERED: usize = 4096;
const LONGEST: usize = 120;

/// Reads cells with one vocabulary.
pub(crate) struct Readings {
    pub(crate) words: &'static Vocabulary,
    cache: RefCell<[HashMap<String, Rc<Expression>>; 2]>,
}

impl Readings {
    pub(crate) fn new(words: &'static Vocabulary) -> Self {
        Self { words, cache: RefCell::default() }
    }

    /// The expression of a cell with ports.
    pub(crate) fn ports(&self, text: &str) -> Rc<Expression> {
        self.read(text, Context::Ports)
    }

    /// The expression of a cell with protocols.
    pub(crate) fn protocols(&self, text: &str) -> Rc<Expression> {
        self.read(text, Context::Protocols)
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
