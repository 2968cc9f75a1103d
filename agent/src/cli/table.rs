//! Tables for people: columns aligned by the width that a terminal gives their characters.
//!
//! In come rows of text; out come lines. Invariant: a line has no white space at its end.

use std::io::Write;

use unicode_width::UnicodeWidthStr as _;

/// Writes `rows` below `header`, two spaces between columns.
///
/// # Errors
///
/// Where `out` cannot be written.
pub(super) fn write(out: &mut impl Write, header: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
    let mut widths: Vec<usize> = header.iter().map(|text| text.width()).collect();
    for row in rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.width());
        }
    }
    line(out, &widths, header)?;
    for row in rows {
        line(out, &widths, row)?;
    }
    Ok(())
}

fn line(out: &mut impl Write, widths: &[usize], cells: &[impl AsRef<str>]) -> std::io::Result<()> {
    let mut text = String::new();
    for (cell, width) in cells.iter().map(AsRef::as_ref).zip(widths) {
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 2));
    }
    writeln!(out, "{}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::write;

    #[test]
    fn wide_characters_take_two_columns() {
        let mut out = vec![];
        write(&mut out, &["a", "b"], &[vec!["役割".into(), "1".into()], vec!["x".into(), "2".into()]])
            .expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "a     b\n役割  1\nx     2\n");
    }
}
