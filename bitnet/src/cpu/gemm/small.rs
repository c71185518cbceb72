//! Products of matrices that lie in the cache, as attention has them for each head: nothing is
//! packed or copied first.

#![allow(unsafe_code, reason = "vector intrinsics over raw pointers")]

use super::bf16;
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::{self, Vectors};
use crate::cpu::vectorized;

/// Columns of a vector.
pub(crate) const LANES: usize = 16;
/// Rows that are computed together.
pub(crate) const ROWS: usize = 8;

/// `a · b`, of elements in f32, or of words that hold two in bf16 which follow one another along
/// the inner dimension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<'a, T> {
    /// `[rows, inner]`: an element is at `row · strides[0] + column · strides[1]`.
    pub(crate) a: &'a [T],
    pub(crate) strides: [usize; 2],
    /// `[inner, columns]`, whose rows begin every `stride` elements.
    pub(crate) b: &'a [T],
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) columns: usize,
}

/// An element of an operand.
pub(crate) trait Element: Copy {
    /// # Panics
    /// If the processor has no products of such elements.
    fn compute<const ADD: bool>(product: Product<'_, Self>, out: &mut [f32], stride: usize);
}

impl Element for f32 {
    fn compute<const ADD: bool>(product: Product<'_, f32>, out: &mut [f32], stride: usize) {
        #[cfg(target_arch = "x86_64")]
        if isa::vectors() == Vectors::Avx512 {
            // SAFETY: the processor has the instructions; the lengths were checked.
            return unsafe { avx512::compute::<ADD>(product, out, stride) };
        }
        portable(product, out, stride, ADD);
    }
}

/// For processors of which `bf16::is_supported`.
impl Element for u32 {
    fn compute<const ADD: bool>(product: Product<'_, u32>, out: &mut [f32], stride: usize) {
        assert!(bf16::is_supported(), "the processor has been asked");
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the instructions; the lengths were checked.
        unsafe {
            avx512_bf16::compute::<ADD>(product, out, stride);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (product, out, stride);
    }
}

impl<T: Element> Product<'_, T> {
    /// Writes the product into `out`, `[rows, columns]`, whose rows begin every `stride` elements.
    ///
    /// # Panics
    /// If an operand or `out` is too short, or if the processor has no such products.
    pub(crate) fn write(self, out: &mut [f32], stride: usize) {
        self.compute::<false>(out, stride);
    }

    /// Adds the product to `out`, as [`write`](Self::write).
    ///
    /// # Panics
    /// As there.
    pub(crate) fn add(self, out: &mut [f32], stride: usize) {
        self.compute::<true>(out, stride);
    }

    fn compute<const ADD: bool>(self, out: &mut [f32], stride: usize) {
        let Self { a, strides, b, rows, inner, columns, .. } = self;
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(columns <= stride && (rows - 1) * stride + columns <= out.len(), "output");
        if inner > 0 {
            assert!((rows - 1) * strides[0] + (inner - 1) * strides[1] < a.len(), "left operand");
            assert!(columns <= self.stride, "columns of the right operand");
            assert!((inner - 1) * self.stride + columns <= b.len(), "right operand");
        }
        T::compute::<ADD>(self, out, stride);
    }
}

vectorized! {
    /// For other processors. Rounds as they do: a product and its sum once.
    fn portable(product: Product<'_, f32>, out: &mut [f32], out_stride: usize, add: bool) {
        const BLOCK: usize = 4;
        for row in (0..product.rows).step_by(BLOCK) {
            let count = BLOCK.min(product.rows - row);
            for column in (0..product.columns).step_by(LANES) {
                let width = LANES.min(product.columns - column);
                let mut tile = [[0.0; LANES]; BLOCK];
                if count == BLOCK && width == LANES {
                    tile = sums::<BLOCK, true>(&product, row, column, width);
                } else {
                    for (r, tile) in tile.iter_mut().enumerate().take(count) {
                        [*tile] = sums::<1, false>(&product, row + r, column, width);
                    }
                }
                for (r, sums) in tile.iter().enumerate().take(count) {
                    let out = &mut out[(row + r) * out_stride + column..][..width];
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = if add { *out + sum } else { *sum };
                    }
                }
            }
        }
    }
}

/// Some rows of a vector of columns. With both numbers known to the compiler the sums stay in
/// registers.
#[inline(always)]
fn sums<const R: usize, const WHOLE: bool>(
    product: &Product<'_, f32>,
    row: usize,
    column: usize,
    width: usize,
) -> [[f32; LANES]; R] {
    let &Product { a, strides, b, stride, inner, .. } = product;
    let mut sums = [[0.0_f32; LANES]; R];
    for k in 0..inner {
        let from = &b[k * stride + column..];
        let mut right = [0.0; LANES];
        match WHOLE {
            true => right = *from.first_chunk().expect("a whole vector"),
            false => right[..width].copy_from_slice(&from[..width]),
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let left = a[(row + r) * strides[0] + k * strides[1]];
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = left.mul_add(right, *sum);
            }
        }
    }
    sums
}

