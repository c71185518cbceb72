//! What rows of activations go through before a product, gate, norm and 8-bit codes, in one pass;
//! and the backward pass, in one pass, too.

use burn::tensor::DType;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    columns::sum_rows,
    gate::{CubeGate, after_gate, before_gate},
    tensors::{as_matrix, cubes, elements, empty, lanes, units},
    units::{CUBES_PER_BACKWARD, cube_max, cube_sum, max_of, sum_of},
};
use crate::cpu::absmax::SCALE_EPS;

/// What rows go through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RowsOp {
    pub(super) gate: CubeGate,
    /// The ε of an RMSNorm with gains.
    pub(super) norm: Option<f32>,
}

/// Rows after that.
#[derive(Debug, Clone)]
pub(super) struct Encoded<R: CubeRuntime> {
    /// Codes, or values where nothing is quantised: `[rows, width]`.
    pub(super) rows: CubeTensor<R>,
    /// What codes are multiplied by to be values: `[rows]`.
    pub(super) inverse: CubeTensor<R>,
    /// `1 / √(mean(x²) + ε)` of each row: `[rows]`.
    pub(super) factors: CubeTensor<R>,
}

impl RowsOp {
    /// The forward pass, to 8-bit codes in a type that holds them, or to values.
    ///
    /// # Shapes
    /// - `x`: `[..., width]`, or with a gate `[..., 2 · width]`
    /// - `gains`: `width` of them
    pub(super) fn forward<R: CubeRuntime>(
        self,
        x: &CubeTensor<R>,
        gains: Option<&CubeTensor<R>>,
        quantize: bool,
        dtype: DType,
    ) -> Encoded<R> {
        let [rows, row] = as_matrix(x);
        let width = row / self.gate.halves();
        let encoded = Encoded {
            rows: empty(x, [rows, width], dtype),
            inverse: empty(x, [rows], DType::F32),
            factors: empty(x, [rows], DType::F32),
        };
        let lanes = lanes(width);
        let units = units(width / lanes);
        let launch = match dtype {
            DType::BF16 => encode_rows::launch_unchecked::<half::bf16, R>,
            _ => encode_rows::launch_unchecked::<f32, R>,
        };
        // SAFETY: all arrays have the sizes that the kernel derives from `rows` and `width`.
        unsafe {
            launch(
                &x.client,
                cubes(rows),
                CubeDim::new_1d(units),
                lanes,
                elements(x),
                elements(gains.unwrap_or(x)),
                elements(&encoded.rows),
                elements(&encoded.inverse),
                elements(&encoded.factors),
                rows,
                width / lanes,
                self.norm.unwrap_or_default(),
                SCALE_EPS as f32,
                self.gate,
                self.norm.is_some(),
                quantize,
                units as usize,
            );
        }
        encoded
    }

    /// The backward pass, from the gradient of what the forward pass returns. Returns the gradient
    /// of the rows, and that of the gains if there are any.
    ///
    /// # Shapes
    /// - `grad`: `[rows, width]`
    /// - `x`, `gains`: as in the forward pass
    pub(super) fn backward<R: CubeRuntime>(
        self,
        grad: &CubeTensor<R>,
        x: &CubeTensor<R>,
        gains: Option<&CubeTensor<R>>,
        factors: &CubeTensor<R>,
    ) -> (CubeTensor<R>, Option<CubeTensor<R>>) {
        let [rows, row] = as_matrix(x);
        let width = row / self.gate.halves();
        if self.norm.is_none() && self.gate == CubeGate::None {
            return (grad.clone(), None);
        }
        let dx = empty(x, x.meta.shape().clone(), DType::F32);
        let lanes = lanes(width);
        let units = units(width / lanes);
        let rows_of_cube = rows.div_ceil(CUBES_PER_BACKWARD).max(1);
        let count = rows.div_ceil(rows_of_cube);
        let partial = empty(x, [count, width], DType::F32);
        let room = x.client.properties().hardware.max_shared_memory_size;
        let in_shared = (width + units as usize) * size_of::<f32>() <= room;
        // SAFETY: all arrays have the sizes that the kernel derives from `rows` and `width`.
        unsafe {
            pull_rows_back::launch_unchecked::<R>(
                &x.client,
                cubes(count),
                CubeDim::new_1d(units),
                lanes,
                elements(grad),
                elements(x),
                elements(gains.unwrap_or(grad)),
                elements(factors),
                elements(&dx),
                elements(&partial),
                rows,
                rows_of_cube,
                width / lanes,
                self.gate,
                self.norm.is_some(),
                in_shared,
                units as usize,
            );
        }
        (dx, gains.map(|_| sum_rows(&partial)))
    }
}

