//! Aligned tables for people.

use std::io::Write;

use jiff::{Timestamp, tz::TimeZone};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::terminal::one_line;

/// Rows of a table.
pub(super) struct Rows(Table);

/// A table without lines: columns are told apart by their alignment.
pub(super) fn table(header: &[&str], right_aligned: &[usize]) -> Rows {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for column in right_aligned {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    Rows(table)
}

impl Rows {
    /// Adds a row. Its cells stay one line each, whatever a document has in them.
    pub(super) fn add_row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.0.add_row(cells.into_iter().map(|cell| one_line(cell.as_ref())));
    }
}

/// Writes `rows` below `header`, all columns aligned to the left.
///
/// # Errors
///
/// Where `out` cannot be written.
pub(super) fn write(out: &mut impl Write, header: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
    let mut table = table(header, &[]);
    for row in rows {
        table.add_row(row);
    }
    out.write_all(lines(&table).as_bytes())
}

/// The lines of a table, without the blanks at their ends.
pub(super) fn lines(Rows(table): &Rows) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A number of things: `1 rule`, `2 rules`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{s}")
}

/// A moment, given in seconds since 1970 UTC, as a clock on this host would show it: `2026-11-28 09:47`.
pub(super) fn date(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.map_or_else(
        || "?".to_owned(),
        |moment| moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

/// A number of bytes as a person reads it: `1.5 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}
