//! Grid tables: cells framed by `+`, `-`, `|`, as reST, pandoc and database shells draw them, or by
//! box-drawing characters.
//!
//! In come lines; out comes a table. A frame line that leaves a gap lets the cell above the gap go on
//! (row span); a content line without a bar at a column's edge joins two cells (column span). A header
//! is known only from a line of `=`: tables that draw `-` below their header leave it open. Invariant:
//! a row's line is the one of its first text.

use std::borrow::Cow;

use super::screen::Screen;
use super::{Block, Lines, Taken};
use crate::document::limits::MAX_COLUMNS;
use crate::document::{Cell, Row, Table, inline};

/// The grid that begins at line `at`.
pub(super) fn table(lines: &Lines<'_>, at: usize) -> Taken {
    if !is_frame(&ascii(lines.get(at))) {
        return None;
    }
    let indent = lines.get(at).len() - lines.get(at).trim_start().len();
    let mut drawn = vec![];
    let mut end = at;
    while end < lines.len() {
        let line = ascii(lines.get(end));
        if !line.trim_start().starts_with(['+', '|'])
            || line.len() - line.trim_start().len() != indent && end > at && is_frame(&line)
        {
            break;
        }
        drawn.push(line);
        end += 1;
    }
    if drawn.len() < 3 || !drawn.iter().any(|line| line.trim_start().starts_with('|')) {
        return None;
    }
    let screens: Vec<Screen> = drawn.iter().map(|line| Screen::new(line)).collect();
    let grid = Grid {
        lined: false,
        edges: edges(&screens),
        number: Lines::number(at),
        texts: vec![],
        rows: vec![],
        header_rows: None,
    };
    let table = grid.read(&screens)?;
    Some((vec![Block::Table(table)], end))
}

/// Whether a line draws a frame from its first character on.
fn is_frame(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('+')
        && line.ends_with('+')
        && line.len() >= 3
        && line.bytes().all(|byte| b"+-=:".contains(&byte))
        && (line.contains("--") || line.contains("=="))
}

/// Box-drawing characters as their ASCII equals.
fn ascii(line: &str) -> Cow<'_, str> {
    // The first two bytes of all of them in UTF-8: U+2500 to U+257F.
    let bytes = line.as_bytes();
    let drawn = |at: usize| matches!(bytes.get(at + 1), Some(0x94 | 0x95));
    if !memchr::memchr_iter(0xe2, bytes).any(drawn) {
        return Cow::Borrowed(line);
    }
    let map = |c: char| match c {
        '─' | '━' | '┄' | '╌' => '-',
        '═' => '=',
        '│' | '┃' | '║' => '|',
        '┌' | '┬' | '┐' | '├' | '┼' | '┤' | '└' | '┴' | '┘' | '╔' | '╦' | '╗' | '╠' | '╬' | '╣' | '╚'
        | '╩' | '╝' | '╒' | '╤' | '╕' | '╞' | '╪' | '╡' | '╘' | '╧' | '╛' | '┏' | '┳' | '┓' | '┣' | '╋'
        | '┫' | '┗' | '┻' | '┛' => '+',
        other => other,
    };
    Cow::Owned(line.chars().map(map).collect())
}

/// Columns of all corners in frame lines.
fn edges(screens: &[Screen]) -> Vec<usize> {
    let mut edges = vec![];
    for screen in screens {
        for column in 0..screen.len() {
            let drawn = |c: char| matches!(c, '-' | '=' | ':');
            let corner = screen.at(column) == '+'
                && (drawn(screen.at(column + 1)) || column > 0 && drawn(screen.at(column - 1)));
            if corner && edges.len() < MAX_COLUMNS && !edges.contains(&column) {
                edges.push(column);
            }
        }
    }
    edges.sort_unstable();
    edges
}

struct Grid {
    /// Each line is a row, as database shells print them.
    lined: bool,
    edges: Vec<usize>,
    /// Number of the first frame line.
    number: u32,
    /// Texts of the cells; rows refer to them, since a cell may reach over several rows.
    texts: Vec<String>,
    rows: Vec<(u32, Vec<Place>)>,
    header_rows: Option<usize>,
}