#[cube(launch_unchecked)]
fn encode_rows<C: Numeric, N: Size>(
    x: &Array<Vector<f32, N>>,
    gains: &Array<Vector<f32, N>>,
    out: &mut Array<Vector<C, N>>,
    inverse: &mut Array<f32>,
    factors: &mut Array<f32>,
    rows: usize,
    width: usize,
    eps: f32,
    lowest: f32,
    #[comptime] gate: CubeGate,
    #[comptime] norm: bool,
    #[comptime] quantize: bool,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let first = row * width * comptime!(gate.halves());

    let mut squares = Vector::<f32, N>::new(0.0f32);
    let mut highest = Vector::<f32, N>::new(0.0f32);
    let mut i = unit;
    while i < width {
        let h = after_gate::<N>(x, first, i, width, gate);
        squares += h * h;
        if comptime!(quantize) {
            if comptime!(norm) {
                highest = max(highest, (h * gains[i]).abs());
            } else {
                highest = max(highest, h.abs());
            }
        }
        i += units;
    }
    let squares = cube_sum(sum_of::<N>(squares), units);
    let mut factor = 1.0f32;
    if comptime!(norm) {
        let count = f32::cast_from(width * N::value());
        factor = 1.0f32 / (squares / count + eps).sqrt();
    }
    let mut scale = 1.0f32;
    if comptime!(quantize) {
        let highest = cube_max(max_of::<N>(highest, 0.0f32), units);
        let magnitude = max(highest * factor, lowest);
        // What is infinite or not a number becomes a scale that is none: codes would not show it.
        scale = 1.0f32 / magnitude * 127.0f32 + squares * 0.0f32;
    }
    if unit == 0 {
        factors[row] = factor;
        inverse[row] = 1.0f32 / scale;
    }

    let to = row * width;
    let mut i = unit;
    while i < width {
        let h = after_gate::<N>(x, first, i, width, gate);
        let mut y = h;
        if comptime!(norm) {
            y = h * Vector::new(factor) * gains[i];
        }
        if comptime!(quantize) {
            let code = (y * Vector::new(scale)).round();
            y = clamp(code, Vector::new(-128.0f32), Vector::new(127.0f32));
        }
        out[to + i] = Vector::<C, N>::cast_from(y);
        i += units;
    }
}

#[cube(launch_unchecked)]
fn pull_rows_back<N: Size>(
    grad: &Array<Vector<f32, N>>,
    x: &Array<Vector<f32, N>>,
    gains: &Array<Vector<f32, N>>,
    factors: &Array<f32>,
    dx: &mut Array<Vector<f32, N>>,
    partial: &mut Array<Vector<f32, N>>,
    rows: usize,
    rows_of_cube: usize,
    #[comptime] width: usize,
    #[comptime] gate: CubeGate,
    #[comptime] norm: bool,
    #[comptime] in_shared: bool,
    #[comptime] units: usize,
) {
    let cube = CUBE_POS as usize;
    if cube * rows_of_cube >= rows {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    // A unit has columns of its own, whose sums no other touches.
    let room = comptime!(if norm && in_shared { width } else { 1 });
    let mut for_gains = SharedMemory::<Vector<f32, N>>::new(room);
    if comptime!(norm) {
        let mut i = unit;
        while i < width {
            if comptime!(in_shared) {
                for_gains[i] = Vector::new(0.0f32);
            } else {
                partial[cube * width + i] = Vector::new(0.0f32);
            }
            i += units;
        }
    }
    let count = f32::cast_from(width * N::value());
    let begin = cube * rows_of_cube;
    let end = min(begin + rows_of_cube, rows);
    for row in begin..end {
        let first = row * width * comptime!(gate.halves());
        let from = row * width;
        if comptime!(norm) {
            let factor = factors[row];
            let mut dot = Vector::<f32, N>::new(0.0f32);
            let mut i = unit;
            while i < width {
                dot += after_gate::<N>(x, first, i, width, gate) * grad[from + i] * gains[i];
                i += units;
            }
            let dot = cube_sum(sum_of::<N>(dot), units);
            let along = dot * factor * factor / count;
            let mut i = unit;
            while i < width {
                let h = after_gate::<N>(x, first, i, width, gate);
                let g = grad[from + i];
                let for_gain = g * h * Vector::new(factor);
                if comptime!(in_shared) {
                    for_gains[i] += for_gain;
                } else {
                    partial[cube * width + i] += for_gain;
                }
                let dh = (g * gains[i] - h * Vector::new(along)) * Vector::new(factor);
                before_gate::<N>(x, dx, first, i, width, dh, gate);
                i += units;
            }
            // Before the sums of the next row use the same memory.
            sync_cube();
        } else {
            let mut i = unit;
            while i < width {
                before_gate::<N>(x, dx, first, i, width, grad[from + i], gate);
                i += units;
            }
        }
    }
    if comptime!(norm && in_shared) {
        let mut i = unit;
        while i < width {
            partial[cube * width + i] = for_gains[i];
            i += units;
        }
    }
}
