//! Port language: what a cell says about ports and protocols, once for all shapes of tables.
//!
//! In comes the text of a cell, or a line that may hold such text; out comes an [`Expression`]: groups
//! of ports with the protocols they go with, what qualifies them, and what could not be read. Invariant:
//! a number of the text is a port of a group, part of a remark, or a [`Problem`]; none disappears.

mod elements;
mod groups;
mod number;
mod token;

pub(crate) use self::elements::by_number;
use super::fold::Folded;
use super::vocabulary::Vocabulary;
use super::{Ports, Protocol};

/// What a cell says about ports and protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expression {
    /// Ports and the protocols they go with.
    pub(crate) groups: Vec<Group>,
    /// What could not be read, or could be read in two ways.
    pub(crate) problems: Vec<Problem>,
    /// Text that is no port language, as it stands in the cell.
    pub(crate) remarks: Vec<String>,
    /// Footnote marks behind ports.
    pub(crate) marks: Vec<String>,
    /// The cell says that there are no ports.
    pub(crate) nothing: bool,
    /// The cell says `IP protocol` and no number: the number stands elsewhere in its row.
    pub(crate) numbered: bool,
}

/// Ports that share their protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// Transports that the text names.
    pub(crate) protocols: Vec<Protocol>,
    /// The ports, in the order of the text.
    pub(crate) ports: Vec<Ports>,
    /// Application protocols, as indexes of the vocabulary.
    pub(crate) applications: Vec<usize>,
    /// Those of the ports beside which the text names no protocol: they share one that is named elsewhere in
    /// the cell, as 22 does in `22; 161/UDP`.
    pub(crate) sharing: Vec<Ports>,
    /// Line of the cell on which the group begins, from 0.
    pub(crate) line: usize,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A number above 65535, or port 0.
    OutOfRange(u32),
    /// A range that ends before it starts, and how it was read.
    Reversed(u32, u32, Ports),
    /// A port that is mapped to another one, which is not opened.
    Mapped(u32, u32),
    /// Text too long to be a cell with ports.
    TooLong(usize),
    /// A number with a mark that could also part two ports, and how it was read.
    Ambiguous(String, Vec<u32>),
}

/// Longest text that is read, in bytes: no document lists thousands of ports in a cell.
const LONGEST: usize = 32_768;

/// What the cell's column says about bare numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// Numbers are ports.
    Ports,
    /// Numbers are IP protocols.
    Protocols,
}

impl Expression {
    /// Reads `text`.
    pub(crate) fn read(text: &str, context: Context, words: &Vocabulary) -> Self {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Self::default();
        }
        if !trimmed.chars().any(char::is_alphanumeric) {
            // A star alone is a wildcard, a dash or a dot alone an empty cell.
            let any = trimmed == "*" || trimmed == "* *";
            let groups =
                if any { vec![Group { ports: vec![Ports::Any], ..Group::default() }] } else { vec![] };
            return Self { groups, nothing: !any, ..Self::default() };
        }
        if trimmed.len() > LONGEST {
            let problems = vec![Problem::TooLong(trimmed.len())];
            return Self { problems, remarks: vec![String::new()], ..Self::default() };
        }
        let folded = Folded::new(text);
        let tokens = token::tokens(&folded, words);
        groups::read(text, &folded, &tokens, context, words)
    }

    /// Whether the text holds nothing but port language.
    pub(crate) fn is_complete(&self) -> bool {
        self.remarks.is_empty() && (self.nothing || self.groups.iter().any(|group| !group.is_empty()))
    }

    /// Whether some group has ports.
    pub(crate) fn has_ports(&self) -> bool {
        self.groups.iter().any(|group| !group.ports.is_empty())
    }

    /// Whether some group has ports that are numbers.
    pub(crate) fn has_numbers(&self) -> bool {
        self.groups
            .iter()
            .flat_map(|group| &group.ports)
            .any(|ports| matches!(ports, Ports::Range(_) | Ports::Beyond { .. }))
    }

    /// Whether some group has a transport or an application protocol.
    pub(crate) fn has_protocols(&self) -> bool {
        self.groups.iter().any(|group| !group.protocols.is_empty() || !group.applications.is_empty())
    }

    /// All transports, in the order of the text.
    pub(crate) fn named(&self) -> impl Iterator<Item = Protocol> {
        self.groups.iter().flat_map(|group| group.protocols.iter().copied())
    }

    /// All transports, each once, in the order of the text.
    pub(crate) fn protocols(&self) -> Vec<Protocol> {
        unique(self.named())
    }

    /// All application protocols, each once.
    pub(crate) fn applications(&self) -> Vec<usize> {
        unique(self.groups.iter().flat_map(|group| group.applications.iter().copied()))
    }
}

impl Group {
    /// Takes protocols that are named elsewhere in the cell.
    fn take_protocols(&mut self, protocols: &[Protocol]) {
        self.protocols = protocols.to_vec();
        self.sharing.clone_from(&self.ports);
    }

    /// Whether the text names protocols, and none of them has ports.
    pub(crate) fn is_portless(&self) -> bool {
        !self.protocols.is_empty() && self.protocols.iter().all(|protocol| protocol.is_portless())
    }

    fn is_empty(&self) -> bool {
        self.protocols.is_empty() && self.ports.is_empty() && self.applications.is_empty()
    }
}

/// Each item once, in order.
pub(crate) fn unique<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut once = vec![];
    for item in items {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}

/// Takes out every item that came before.
pub(crate) fn once<T: PartialEq>(items: &mut Vec<T>) {
    let mut kept = 0;
    for at in 0..items.len() {
        if !items[..kept].contains(&items[at]) {
            items.swap(kept, at);
            kept += 1;
        }
    }
    items.truncate(kept);
}

#[cfg(test)]
mod tests;
