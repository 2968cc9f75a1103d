//! Lists of rules that share a destination -> rows ([`portcullis_common::more`]).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, btree_map},
};

use portcullis_common::{
    class,
    more::{Cell, EMPTY, Row, cell},
    slot::Slot,
};

use super::{CompileError, address::Grouping};
use crate::tables::More;

/// Most cells of all rows together: 16 MiB.
pub(super) const MAX_CELLS: usize = 1 << 22;
/// Free places that are tried for a row before it is put behind all others.
const MAX_TRIES: usize = 256;

/// The distinct lists of rules that share a destination; each becomes a row.
#[derive(Default)]
pub(super) struct Rows {
    lists: Vec<List>,
    known: HashMap<List, u16>,
}

/// Rules that open the same destinations, most specific first, and the slot where none applies.
#[derive(Clone, PartialEq, Eq, Hash)]
struct List {
    rules: Vec<usize>,
    otherwise: Slot,
}

/// What tells a packet's source and local address apart, and what is filled in on the way.
pub(super) struct Context<'a> {
    pub(super) sources: &'a Grouping,
    pub(super) addresses: &'a Grouping,
    pub(super) slots: &'a [Slot],
    pub(super) reachable: &'a mut [bool],
}

/// The cells of one row, by ascending columns.
type Cells = Vec<(u32, Slot)>;

impl Rows {
    /// The number of the row for a list of rules.
    pub(super) fn row(&mut self, rules: &[usize], otherwise: Slot) -> Result<u16, CompileError> {
        let list = List { rules: rules.to_vec(), otherwise };
        if let Some(&known) = self.known.get(&list) {
            return Ok(known);
        }
        if self.lists.len() == class::MAX_ROWS {
            return Err(CompileError::TooManyRows);
        }
        let row = u16::try_from(self.lists.len()).expect("at most 32,768 rows");
        self.known.insert(list.clone(), row);
        self.lists.push(list);
        Ok(row)
    }

    /// All rows, overlaid in one array of at most `room` cells.
    pub(super) fn more(&self, context: &mut Context<'_>, room: usize) -> Result<More, CompileError> {
        if self.lists.is_empty() {
            return Ok(More::default());
        }
        let mut rows = Vec::with_capacity(self.lists.len());
        let mut cells = Vec::with_capacity(self.lists.len());
        let mut total = 0;
        let columns = columns(context.sources, context.addresses);
        for list in &self.lists {
            let (otherwise, own) = list.resolve(context, columns, room - total)?;
            total += own.len();
            rows.push(Row { otherwise, ..Row::default() });
            cells.push(own);
        }
        let mut more = More { rows, source_classes: context.sources.count(), ..More::default() };
        overlay(&mut more, &cells, all_columns(context), room)?;
        more.sources = context.sources.tries(&mut more.tries)?;
        more.addresses = context.addresses.tries(&mut more.tries)?;
        Ok(more)
    }
}

impl List {
    /// The slot of most columns, and the columns that have another.
    fn resolve(
        &self,
        context: &mut Context<'_>,
        columns: usize,
        room: usize,
    ) -> Result<(Slot, Cells), CompileError> {
        let (sources, addresses) = (context.sources, context.addresses);
        let mut cells = BTreeMap::new();
        for &rule in &self.rules {
            let slot = context.slots[rule];
            if !sources.limits(rule) && !addresses.limits(rule) {
                // The last of its list: it takes every column that is left.
                context.reachable[rule] |= cells.len() < columns;
                return Ok((slot, cells.into_iter().collect()));
            }
            for address in addresses.classes_of(rule) {
                for source in sources.classes_of(rule) {
                    if !sources.meet(source, addresses, address) {
                        continue;
                    }
                    if let btree_map::Entry::Vacant(vacant) = cells.entry(address * sources.count() + source)
                    {
                        vacant.insert(slot);
                        context.reachable[rule] = true;
                    }
                    if cells.len() > room {
                        return Err(CompileError::TooManyCombinations);
                    }
                }
            }
        }
        Ok((self.otherwise, cells.into_iter().collect()))
    }
}

/// Number of columns.
fn all_columns(context: &Context<'_>) -> usize {
    context.sources.count() as usize * context.addresses.count() as usize
}

/// Number of columns in which a packet can be.
fn columns(sources: &Grouping, addresses: &Grouping) -> usize {
    let pairs =
        (0..addresses.count()).flat_map(|address| (0..sources.count()).map(move |source| (source, address)));
    pairs.filter(|&(source, address)| sources.meet(source, addresses, address)).count()
}

/// Gives each row the first base at which its cells are free; those with most cells first, as they are
/// the hardest to place.
fn overlay(more: &mut More, rows: &[Cells], columns: usize, room: usize) -> Result<(), CompileError> {
    let mut order: Vec<usize> = (0..rows.len()).filter(|&row| !rows[row].is_empty()).collect();
    order.sort_by_key(|&row| (Reverse(rows[row].len()), rows[row][0].0));
    // Room for every column, so that a look-up is always inside.
    if columns > room {
        return Err(CompileError::TooManyCombinations);
    }
    more.cells.resize(columns, EMPTY);
    let mut first_free = 0;
    for row in order {
        let base = base(&more.cells, first_free, &rows[row]);
        if base + columns > room {
            return Err(CompileError::TooManyCombinations);
        }
        more.cells.resize(more.cells.len().max(base + columns), EMPTY);
        more.rows[row].base = u32::try_from(base).expect("cells are limited in number");
        for &(column, slot) in &rows[row] {
            let number = u16::try_from(row).expect("at most 32,768 rows");
            more.cells[base + column as usize] = cell(number, slot);
        }
        while more.cells.get(first_free).is_some_and(|cell| *cell != EMPTY) {
            first_free += 1;
        }
    }
    Ok(())
}

/// The base at which a row fits.
fn base(taken: &[Cell], first_free: usize, row: &Cells) -> usize {
    let free = |position: usize| taken.get(position).is_none_or(|cell| *cell == EMPTY);
    let first = row[0].0 as usize;
    let places = (first_free.max(first)..taken.len()).filter(|&position| free(position));
    places
        .take(MAX_TRIES)
        .map(|position| position - first)
        .find(|base| row.iter().all(|(column, _)| free(base + *column as usize)))
        .unwrap_or_else(|| taken.len().saturating_sub(first))
}