/// A place in a row: which cell fills it, and how.
#[derive(Clone, Copy)]
struct Place {
    text: usize,
    from_left: bool,
    from_above: bool,
}

impl Grid {
    fn read(mut self, screens: &[Screen]) -> Option<Table> {
        let width = self.edges.len().checked_sub(1).filter(|&width| width > 0)?;
        self.lined = self.is_lined(screens);
        let mut open: Vec<Option<Place>> = vec![None; width];
        let mut line_of_row = None;
        let mut row = vec![None; width];
        for (index, screen) in screens.iter().enumerate() {
            let number = self.number.saturating_add(u32::try_from(index).unwrap_or(u32::MAX));
            if let Some(closed) = self.frame(screen) {
                if let Some(line) = line_of_row.take() {
                    self.end_row(line, &row);
                    if self.header_rows.is_none() && closed.contains(&Some('=')) {
                        self.header_rows = Some(self.rows.len());
                    }
                    row = vec![None; width];
                }
                for (column, mark) in closed.iter().enumerate() {
                    if mark.is_some() {
                        open[column] = None;
                    } else if let Some(place) = &mut open[column] {
                        // The frame has a gap: the cell goes on in the next row.
                        place.from_above = true;
                    }
                }
                continue;
            }
            if self.lined
                && let Some(line) = line_of_row.take()
            {
                self.end_row(line, &row);
                row = vec![None; width];
                open.fill(None);
            }
            line_of_row.get_or_insert(number);
            self.content(screen, &mut open, &mut row);
        }
        if let Some(line) = line_of_row {
            self.end_row(line, &row);
        }
        let texts: Vec<inline::Inline> = self.texts.iter().map(|text| inline::plain(text)).collect();
        let rows = self.rows.into_iter().map(|(line, places)| {
            let cell = |place: Place| Cell {
                text: texts[place.text].text.clone(),
                marks: texts[place.text].marks.clone(),
                from_left: place.from_left,
                from_above: place.from_above,
            };
            Row { line, cells: places.into_iter().map(cell).collect() }
        });
        let rows: Vec<Row> = rows.collect();
        let line = rows.first()?.line;
        Some(Table { line, caption: None, header_rows: self.header_rows, rows })
    }

    /// Shells draw three frame lines of dashes, and every row between them begins with text.
    fn is_lined(&self, screens: &[Screen]) -> bool {
        let frames: Vec<usize> =
            (0..screens.len()).filter(|&index| self.frame(&screens[index]).is_some()).collect();
        let &[_, header, end] = &frames[..] else { return false };
        let dashes = frames
            .iter()
            .all(|&index| self.frame(&screens[index]).is_some_and(|drawn| !drawn.contains(&Some('='))));
        let begins = |screen: &Screen| !screen.slice(self.edges[0] + 1, self.edges[1]).trim().is_empty();
        dashes && end > header + 2 && screens[header + 1..end].iter().all(begins)
    }

    /// For a frame line, what it draws below each column.
    fn frame(&self, screen: &Screen) -> Option<Vec<Option<char>>> {
        let drawn: Vec<Option<char>> = self
            .edges
            .windows(2)
            .map(|edge| {
                let first = screen.at(edge[0] + 1);
                let all =
                    (edge[0] + 1..edge[1]).all(|column| matches!(screen.at(column), '-' | '=' | ':' | '+'));
                (all && matches!(first, '-' | '=' | ':')).then_some(if first == '=' { '=' } else { '-' })
            })
            .collect();
        let starts = screen.at(self.edges[0]) == '+';
        (drawn.iter().any(Option::is_some) && (starts || drawn.iter().any(Option::is_none))).then_some(drawn)
    }

