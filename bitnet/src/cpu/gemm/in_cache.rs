//! Products of matrices that lie in the cache, as attention has them for each head: nothing is
//! laid out anew or copied first.

#![allow(unsafe_code, reason = "tiles are written through pointers")]

use super::{
    tile::{COLUMNS_PER_PANEL, ROWS_PER_TILE, Tile},
    word::Word,
};

/// `a · b`, of words that follow one another along the inner dimension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<'a, W> {
    /// `[rows, inner]`: a word is at `row · strides[0] + column · strides[1]`.
    pub(crate) a: &'a [W],
    pub(crate) strides: [usize; 2],
    /// `[inner, columns]`, whose rows begin every `stride` words.
    pub(crate) b: &'a [W],
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) columns: usize,
}

impl<W: Word> Product<'_, W> {
    /// Writes the product into `out`, `[rows, columns]`, whose rows begin every `stride` elements.
    ///
    /// # Panics
    /// If an operand or `out` is too short, or if the processor has no products of such words.
    pub(crate) fn write(self, out: &mut [f32], stride: usize) {
        self.compute(out, stride, false);
    }

    /// Adds the product to `out`, as [`write`](Self::write).
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub(crate) fn add(self, out: &mut [f32], stride: usize) {
        self.compute(out, stride, true);
    }

    fn compute(self, out: &mut [f32], out_stride: usize, add: bool) {
        let Self { a, strides, b, stride, rows, inner, columns } = self;
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(columns <= out_stride && (rows - 1) * out_stride + columns <= out.len(), "output");
        assert!(inner == 0 || columns <= stride, "columns of the right operand");
        let kernel = W::kernel();
        for column in (0..columns).step_by(kernel.columns) {
            for row in (0..rows).step_by(ROWS_PER_TILE) {
                let tile = Tile {
                    left: a.get(row * strides[0]..).unwrap_or_default(),
                    row_stride: strides[0],
                    word_stride: strides[1],
                    rows: ROWS_PER_TILE.min(rows - row),
                    right: b.get(column..).unwrap_or_default(),
                    panel_stride: COLUMNS_PER_PANEL,
                    right_stride: stride,
                    columns: kernel.columns.min(columns - column),
                    depth: inner,
                };
                // SAFETY: row and column are in `out`, whose length has been checked.
                unsafe {
                    let to = out.as_mut_ptr().add(row * out_stride + column);
                    kernel.compute(&tile, to, out_stride, add);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::isa::{self, Isa};

    proptest! {
        #[test]
        fn any_shape_and_any_strides(
            rows in 0_usize..20,
            inner in 0_usize..40,
            columns in 0_usize..70,
            gap in 0_usize..3,
            transposed in any::<bool>(),
            add in any::<bool>(),
        ) {
            let value = |i: usize| ((i * 7919) % 17) as f32 - 8.0;
            let strides = if transposed { [1, rows + gap] } else { [inner + gap, 1] };
            let a: Vec<f32> = (0..(rows + gap) * (inner + gap)).map(value).collect();
            let stride = columns + gap;
            let b: Vec<f32> = (0..inner * stride).map(|i| value(i + 3)).collect();
            let product = Product { a: &a, strides, b: &b, stride, rows, inner, columns };
            let before: Vec<f32> = (0..rows * stride).map(|i| value(i + 5)).collect();
            let computed = || {
                let mut found = before.clone();
                match add {
                    true => product.add(&mut found, stride),
                    false => product.write(&mut found, stride),
                }
                found
            };
            let found = computed();
            let others = [Isa::Avx2, Isa::Scalar].map(|isa| isa::limited(isa, computed));
            for row in 0..rows {
                for column in 0..stride {
                    let at = row * stride + column;
                    // Whole numbers: exact in any order.
                    let sum: f32 = (0..inner)
                        .map(|k| a[row * strides[0] + k * strides[1]] * b[k * stride + column])
                        .sum();
                    let expected = match (column < columns, add) {
                        (false, _) => before[at],
                        (true, true) => before[at] + sum,
                        (true, false) => sum,
                    };
                    prop_assert_eq!(found[at], expected);
                    for other in &others {
                        prop_assert_eq!(other[at], expected);
                    }
                }
            }
        }
    }
}
