//! Bounds on what one document may cost: they keep hostile files from taking the machine.
//!
//! In comes nothing; out come constants and the one counter that enforces them. Invariant: every
//! reader that multiplies its input (spans, compressed sheets) counts here before it allocates.

use super::ReadError;

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
}
