use std::io::{self, Write};

use rayon::prelude::*;

use crate::{
    formats::{Encoding, TensorView, write_floats},
    pretrained::ternary_rows::TernaryRows,
};

/// Rows that are encoded before they are written.
const ROWS_PER_WRITE: usize = 256;

/// Writes rows that `encode` makes, each for itself.
pub(super) fn write(
    out: &mut dyn Write,
    rows: usize,
    encode: impl Fn(usize, &mut Vec<u8>) + Sync,
) -> io::Result<()> {
    for first in (0..rows).step_by(ROWS_PER_WRITE) {
        let encoded: Vec<Vec<u8>> = (first..rows.min(first + ROWS_PER_WRITE))
            .into_par_iter()
            .map(|row| {
                let mut bytes = Vec::new();
                encode(row, &mut bytes);
                bytes
            })
            .collect();
        encoded.iter().try_for_each(|bytes| out.write_all(bytes))?;
    }
    Ok(())
}

/// Writes a tensor of floats.
pub(super) fn write_tensor(
    out: &mut dyn Write,
    tensor: TensorView<'_>,
    encoding: Encoding,
) -> io::Result<()> {
    write(out, tensor.rows(), |row, bytes| {
        let mut values = vec![0.0; tensor.columns()];
        tensor.row(row, &mut values);
        write_floats(encoding, &values, bytes);
    })
}

/// The codes of an output.
pub(super) fn codes(rows: &TernaryRows<'_>, output: usize) -> Vec<i8> {
    let mut codes = vec![0; rows.inputs()];
    rows.codes(output, &mut Vec::new(), &mut codes);
    codes
}

/// Number of codes in which two weights of the same shape differ.
pub(super) fn differing(a: &TernaryRows<'_>, b: &TernaryRows<'_>) -> usize {
    let rows = (0..a.outputs()).into_par_iter().map(|output| {
        let pairs = codes(a, output).into_iter().zip(codes(b, output));
        pairs.filter(|(a, b)| a != b).count()
    });
    rows.sum()
}
