//! Aligned columns.

use super::escape::safe;

/// Lays rows out under a heading, two spaces between columns, nothing after the last. Cells are made
/// safe for a terminal.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| safe(cell).into_owned())).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| console::measure_text_width(&row[column]));
        cells.max().unwrap_or(0).max(heading[column].len())
    });
    let mut out = String::new();
    line(&mut out, heading, &widths);
    for row in &rows {
        line(&mut out, row.each_ref().map(String::as_str), &widths);
    }
    out
}

fn line<const N: usize>(out: &mut String, cells: [&str; N], widths: &[usize; N]) {
    let start = out.len();
    for (cell, width) in cells.iter().zip(widths) {
        out.push_str(cell);
        let gap = width.saturating_sub(console::measure_text_width(cell)) + 2;
        out.extend(std::iter::repeat_n(' ', gap));
    }
    let end = start + out[start..].trim_end().len();
    out.truncate(end);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_is_in_them() {
        let rows = [["jail", "web01", "x"], ["release", "größe\x1b", ""]].map(|row| row.map(String::from));
        let text = table(["KIND", "NAME", "BASE"], &rows);
        assert_eq!(text, "KIND     NAME         BASE\njail     web01        x\nrelease  größe\\u{1b}\n");
    }
}
