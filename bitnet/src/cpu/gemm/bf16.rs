//! Products of the backward pass in bfloat16, added up in f32.
//!
//! One operand is the gradient of the output, rounded to bf16; the other one holds codes, ternary
//! or of 8 bits, which bf16 represents exactly. `vdpbf16ps` multiplies two of each for every sum,
//! twice the rate of f32 (AMD from Zen 4 on; with AVX-512 units for f32 on both ports, as some of
//! Intel's have, there is no such gain).

#![allow(unsafe_code, reason = "vector intrinsics over raw pointers")]

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use super::bf16_operands::{COLUMNS_PER_PANEL, Columns, Panels, ROWS_PER_TILE, Rows};
use crate::cpu::{isa, parallel::par_map, uninit::UninitChunk};

/// Part of a transposed product that is one piece of work.
const TASK_SHAPE: [usize; 2] = [16 * ROWS_PER_TILE, 16 * COLUMNS_PER_PANEL];

/// Whether this processor has the instructions.
pub(crate) fn is_supported() -> bool {
    isa::has_bf16_products()
}

/// Writes `left · right` to `out`, `[rows, columns]`, and returns it.
///
/// # Panics
/// If the inner dimensions or the length of `out` do not fit, or if not [`is_supported`].
pub(crate) fn product<'a>(left: &Rows, right: &Panels, out: UninitChunk<'a, f32>) -> &'a mut [f32] {
    assert!(is_supported(), "the processor has been asked");
    assert!(left.pairs == right.pairs && left.pairs > 0, "inner dimensions");
    assert_eq!(out.len(), left.rows * right.columns, "output");
    let write = |out: &mut [MaybeUninit<f32>]| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the instructions; `out` has all rows and columns.
        unsafe {
            let out = out.as_mut_ptr().cast();
            dot::part(left, 0..left.rows, right, 0..right.columns, out, right.columns);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = out;
    };
    // SAFETY: all rows and columns are written, as there is something to add up.
    unsafe { out.written(write) }
}

/// `left · right` as matrices side by side, of so many columns each: whole panels, but for the
/// last one.
///
/// # Panics
/// If the inner dimensions or the columns do not fit, or if not [`is_supported`].
pub(crate) fn transposed_product(
    left: &Columns,
    right: &Panels,
    widths: &[usize],
) -> Vec<Vec<f32>> {
    assert!(is_supported(), "the processor has been asked");
    assert_eq!(left.pairs, right.pairs, "inner dimensions");
    assert_eq!(widths.iter().sum::<usize>(), right.columns, "columns");
    let mut outs: Vec<Vec<f32>> =
        widths.iter().map(|width| Vec::with_capacity(left.rows * width)).collect();
    let mut pieces = Vec::new();
    let mut before = 0;
    for (out, &width) in outs.iter_mut().zip(widths) {
        assert!(before % COLUMNS_PER_PANEL == 0, "matrices begin with a panel");
        let out = Place(out.as_mut_ptr());
        for column in (0..width).step_by(TASK_SHAPE[1]) {
            let columns = column..width.min(column + TASK_SHAPE[1]);
            for row in (0..left.rows).step_by(TASK_SHAPE[0]) {
                let rows = row..left.rows.min(row + TASK_SHAPE[0]);
                pieces.push((rows, columns.clone(), before, width, out));
            }
        }
        before += width;
    }
    par_map(left.rows * right.columns * left.pairs / 64, pieces, |_, piece| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the instructions. Each piece writes its own rows and columns
        // of an allocation that has them all.
        unsafe {
            let (rows, columns, before, width, Place(out)) = piece;
            let out = out.add(rows.start * width + columns.start);
            let columns = before + columns.start..before + columns.end;
            dot::part(left, rows, right, columns, out, width);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = piece;
    });
    for (out, width) in outs.iter_mut().zip(widths) {
        // SAFETY: the pieces cover all rows and columns, and have written them.
        unsafe { out.set_len(left.rows * width) };
    }
    outs
}

/// Where a matrix is written by several threads.
#[derive(Clone, Copy)]
struct Place(*mut f32);

// SAFETY: the pieces of work that have it write different elements.
unsafe impl Send for Place {}

#[cfg(target_arch = "x86_64")]
mod dot {
    use std::{arch::x86_64::*, ops::Range};

    use super::{COLUMNS_PER_PANEL, Columns, Panels, ROWS_PER_TILE, Rows};
    use crate::cpu::gemm::bf16_operands::PAIRS_PER_BLOCK;

    /// Panels that are computed together: 12 · 2 sums leave room for what is multiplied.
    const PANELS_PER_TILE: usize = 2;

    /// A left operand.
    pub(super) trait Left {
        /// Words from one row to the next, of the same block.
        const ROW_STRIDE: usize;
        /// Words from one pair to the next.
        const PAIR_STRIDE: usize;

        /// Where the words of a row begin that belong to a block of `depth` pairs which begins
        /// with the pair `start`.
        fn at(&self, row: usize, start: usize, depth: usize) -> usize;

        /// All words.
        fn words(&self) -> &[u32];

        /// The length of the inner dimension.
        fn pairs(&self) -> usize;
    }

    impl Left for Rows {
        const ROW_STRIDE: usize = PAIRS_PER_BLOCK;
        const PAIR_STRIDE: usize = 1;

        fn at(&self, row: usize, start: usize, _: usize) -> usize {
            start * self.rows + row * PAIRS_PER_BLOCK
        }

        fn words(&self) -> &[u32] {
            &self.words
        }

        fn pairs(&self) -> usize {
            self.pairs
        }
    }

    impl Left for Columns {
        const ROW_STRIDE: usize = 1;
        const PAIR_STRIDE: usize = ROWS_PER_TILE;

