//! Transposed tables: a property a row, and a service a column.
//!
//! In comes a table; out comes the same table upright, if its first column holds what others write over columns.
//! Invariant: every row of the upright table stands on the line of the ports, so that each is reported where a
//! person finds them.

use super::Column;
use crate::document::{Row, Table};
use crate::requirement::fold::Folded;
use crate::requirement::reading::Readings;

/// Most properties that a service has: a longer table is a list of services.
const PROPERTIES: usize = 12;

/// `table` with its rows as columns, where its first column names them.
pub(crate) fn upright(table: &Table, readings: &Readings) -> Option<Table> {
    let width = table.rows.iter().map(|row| row.cells.len()).min()?;
    if !(2..=PROPERTIES).contains(&table.rows.len()) || width < 3 {
        return None;
    }
    let word = |row: &Row, at: usize| {
        let folded = Folded::new(&row.cells[at].text);
        readings.words.whole_columns.whole(folded.as_str())
    };
    let named = table.rows.iter().filter(|row| word(row, 0).is_some()).count();
    // The corner may say anything; a first row of column names is the header of a table that stands upright.
    let headed = (1..width).any(|at| word(&table.rows[0], at).is_some());
    let is_port = Column::heads_ports;
    let mut ports = table.rows.iter().filter(|row| word(row, 0).is_some_and(is_port));
    let (Some(own), None) = (ports.next(), ports.next()) else { return None };
    let filled = || own.cells[1..].iter().filter(|cell| !cell.is_empty() && !cell.from_left);
    let reads = filled().all(|cell| {
        readings.complete(&cell.text).is_some_and(|expression| expression.has_ports() || expression.nothing)
    });
    if headed || named < 2 || named + 1 < table.rows.len() || !reads || filled().count() < 2 {
        return None;
    }
    let longest = table.rows.iter().map(|row| row.cells.len()).max()?;
    let column = |at: usize| {
        let cell = |row: &Row| {
            let mut cell = row.cells.get(at).cloned().unwrap_or_default();
            // What spans columns here spans rows there.
            std::mem::swap(&mut cell.from_left, &mut cell.from_above);
            cell
        };
        Row {
            line: if at == 0 { table.line } else { own.line },
            cells: table.rows.iter().map(cell).collect(),
        }
    };
    Some(Table { header_rows: Some(1), rows: (0..longest).map(column).collect(), ..table.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Cell;
    use crate::requirement::vocabulary::Vocabulary;

    fn table(rows: &[&[&str]]) -> Table {
        let row = |(line, cells): (u32, &&[&str])| Row {
            line,
            cells: cells.iter().map(|&text| Cell::new(text)).collect(),
        };
        Table { line: 1, rows: (1..).zip(rows).map(row).collect(), ..Table::default() }
    }

    #[test]
    fn properties_down_the_first_column_become_columns() {
        let readings = Readings::new(Vocabulary::standard().expect("well-formed"));
        let lying = table(&[
            &["Item", "Management", "Monitoring"],
            &["Protocol", "TCP", "UDP"],
            &["Port", "9443", "161"],
        ]);
        let upright = upright(&lying, &readings).expect("it lies on its side");
        let rows: Vec<(u32, Vec<&str>)> = upright
            .rows
            .iter()
            .map(|row| (row.line, row.cells.iter().map(|cell| cell.text.as_str()).collect()))
            .collect();
        assert_eq!(
            rows,
            [
                (1, vec!["Item", "Protocol", "Port"]),
                (3, vec!["Management", "TCP", "9443"]),
                (3, vec!["Monitoring", "UDP", "161"])
            ]
        );
    }

    #[test]
    fn what_stands_upright_stays() {
        let readings = Readings::new(Vocabulary::standard().expect("well-formed"));
        for rows in [
            &[&["Service", "Port", "Protocol"][..], &["Web", "443", "TCP"], &["Mail", "25", "TCP"]][..],
            &[&["Web", "443", "TCP"], &["Port", "25", "TCP"], &["Protocol", "9", "UDP"]],
            &[&["Item", "Value", "Note"], &["Protocol", "TCP", "x"], &["Port", "front", "rear"]],
        ] {
            assert_eq!(upright(&table(rows), &readings), None, "{rows:?}");
        }
    }
}
