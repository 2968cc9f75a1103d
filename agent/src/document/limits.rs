//! Bounds on what one document may cost: they keep hostile files from taking the machine.
//!
//! In comes nothing; out come constants and the one counter that enforces them. Invariant: every
//! reader that multiplies its input (spans, compressed sheets) counts here before it allocates.

use super::{Cell, ReadError};

/// Largest file that is read.
pub const MAX_BYTES: usize = 128 << 20;
/// Largest size to which a spreadsheet may unpack.
pub const MAX_UNPACKED: u64 = 256 << 20;
/// Most cells that a document may have after its spans are filled in.
pub const MAX_CELLS: usize = 4_000_000;
/// Most columns of one row; HTML clamps `colspan` to the same number.
pub const MAX_COLUMNS: usize = 1_000;
/// Deepest nesting of tables inside tables that is told apart.
pub const MAX_DEPTH: usize = 32;

/// Counts the cells of a document against [`MAX_CELLS`].
#[derive(Debug, Default)]
pub(super) struct CellBudget {
    used: usize,
}

impl CellBudget {
    /// Takes `cells` more, first needed on `line`.
    pub(super) fn take(&mut self, cells: usize, line: u32) -> Result<(), ReadError> {
        self.used = self.used.saturating_add(cells);
        if self.used > MAX_CELLS { Err(ReadError::TooManyCells { line }) } else { Ok(()) }
    }

    /// Takes a row that holds `cells`, and refuses one that has more than may be.
    pub(super) fn row(&mut self, cells: &[Cell], line: u32) -> Result<(), ReadError> {
        if cells.len() > MAX_COLUMNS {
            return Err(ReadError::TooManyColumns { line });
        }
        self.take(cells.len(), line)
    }
}

/// The cells of a row, and of those beyond the last column one that holds text: [`CellBudget::row`] refuses it, so
/// that none is dropped in silence. Empty cells at the end, as spreadsheets write them, are no columns.
pub(super) fn columns(mut cells: impl Iterator<Item = Cell>) -> Vec<Cell> {
    let mut row: Vec<Cell> = cells.by_ref().take(MAX_COLUMNS).collect();
    row.extend(cells.find(|cell| !cell.is_empty()));
    row
}