        fn at(&self, row: usize, start: usize, depth: usize) -> usize {
            start * self.rows.next_multiple_of(ROWS_PER_TILE)
                + row / ROWS_PER_TILE * ROWS_PER_TILE * depth
                + row % ROWS_PER_TILE
        }

        fn words(&self) -> &[u32] {
            &self.words
        }

        fn pairs(&self) -> usize {
            self.pairs
        }
    }

    /// Writes some rows and columns of `left · right` to `out`, whose rows begin every `stride`
    /// elements. Ranges begin with a multiple of [`ROWS_PER_TILE`] and of [`COLUMNS_PER_PANEL`].
    ///
    /// # Safety
    /// `out` is valid for writes of that size, and the operands have those rows and columns.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn part<L: Left>(
        left: &L,
        rows: Range<usize>,
        right: &Panels,
        columns: Range<usize>,
        out: *mut f32,
        stride: usize,
    ) {
        for start in (0..left.pairs()).step_by(PAIRS_PER_BLOCK) {
            let depth = PAIRS_PER_BLOCK.min(left.pairs() - start);
            for column in columns.clone().step_by(PANELS_PER_TILE * COLUMNS_PER_PANEL) {
                for row in rows.clone().step_by(ROWS_PER_TILE) {
                    // SAFETY: row and column are in the ranges, for which there is room.
                    let out =
                        unsafe { out.add((row - rows.start) * stride + column - columns.start) };
                    let end = columns.end;
                    let tile = Tile { left, row, right, column, end, start, depth, out, stride };
                    let narrow = end - column <= COLUMNS_PER_PANEL;
                    // SAFETY: the operands and `out` have as many rows and columns left as the tile
                    // has.
                    unsafe {
                        match (ROWS_PER_TILE.min(rows.end - row), narrow) {
                            (12, false) => tile.compute::<12, 2>(),
                            (12, true) => tile.compute::<12, 1>(),
                            (count, _) => {
                                let wide = count / 4 * 4;
                                (0..wide).step_by(4).for_each(|i| tile.rows::<4>(i, narrow));
                                (wide..count).for_each(|i| tile.rows::<1>(i, narrow));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Where a part of the product lies.
    struct Tile<'a, L> {
        left: &'a L,
        row: usize,
        right: &'a Panels,
        /// A multiple of [`COLUMNS_PER_PANEL`].
        column: usize,
        /// The column after the last.
        end: usize,
        /// First pair, and number of pairs.
        start: usize,
        depth: usize,
        /// Begins with that row and column.
        out: *mut f32,
        stride: usize,
    }

    impl<L: Left> Tile<'_, L> {
        /// Computes `R` rows from the `i`th on.
        ///
        /// # Safety
        /// The operands and `out` have them.
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        unsafe fn rows<const R: usize>(&self, i: usize, narrow: bool) {
            // SAFETY: operands and `out` have the rows, as the caller promises.
            unsafe {
                let tile = Tile { row: self.row + i, out: self.out.add(i * self.stride), ..*self };
                match narrow {
                    false => tile.compute::<R, 2>(),
                    true => tile.compute::<R, 1>(),
                }
            }
        }

        /// Writes the products of `R` rows of one block and `P` panels, or adds them if they are
        /// not the first.
        ///
        /// # Safety
        /// `out` has the rows, and the columns before `end`.
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        unsafe fn compute<const R: usize, const P: usize>(&self) {
            let &Self { left, row, right, column, end, start, depth, out, stride } = self;
            let origin = left.at(row, start, depth);
            let words = left.words();
            assert!(origin + (R - 1) * L::ROW_STRIDE + (depth - 1) * L::PAIR_STRIDE < words.len());
            let panel = start * right.columns.next_multiple_of(COLUMNS_PER_PANEL) + column * depth;
            let panel_stride = COLUMNS_PER_PANEL * depth;
            assert!(panel + P * panel_stride <= right.words.len());
            // SAFETY: both offsets are within the lengths just checked.
            let (lefts, rights) =
                unsafe { (words.as_ptr().add(origin), right.words.as_ptr().add(panel)) };
            let mut sums = [[_mm512_setzero_ps(); P]; R];
            for pair in 0..depth {
                let rights: [__m512bh; P] = std::array::from_fn(|p| {
                    // SAFETY: pair < depth and p < P: within the panels. Any bits are a bf16.
                    unsafe {
                        let at = rights.add(p * panel_stride + pair * COLUMNS_PER_PANEL);
                        std::mem::transmute(_mm512_loadu_si512(at.cast()))
                    }
                });
                for (r, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: r < R and pair < depth: within what was checked. Any bits are a
                    // bf16.
                    let left: __m512bh = unsafe {
                        let word = *lefts.add(r * L::ROW_STRIDE + pair * L::PAIR_STRIDE);
                        std::mem::transmute(_mm512_set1_epi32(word as i32))
                    };
                    for (sum, right) in sums.iter_mut().zip(rights) {
                        *sum = _mm512_dpbf16_ps(*sum, left, right);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (p, mut sum) in sums.into_iter().enumerate() {
                    let lanes = COLUMNS_PER_PANEL.min(end - column - p * COLUMNS_PER_PANEL);
                    let mask = (0xFFFF_u32 >> (COLUMNS_PER_PANEL - lanes)) as u16;
                    // SAFETY: the lanes under the mask end before the column `end` of row r.
                    unsafe {
                        let to = out.add(r * stride + p * COLUMNS_PER_PANEL);
                        if start > 0 {
                            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, to));
                        }
                        _mm512_mask_storeu_ps(to, mask, sum);
                    }
                }
            }
        }
    }
}
