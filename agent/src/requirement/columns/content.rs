//! Contents: what the cells of a column hold.
//!
//! In come the rows of a table; out come, for one column, how many of its cells hold ports, protocols, addresses
//! or directions. Invariant: at most [`SAMPLE`] cells are read, and of a column whose header speaks of no ports
//! [`SPREAD`], or half of them where those hold nothing of the kind.

use std::rc::Rc;

use crate::document::{Cell, Row};
use crate::requirement::fold::Folded;
use crate::requirement::reading::Readings;
use crate::requirement::{action, names};

/// Cells looked at to tell what a column holds.
const SAMPLE: usize = 60;
/// Cells looked at, evenly over the table, where the header speaks of something else: most of them have to hold
/// ports before the header is not believed.
const SPREAD: usize = 16;

/// Characters of the shortest text that names protocols in passing, and says nothing by it about its column.
const NAMING: usize = 40;

/// What the cells of a column hold: how many of each kind, of those that hold anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) filled: usize,
    /// Ports in full, numbers or words.
    pub(super) ports: usize,
    /// Numbers that could be ports.
    pub(super) numbers: usize,
    /// Numbers with a transport.
    pub(super) transported: usize,
    /// Protocols without ports.
    pub(super) protocols: usize,
    /// Addresses.
    pub(super) urls: usize,
    /// Directions.
    pub(super) flows: usize,
    /// Words that allow or deny, and nothing else.
    pub(super) actions: usize,
    /// Words that allow or deny, among others.
    pub(super) some_actions: usize,
    /// Some port language among other text.
    pub(super) some_ports: usize,
    /// The cells count the rows, from 0 or 1.
    pub(super) running: bool,
}

impl Content {
    /// The contents of a column; `ports` if its header speaks of ports or protocols, or of nothing known.
    pub(super) fn of(body: &[Row], column: usize, ports: bool, readings: &Readings) -> Self {
        let cells = body.iter().filter_map(|row| row.cells.get(column));
        let cells: Vec<&Cell> = cells.filter(|cell| !cell.is_empty() && !cell.from_left).collect();
        let mut content = Self { running: is_running(&cells), ..Self::default() };
        let sample = if ports { SAMPLE } else { SPREAD }.min(cells.len());
        // Every second cell first: what none of them holds is not what most of the cells hold.
        for at in (0..sample).step_by(2).chain((1..sample).step_by(2)) {
            if !ports && at == 1 && sample == SPREAD && content.is_plain() {
                break;
            }
            let cell = if ports { cells[at] } else { cells[at * cells.len() / sample] };
            content.filled += 1;
            let expression = if !ports && is_prose(&cell.text, readings) {
                Rc::default()
            } else {
                readings.ports(&cell.text)
            };
            let complete = expression.is_complete();
            if complete && expression.has_ports() {
                content.ports += 1;
                content.numbers += usize::from(expression.has_numbers());
                content.transported +=
                    usize::from(expression.has_numbers() && expression.named().next().is_some());
            } else if complete && expression.has_protocols() {
                content.protocols += 1;
            } else if expression.has_protocols() && !expression.has_numbers() {
                content.protocols += usize::from(cell.text.chars().count() < NAMING);
            }
            content.some_ports += usize::from(expression.has_ports());
            if complete && (expression.has_numbers() || expression.has_protocols()) {
                // It is nothing else.
                continue;
            }
            content.urls += usize::from(names::is_address(&cell.text));
            // `aus` is a direction below a header that speaks of one, and a state everywhere else.
            content.flows += usize::from(
                readings.words.flow_cells.whole_of(&cell.text).is_some()
                    && readings.words.states.whole_of(&cell.text).is_none(),
            );
            if !(complete && expression.has_ports()) {
                content.actions += usize::from(action::of(&cell.text, readings.words).is_some());
                content.some_actions += usize::from(action::among(&cell.text, readings.words).is_some());
            }
        }
        content
    }

    /// Whether no cell is made of ports, protocols, addresses or directions.
    fn is_plain(&self) -> bool {
        self.ports + self.protocols + self.urls + self.flows == 0
    }

    pub(super) fn most(&self, count: usize) -> bool {
        self.filled > 0 && count * 2 >= self.filled
    }
}

/// Whether a text is more than ports and protocols, and names no protocol in few words: reading it tells no more
/// about its column.
fn is_prose(text: &str, readings: &Readings) -> bool {
    readings.words.port_words.are_exceeded_by(text)
        && (text.chars().count() >= NAMING || readings.words.ports.find(&Folded::new(text)).is_empty())
}

/// Whether cells hold nothing but the numbers 1, 2, 3 and so on.
fn is_running(cells: &[&Cell]) -> bool {
    let mut next: Option<u32> = None;
    let mut rows = 0;
    for cell in cells.iter().take(SAMPLE).filter(|cell| !cell.from_above) {
        let Ok(number) = cell.text.trim().trim_end_matches(['.', ')']).parse::<u32>() else { return false };
        if next.map_or(number > 1, |next| number != next) {
            return false;
        }
        next = Some(number + 1);
        rows += 1;
    }
    rows >= 2
}
