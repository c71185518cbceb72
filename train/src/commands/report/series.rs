use std::{collections::BTreeMap, io, path::Path};

use anyhow::{Context, ensure};
use bitnet::storage::read_own;
use serde::Serialize;

/// Rows that a page shows of a table: as many as a screen has room for, twice.
const ROWS: usize = 2000;

/// The columns of a table, by name, all of one length. Cells may be empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Series(pub BTreeMap<String, Vec<Option<f64>>>);

/// The rows of a CSV file under its header: the cells as they are.
pub struct Rows {
    /// Names of the columns.
    pub header: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    /// Reads a file; `None` if there is none. A last line without an end, which a run under way
    /// or a killed one leaves, is not counted.
    ///
    /// # Errors
    /// If it cannot be read, or a row is not as long as the header.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let name = path.display();
        let text = match read_own(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {name}"))?,
        };
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&text[..whole]);
        let damaged = || format!("{name} is damaged");
        let header: Vec<String> =
            reader.headers().with_context(damaged)?.iter().map(String::from).collect();
        let mut rows = Vec::new();
        for (index, record) in reader.records().enumerate() {
            let record = record.with_context(damaged)?;
            let line = index + 2;
            ensure!(
                record.len() == header.len(),
                "{name} is damaged: line {line} has {} columns, not {}",
                record.len(),
                header.len()
            );
            rows.push(record.iter().map(String::from).collect());
        }
        Ok(Some(Self { header, rows }))
    }

    /// The place of a column.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn column(&self, name: &str, path: &Path) -> anyhow::Result<usize> {
        let found = self.header.iter().position(|column| column == name);
        found.with_context(|| format!("{} is damaged: it has no column {name}", path.display()))
    }

    /// A cell as a number; `None` if it is empty.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&self, row: usize, column: usize, path: &Path) -> anyhow::Result<Option<f64>> {
        let cell = &self.rows[row][column];
        if cell.is_empty() {
            return Ok(None);
        }
        let value = cell.parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.with_context(|| {
            let (name, line) = (&self.header[column], row + 2);
            format!("{} is damaged: line {line} has {cell:?} as {name}", path.display())
        })?;
        Ok(Some(rounded(value)))
    }
}

impl Series {
    /// The rows of `table` that have a value in the column `key`: all columns with any value. Of
    /// too many rows, some are left out, evenly.
    ///
    /// # Errors
    /// If a cell is no number.
    pub fn with(key: &str, table: &Rows, path: &Path) -> anyhow::Result<Self> {
        let column = table.column(key, path)?;
        let rows: Vec<usize> =
            (0..table.rows.len()).filter(|&row| !table.rows[row][column].is_empty()).collect();
        let rows = thinned(&rows, ROWS);
        let mut columns = BTreeMap::new();
        for (at, name) in table.header.iter().enumerate() {
            let values = rows.iter().map(|&row| table.number(row, at, path));
            let values = values.collect::<anyhow::Result<Vec<_>>>()?;
            if values.iter().any(Option::is_some) {
                columns.insert(name.clone(), values);
            }
        }
        Ok(Self(columns))
    }
}

/// At most `limit` of the values, evenly spread, the last one among them.
pub fn thinned<T: Clone>(values: &[T], limit: usize) -> Vec<T> {
    let stride = values.len().div_ceil(limit).max(1);
    values.iter().rev().step_by(stride).rev().cloned().collect()
}

/// As many digits as can be seen: the page is half as long.
fn rounded(value: f64) -> f64 {
    if value == value.trunc() { value } else { format!("{value:.6e}").parse().unwrap_or(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_thinned_to_their_end() {
        let values: Vec<usize> = (1..=10).collect();
        assert_eq!(thinned(&values, 10), values);
        assert_eq!(thinned(&values, 4), [1, 4, 7, 10]);
        assert_eq!(thinned(&values, 3), [2, 6, 10]);
        assert!(thinned::<usize>(&[], 3).is_empty());
        assert_eq!(rounded(1.234_567_891), 1.234_568);
        assert_eq!(rounded(123_456_789.0), 123_456_789.0);
    }
}
