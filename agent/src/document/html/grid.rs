//! Grids: cells with column and row spans to rows of equal width.
//!
//! In come the rows, cells and texts of one table; out comes a [`Table`] in which each spanned place
//! repeats its cell and says so. Invariant: a place is filled once; memory is counted before it is
//! taken.

use super::builder::Text;
use crate::document::limits::{CellBudget, MAX_COLUMNS};
use crate::document::{Cell, ReadError, Row, Table, collapse};

/// What an open table has so far.
pub(super) struct TableBuilder {
    table: Table,
    /// Cells that reach down from earlier rows, by column.
    hanging: Vec<Option<Hanging>>,
    row: Option<OpenRow>,
    caption: Option<Text>,
    /// Text that stands in no cell.
    loose: Text,
    in_head: bool,
    /// No body row has come yet.
    at_head: bool,
    /// Some row or section declares what is header and what is not.
    declared: bool,
}

struct Hanging {
    cell: Cell,
    rows: usize,
}

struct OpenRow {
    line: u32,
    cells: Vec<OpenCell>,
}

struct OpenCell {
    text: Text,
    header: bool,
    columns: usize,
    rows: usize,
}

impl TableBuilder {
    pub(super) fn new(line: u32) -> Self {
        Self {
            table: Table { line, ..Table::default() },
            hanging: vec![],
            row: None,
            caption: None,
            loose: Text::default(),
            in_head: false,
            at_head: true,
            declared: false,
        }
    }

    /// Text goes here now.
    pub(super) fn text(&mut self) -> &mut Text {
        if let Some(caption) = &mut self.caption {
            return caption;
        }
        match self.row.as_mut().and_then(|row| row.cells.last_mut()) {
            Some(cell) => &mut cell.text,
            None => &mut self.loose,
        }
    }

    pub(super) fn open_caption(&mut self) {
        self.caption = Some(Text::default());
    }

    pub(super) fn close_caption(&mut self) {
        if let Some(caption) = self.caption.take() {
            let text = collapse(&caption.shown);
            self.table.caption = (!text.is_empty()).then_some(text);
        }
    }

    /// `<thead>`, `<tbody>` or `<tfoot>`.
    pub(super) fn open_section(&mut self, head: bool, budget: &mut CellBudget) -> Result<(), ReadError> {
        self.end_row(budget)?;
        self.in_head = head;
        Ok(())
    }

    pub(super) fn open_row(&mut self, line: u32, budget: &mut CellBudget) -> Result<(), ReadError> {
        self.end_row(budget)?;
        self.row = Some(OpenRow { line, cells: vec![] });
        Ok(())
    }

    pub(super) fn open_cell(&mut self, header: bool, (columns, rows): (usize, usize), line: u32) {
        self.close_caption();
        let row = self.row.get_or_insert_with(|| OpenRow { line, cells: vec![] });
        // A row span of 0 reaches to the end of the table.
        let rows = if rows == 0 { usize::MAX } else { rows };
        row.cells.push(OpenCell {
            text: Text::default(),
            header,
            columns: columns.clamp(1, MAX_COLUMNS),
            rows,
        });
    }

    /// The table, unless it is empty.
    pub(super) fn finish(mut self, budget: &mut CellBudget) -> Result<Option<Table>, ReadError> {
        self.close_caption();
        self.end_row(budget)?;
        if !self.declared {
            self.table.header_rows = None;
        }
        Ok((!self.table.rows.is_empty()).then_some(self.table))
    }

    fn end_row(&mut self, budget: &mut CellBudget) -> Result<(), ReadError> {
        let Some(open) = self.row.take() else { return Ok(()) };
        if open.cells.is_empty() && self.hanging.iter().all(Option::is_none) {
            return Ok(());
        }
        let header = self.in_head || (!open.cells.is_empty() && open.cells.iter().all(|cell| cell.header));
        self.declared |= header;
        if header && self.at_head {
            *self.table.header_rows.get_or_insert(0) += 1;
        }
        self.at_head &= header;
        let row = Row { line: open.line, cells: self.fill(open, budget)? };
        self.table.rows.push(row);
        Ok(())
    }

    /// The cells of a row, with those that hang down into it.
    fn fill(&mut self, open: OpenRow, budget: &mut CellBudget) -> Result<Vec<Cell>, ReadError> {
        let line = open.line;
        let mut cells = vec![];
        let mut own = open.cells.into_iter();
        loop {
            self.hang_down(&mut cells, line, budget)?;
            let Some(OpenCell { text, columns, rows, .. }) = own.next() else { break };
            let cell = Cell {
                text: text.shown.trim().into(),
                marks: text.marks,
                from_left: false,
                from_above: false,
            };
            let start = cells.len();
            let room = MAX_COLUMNS.saturating_sub(start);
            if room == 0 && !text.shown.trim().is_empty() {
                return Err(ReadError::TooManyColumns { line });
            }
            for column in start..start + columns.min(room) {
                // A cell that hangs down ends the span of one beside it.
                if self.hanging.get(column).is_some_and(Option::is_some) {
                    break;
                }
                budget.take(1, line)?;
                let cell = Cell { from_left: column > start, ..cell.clone() };
                if rows > 1 {
                    if self.hanging.len() <= column {
                        self.hanging.resize_with(column + 1, || None);
                    }
                    self.hanging[column] = Some(Hanging { cell: cell.clone(), rows });
                }
                cells.push(cell);
            }
        }
        // What hangs beyond the row's own cells hangs after a gap.
        if let Some(last) = self.hanging.iter().rposition(Option::is_some) {
            while cells.len() <= last {
                self.hang_down(&mut cells, line, budget)?;
                if cells.len() <= last {
                    budget.take(1, line)?;
                    cells.push(Cell::default());
                }
            }
        }
        for slot in &mut self.hanging {
            if let Some(hanging) = slot {
                hanging.rows -= 1;
                if hanging.rows == 0 {
                    *slot = None;
                }
            }
        }
        Ok(cells)
    }

    /// Repeats the cells that hang down at the end of `cells`.
    fn hang_down(&self, cells: &mut Vec<Cell>, line: u32, budget: &mut CellBudget) -> Result<(), ReadError> {
        while let Some(Some(hanging)) = self.hanging.get(cells.len()) {
            // A cell opened in this row counts itself among its rows; it is not above yet.
            budget.take(1, line)?;
            cells.push(Cell { from_above: true, ..hanging.cell.clone() });
        }
        Ok(())
    }
}
