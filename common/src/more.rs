//! Rows: the slot of a destination whose rules are limited by source or local address.
//!
//! A column stands for one pair of address class and source class. Nearly all cells of that matrix say
//! "no rule applies", so only the others are stored, all rows overlaid in one array, each moved by a
//! base of its own so that no two cells collide (Tarjan and Yao, "Storing a sparse table", CACM 1979).
//! A cell names its row: any other row finds that the cell is not its own.

use crate::slot::Slot;

/// A row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Position of the row's column 0 among the cells. Every column has a place there, its own or not.
    pub base: u32,
    /// The slot of every column that has no cell.
    pub otherwise: Slot,
    /// Two bytes that mean nothing, so that the row has no hidden padding.
    pub padding: u16,
}

/// A cell as it is stored: the number of its row, then its slot. [`EMPTY`] where no row has one.
pub type Cell = u32;

/// A cell that belongs to no row: rows are numbered below [`crate::class::MAX_ROWS`].
pub const EMPTY: Cell = u32::MAX;

impl Row {
    /// Where the cell of a column is.
    #[must_use]
    #[inline(always)]
    pub const fn position(&self, column: u32) -> u32 {
        self.base.wrapping_add(column)
    }

    /// The slot that a cell at the position of this row's column means for it. Without a branch, which
    /// random sources would mispredict half of the time.
    #[must_use]
    #[inline(always)]
    pub const fn slot(&self, row: u16, cell: Cell) -> Slot {
        // Below 2^16, and zero where the cell is the row's own; only then does 1 less set all bits.
        let own = ((cell >> 16) ^ row as u32).wrapping_sub(1) >> 16;
        self.otherwise ^ ((self.otherwise ^ cell as u16) & own as u16)
    }
}

/// The cell of a row.
#[must_use]
pub const fn cell(row: u16, slot: Slot) -> Cell {
    (row as u32) << 16 | slot as u32
}

const _: () = assert!(size_of::<Row>() == 8);

#[cfg(feature = "user")]
// SAFETY: integers without padding; every bit pattern is valid.
unsafe impl aya::Pod for Row {}

#[cfg(test)]
mod tests {
    use super::{EMPTY, Row, cell};

    #[test]
    fn a_cell_is_its_own_rows_alone() {
        let row = Row { base: 0, otherwise: 4, padding: 0 };
        for number in [0, 1, 255, 256, 0x7fff] {
            assert_eq!(row.slot(number, cell(number, 99)), 99, "{number}");
            assert_eq!(row.slot(number, cell(number ^ 1, 99)), 4, "{number}");
            assert_eq!(row.slot(number, cell(number ^ 0x4000, 99)), 4, "{number}");
            assert_eq!(row.slot(number, EMPTY), 4, "{number}");
        }
    }
}