/// The products for processors with AVX-512, by the instructions that an element needs: how one is
/// spread over a vector, and how two vectors are multiplied and added to a third.
#[cfg(target_arch = "x86_64")]
macro_rules! products {
    ($element:ty, $features:literal, $spread:expr, $multiply:expr) => {
        use std::arch::x86_64::*;

        use super::{LANES, Product, ROWS};

        /// Vectors that are computed together.
        const PANELS: usize = 2;

        /// # Safety
        /// Operands and output have the lengths that `Product::compute` checks.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn compute<const ADD: bool>(
            product: Product<'_, $element>,
            out: &mut [f32],
            stride: usize,
        ) {
            let Product { a, strides, b, rows, columns, .. } = product;
            for column in (0..columns).step_by(PANELS * LANES) {
                for row in (0..rows).step_by(ROWS) {
                    // SAFETY: row and column are in the matrices, and what a tile computes is, too.
                    unsafe {
                        let mut tile = |row: usize| Tile {
                            product,
                            a: a.as_ptr().add(row * strides[0]),
                            b: b.as_ptr().add(column),
                            out: out.as_mut_ptr().add(row * stride + column),
                            stride,
                            columns: columns - column,
                        };
                        match (ROWS.min(rows - row), columns - column > LANES) {
                            (ROWS, true) => tile(row).compute::<ADD, ROWS, 2>(),
                            (ROWS, false) => tile(row).compute::<ADD, ROWS, 1>(),
                            (rows, true) => {
                                (row..row + rows).for_each(|row| tile(row).compute::<ADD, 1, 2>());
                            }
                            (rows, false) => {
                                (row..row + rows).for_each(|row| tile(row).compute::<ADD, 1, 1>());
                            }
                        }
                    }
                }
            }
        }

        /// The part of a product from some row and column on.
        struct Tile<'a> {
            product: Product<'a, $element>,
            a: *const $element,
            b: *const $element,
            out: *mut f32,
            stride: usize,
            /// Those left.
            columns: usize,
        }

        impl Tile<'_> {
            /// Computes `R` rows of `P` vectors.
            ///
            /// # Safety
            /// There are as many rows, and more columns than in `P − 1` vectors.
            #[target_feature(enable = $features)]
            unsafe fn compute<const ADD: bool, const R: usize, const P: usize>(self) {
                let Product { strides, stride, inner, .. } = self.product;
                let masks: [__mmask16; P] = std::array::from_fn(|p| {
                    (0xFFFF_u32 >> (LANES - LANES.min(self.columns - p * LANES))) as u16
                });
                let mut sums = [[_mm512_setzero_ps(); P]; R];
                for k in 0..inner {
                    let rights: [__m512; P] = std::array::from_fn(|p| {
                        // SAFETY: the lanes under the mask are columns of row k.
                        unsafe {
                            _mm512_maskz_loadu_ps(
                                masks[p],
                                self.b.add(k * stride + p * LANES).cast(),
                            )
                        }
                    });
                    for (r, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: an element of one of the rows.
                        let left = unsafe { *self.a.add(r * strides[0] + k * strides[1]) };
                        let left = ($spread)(left);
                        for (sum, right) in sums.iter_mut().zip(rights) {
                            *sum = ($multiply)(*sum, left, right);
                        }
                    }
                }
                for (r, sums) in sums.into_iter().enumerate() {
                    for (p, mut sum) in sums.into_iter().enumerate() {
                        // SAFETY: the lanes under the mask are columns of row r.
                        unsafe {
                            let out = self.out.add(r * self.stride + p * LANES);
                            if ADD {
                                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(masks[p], out));
                            }
                            _mm512_mask_storeu_ps(out, masks[p], sum);
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    products!(f32, "avx512f", _mm512_set1_ps, |sum, left, right| _mm512_fmadd_ps(left, right, sum));
}

#[cfg(target_arch = "x86_64")]
mod avx512_bf16 {
    products!(
        u32,
        "avx512f,avx512bf16",
        |word: u32| _mm512_set1_epi32(word as i32),
        |sum, left, right| {
            // SAFETY: any bits are a bf16.
            let right = unsafe { std::mem::transmute::<__m512, __m512bh>(right) };
            // SAFETY: any bits are a bf16.
            let left = unsafe { std::mem::transmute::<__m512i, __m512bh>(left) };
            _mm512_dpbf16_ps(sum, left, right)
        }
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            let (mut found, mut simple) = (before.clone(), before.clone());
            match add {
                true => product.add(&mut found, stride),
                false => product.write(&mut found, stride),
            }
            if rows > 0 && columns > 0 {
                portable(product, &mut simple, stride, add);
            }
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
                    prop_assert_eq!(simple[at], expected);
                }
            }
        }
    }
}