    /// Adds a line of text to the cells below which it stands.
    fn content(&mut self, screen: &Screen, open: &mut [Option<Place>], row: &mut [Option<Place>]) {
        let width = open.len();
        let aligned = self.edges.iter().all(|&edge| matches!(screen.at(edge), '|' | '+'));
        let whole = screen.slice(0, screen.len());
        let bars: Vec<&str> = whole.trim().trim_matches('|').split('|').collect();
        if !aligned && bars.len() == width {
            // The author did not align the bars, but set all of them.
            for (column, text) in bars.into_iter().enumerate() {
                self.add(column, text, open, row);
            }
            return;
        }
        let mut column = 0;
        while column < width {
            let mut end = column + 1;
            while end < width && !matches!(screen.at(self.edges[end]), '|' | '+') {
                end += 1;
            }
            let text = screen.slice(self.edges[column] + 1, self.edges[end]);
            self.add(column, &text, open, row);
            for spanned in column + 1..end {
                if let (None, Some(first)) = (open[spanned], open[column]) {
                    open[spanned] = Some(Place { from_left: true, ..first });
                }
                row[spanned] = open[spanned];
            }
            column = end;
        }
    }

    fn add(&mut self, column: usize, text: &str, open: &mut [Option<Place>], row: &mut [Option<Place>]) {
        let place = *open[column].get_or_insert_with(|| {
            self.texts.push(String::new());
            Place { text: self.texts.len() - 1, from_left: false, from_above: false }
        });
        row[column] = Some(place);
        let cell = &mut self.texts[place.text];
        if !cell.is_empty() && !text.trim().is_empty() {
            cell.push('\n');
        }
        cell.push_str(text.trim());
    }

    fn end_row(&mut self, line: u32, row: &[Option<Place>]) {
        let mut places = vec![];
        for place in row {
            places.push(place.unwrap_or_else(|| {
                self.texts.push(String::new());
                Place { text: self.texts.len() - 1, from_left: false, from_above: false }
            }));
        }
        self.rows.push((line, places));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Table {
        let lines = Lines(content.split('\n').collect());
        let (blocks, _) = table(&lines, 0).expect("a grid");
        match blocks.into_iter().next() {
            Some(Block::Table(table)) => table,
            other => panic!("a table, not {other:?}"),
        }
    }

    fn rows(table: &Table) -> Vec<(u32, Vec<&str>)> {
        table
            .rows
            .iter()
            .map(|row| (row.line, row.cells.iter().map(|cell| cell.text.as_str()).collect()))
            .collect()
    }

    #[test]
    fn the_header_rule_may_be_equals_or_dashes() {
        let table = read(
            "+------+------+\n| Role | Port |\n+======+======+\n| Web  | 443  |\n|      | 8443 |\n+------+------+\n",
        );
        assert_eq!(
            (rows(&table), table.header_rows),
            (vec![(2, vec!["Role", "Port"]), (4, vec!["Web", "443\n8443"])], Some(1))
        );
        let table =
            read("+------+------+\n| Role | Port |\n+------+------+\n| Web  | 443  |\n+------+------+\n");
        assert_eq!(table.header_rows, None);
    }

    #[test]
    fn shells_print_a_row_on_each_line() {
        let table = read(
            "+------+------+\n| Role | Port |\n+------+------+\n| Web  | 443  |\n| Mail | 25   |\n+------+------+\n",
        );
        assert_eq!(
            rows(&table),
            [(2, vec!["Role", "Port"]), (4, vec!["Web", "443"]), (5, vec!["Mail", "25"])]
        );
    }

    #[test]
    fn gaps_in_the_frame_are_spans() {
        let table = read(
            "+-----+-----+\n| A   | 1   |\n|     +-----+\n|     | 2   |\n+-----+-----+\n| both      |\n+-----+-----+",
        );
        assert_eq!(rows(&table), [(2, vec!["A", "1"]), (4, vec!["A", "2"]), (6, vec!["both", "both"])]);
        assert!(table.rows[1].cells[0].from_above && table.rows[2].cells[1].from_left);
    }

    #[test]
    fn wide_characters_and_boxes_keep_their_columns() {
        let table =
            read("┌──────┬──────┐\n│ 役割 │ Port │\n├──────┼──────┤\n│ 監視 │ 161  │\n└──────┴──────┘");
        assert_eq!(rows(&table), [(2, vec!["役割", "Port"]), (4, vec!["監視", "161"])]);
    }
}
