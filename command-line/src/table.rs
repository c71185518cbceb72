/// To which side the cells of a table's columns stand, but for the first column, which stands to
/// the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Texts: what stands last in a row may be longer than its column.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells as lines, with columns as wide as needed.
pub fn table<R: AsRef<[String]>>(rows: &[R], align: Align) -> String {
    let rows = || rows.iter().map(AsRef::as_ref);
    let width = |column: usize| {
        let counted = rows().filter(|row| match align {
            Align::Left => row.len() > column + 1,
            Align::Right => row.len() > column,
        });
        counted.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let columns = rows().map(<[String]>::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 || align == Align::Left {
                format!("{cell:width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// A count with a comma between thousands.
pub fn thousands(count: impl ToString) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let numbers = [0, 12, 999, 1000, 123_456, 1_234_567];
        let expected = ["0", "12", "999", "1,000", "123,456", "1,234,567"];
        assert_eq!(numbers.map(thousands), expected);
    }

    #[test]
    fn numbers_stand_to_the_right_and_texts_to_the_left() {
        let rows = [["layer", "ñ"], ["a", "100"]].map(|row| row.map(String::from));
        assert_eq!(table(&rows, Align::Right), "layer    ñ\na      100\n");
        assert_eq!(table(&rows, Align::Left), "layer  ñ\na      100\n");
        assert_eq!(table::<[String; 2]>(&[], Align::Right), "");
        let rows = [vec!["a", "b", "c"], vec!["a", "no such device"], vec!["aa", "bb", ""]]
            .map(|row| row.into_iter().map(String::from).collect::<Vec<_>>());
        assert_eq!(table(&rows, Align::Left), "a   b   c\na   no such device\naa  bb\n");
    }
}
