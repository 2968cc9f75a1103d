//! Outcomes: what came of each row of a table.
//!
//! In come the rows of the tables that are about ports or addresses; out comes one outcome for each, so that
//! nothing can be dropped in silence. Invariant: a row is `Read` only if something in the import stands on
//! its line, and `Reported` only if a diagnostic does.

/// One row of a table and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOutcome {
    /// 1-based line of the row in its document.
    pub line: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Requirements, addresses or IPsec exceptions.
    Read,
    /// Only a diagnostic.
    Reported,
    /// It names the columns, or is the table's title.
    Header,
    /// It repeats the header.
    Repeated,
    /// It labels the rows below it.
    Label,
    /// It explains a mark of other rows.
    Footnote,
    /// No cell holds text.
    Blank,
    /// It says that nothing is open (`–` in all cells of a matrix, `none` for its ports), or is a setting that moves no
    /// port.
    Nothing,
}

impl Outcome {
    /// What the row is, before the name of its table.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Read => "a row",
            Self::Reported => "a row that was not read",
            Self::Header => "a header: it names the columns or the table",
            Self::Repeated => "a repeated header",
            Self::Label => "a label for the rows below it",
            Self::Footnote => "a footnote",
            Self::Blank => "an empty row",
            Self::Nothing => "a row that says that nothing is open",
        }
    }
}
