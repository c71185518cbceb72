use burn::tensor::DType;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};

use super::{
    super::{
        columns::sum_rows,
        operand::Operand,
        tensors::{empty, reshaped},
    },
    CudaSource, boxes, is_hopper, is_supported,
};

/// Multiprocessors of the largest GPUs: what one wave of blocks should fill.
const BLOCKS_PER_WAVE: usize = 132;
/// Steps of a sum, in elements: those of sm_80 are half of it.
const INNER_PER_STEP: usize = 64;
/// Shortest part of a sum that is worth a block of its own.
const MIN_INNER_PER_PART: usize = 256;
/// Parts of a sum at most.
const MAX_PARTS_OF_SUM: usize = 32;

/// A kernel and how it is launched.
struct Variant {
    text: &'static str,
    threads: u32,
    shared: usize,
    /// Rows and columns of the result of one block.
    tile: [usize; 2],
}

/// For sm_80 and later.
const AMPERE: Variant = Variant {
    text: include_str!("gemm.cu"),
    threads: 128,
    // Four steps of 32 under way, of both operands, two bytes an element.
    shared: 4 * 2 * 128 * 32 * 2,
    tile: [128, 128],
};

/// For sm_90, with blocks of so many columns.
fn hopper(wide: usize) -> Variant {
    let stages = match wide {
        256 => 4,
        192 => 5,
        _ => 6,
    };
    Variant {
        text: include_str!("gemm_hopper.cu"),
        threads: 384,
        // Steps of 64, two barriers each, and room to begin at a multiple of 1024.
        shared: stages * ((128 + wide) * 64 * 2 + 16) + 1024,
        tile: [128, wide],
    }
}

/// Whether [`multiply`] takes these operands: bf16 on a GPU that has the kernels, rows whose length
/// is a multiple of 8, and the same dimension to sum over, or half of it in one of them, which then
/// is taken twice: by the first half of the other, and by the second.
pub(crate) fn fits<R: CubeRuntime>(a: &Operand<R>, b: &Operand<R>) -> bool {
    let [batch, m, of_a] = a.sizes();
    let [_, of_b, n] = b.sizes();
    let k = of_a.min(of_b);
    is_supported(&a.tensor.client)
        && a.tensor.dtype == DType::BF16
        && b.tensor.dtype == DType::BF16
        && batch == 1
        && n.is_multiple_of(8)
        && (if a.transposed { m } else { k }).is_multiple_of(8)
        && (!b.transposed || k.is_multiple_of(8))
        && (of_a == of_b || of_a.max(of_b) == 2 * k && k.is_multiple_of(INNER_PER_STEP))
        && m > 0
        && n > 0
}

/// `residual + rows · (a · b) · columns` of bf16 matrices with sums in f32, where there are scales
/// and a residual.
///
/// # Shapes
/// - output: `[rows of a, columns of b]`
pub(crate) fn multiply<R: CubeRuntime>(
    a: &Operand<R>,
    b: &Operand<R>,
    scales: Option<[&CubeTensor<R>; 2]>,
    residual: Option<&CubeTensor<R>>,
) -> CubeTensor<R> {
    let [_, m, of_a] = a.sizes();
    let [_, of_b, n] = b.sizes();
    let k = of_a.max(of_b);
    let is_hopper = is_hopper(&a.tensor);
    // The widest blocks are the fastest, unless they would be half empty.
    let wide = match n {
        _ if n % 256 != 0 && n % 192 == 0 => 192,
        _ if n > 128 => 256,
        _ => 128,
    };
    let variant = if is_hopper { hopper(wide) } else { AMPERE };
    let tiles = [n.div_ceil(variant.tile[1]), m.div_ceil(variant.tile[0])];
    let splits = match (scales, residual) {
        (None, None) => splits(tiles[0] * tiles[1], k),
        _ => 1,
    };
    let out = empty(&a.tensor, [splits, m, n], DType::F32);
    let mut defines = vec![
        ("A_BY_K", u32::from(!a.transposed)),
        ("B_BY_K", u32::from(b.transposed)),
        ("TWICE_A", u32::from(of_a < of_b)),
        ("TWICE_B", u32::from(of_b < of_a)),
        ("SCALED", u32::from(scales.is_some())),
        ("RESIDUAL", u32::from(residual.is_some())),
    ];
    let mut maps = Vec::new();
    if is_hopper {
        defines.push(("WIDE", wide as u32));
        maps.push(boxes(&a.tensor, if a.transposed { [64, 64] } else { [128, 64] }));
        maps.push(boxes(&b.tensor, if b.transposed { [wide, 64] } else { [64, 64] }));
    }
    let Variant { text, threads, shared, .. } = variant;
    let source = CudaSource { name: "gemm", defines, text, threads, shared };
    let [rows, columns] = scales.unwrap_or([&out, &out]);
    let numbers = [m, n, k, splits].map(|size| size as u64);
    let others = [rows, columns, residual.unwrap_or(&out), &out];
    // The maps bring the addresses of the operands along.
    let tensors =
        if is_hopper { others.to_vec() } else { [&[&a.tensor, &b.tensor], &others[..]].concat() };
    // SAFETY: operands and output have these sizes, and scales and residual those that their places
    // take.
    unsafe {
        source.launch([tiles[0], tiles[1], splits], maps, &tensors, numbers.into());
    }
    let out = reshaped(&out, [splits, m * n]);
    reshaped(&if splits > 1 { sum_rows(&out) } else { out }, [m, n])
}

/// Parts of a sum over `k`, so that so many tiles in parts fill whole waves.
fn splits(tiles: usize, k: usize) -> usize {
    let idle = |splits: usize| {
        let blocks = tiles * splits;
        let places = blocks.div_ceil(BLOCKS_PER_WAVE) * BLOCKS_PER_WAVE;
        // A part costs a little, for its sum is written and read.
        (places - blocks) as f64 / places as f64 + 0.01 * splits as f64
    };
    let most = (k / MIN_INNER_PER_PART).clamp(1, MAX_PARTS_OF_SUM);
    (1..=most).min_by(|a, b| idle(*a).total_cmp(&idle(*b))).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_split_until_blocks_fill_waves() {
        assert_eq!(splits(96, 16_384), 4);
        assert_eq!(splits(32, 16_384), 4);
        assert_eq!(splits(18, 32_768), 7);
        assert_eq!(splits(1536, 1024), 1);
        assert_eq!(splits(1, 64), 1);
    }
}
