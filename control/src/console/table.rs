//! Columns that line up.

use std::fmt::Write as _;

/// A table with titles: the first column to the left, numbers to the right, two spaces between.
pub(super) fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = titles.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&titles.map(str::to_owned)).chain(rows) {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["drop".to_owned(), "7".to_owned()], ["no_destination".to_owned(), "123456789".to_owned()]];
        let expected = "reason             frames\ndrop                    7\nno_destination  123456789\n";
        assert_eq!(table(["reason", "frames"], &rows), expected);
    }
}
