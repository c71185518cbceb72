//! Codes of weights with one scale each, side by side.

use burn::tensor::{DType, ops::FloatTensorOps};
use burn_cubecl::{BoolElement, CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    tensors::{Cube, as_matrix, cubes, elements, empty, lanes, len, reshaped},
    units::{cube_sum, sum_of},
};
use crate::{cpu::absmax::SCALE_EPS, ops::autodiff::DifferentiableOp};

/// Partial sums of a weight, and units of the cubes that add them up.
const PARTIAL_SUMS: usize = 256;

/// The weight quantisers that have kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CubeQuantizer {
    /// [`ternary_absmean`](crate::quant::ternary_absmean)
    Ternary,
    /// [`binary_absmean`](crate::quant::binary_absmean)
    Binary,
}

/// Codes of weights of the same inputs.
#[derive(Debug, Clone)]
pub(super) struct Codes<R: CubeRuntime> {
    /// `[d_input, outputs of all]`
    pub(super) codes: CubeTensor<R>,
    /// What codes are multiplied by to be weights: `[outputs of all]`.
    pub(super) scales: CubeTensor<R>,
}

/// Quantises weights `[d_input, outputs]`, to codes in a type that holds them.
pub(super) fn encode<R: CubeRuntime>(
    weights: &[CubeTensor<R>],
    coding: CubeQuantizer,
    dtype: DType,
) -> Codes<R> {
    let [d_input, _] = as_matrix(&weights[0]);
    let outputs: usize = weights.iter().map(|weight| as_matrix(weight)[1]).sum();
    let all = Codes {
        codes: empty(&weights[0], [d_input, outputs], dtype),
        scales: empty(&weights[0], [outputs], DType::F32),
    };
    let mut column = 0;
    // One number of lanes for all, so that every weight begins at a whole vector.
    let lanes = if weights.iter().all(|w| lanes(as_matrix(w)[1]) == 4) { 4 } else { 1 };
    for weight in weights {
        let [_, width] = as_matrix(weight);
        let parts = sums(weight, lanes, coding == CubeQuantizer::Binary);
        let vectors = len(weight) / lanes;
        let launch = match dtype {
            DType::BF16 => encode_weight::launch_unchecked::<half::bf16, R>,
            _ => encode_weight::launch_unchecked::<f32, R>,
        };
        // SAFETY: the kernel writes `vectors` vectors of codes, in rows of `outputs`, and the
        // scales of the columns of this weight.
        unsafe {
            launch(
                &weight.client,
                cubes(vectors.div_ceil(4 * PARTIAL_SUMS).max(1)),
                CubeDim::new_1d(PARTIAL_SUMS as u32),
                lanes,
                elements(weight),
                elements(&parts),
                elements(&all.codes),
                elements(&all.scales),
                vectors,
                width / lanes,
                outputs / lanes,
                column,
                SCALE_EPS as f32,
                coding,
                PARTIAL_SUMS,
            );
        }
        column += width;
    }
    all
}

/// Sums of magnitudes, in parts, and after those the sums of the elements if they are `signed`.
fn sums<R: CubeRuntime>(tensor: &CubeTensor<R>, lanes: usize, signed: bool) -> CubeTensor<R> {
    let parts = empty(tensor, [2 * PARTIAL_SUMS], DType::F32);
    // SAFETY: the kernel reads the vectors of the tensor, and writes a number of each cube.
    unsafe {
        add_magnitudes::launch_unchecked::<R>(
            &tensor.client,
            cubes(PARTIAL_SUMS),
            CubeDim::new_1d(PARTIAL_SUMS as u32),
            lanes,
            elements(tensor),
            elements(&parts),
            len(tensor) / lanes,
            signed,
            PARTIAL_SUMS,
        );
    }
    parts
}

/// `mean|w|` of all elements, added up as in [`encode`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeanMagnitude;

impl<R: CubeRuntime, BT: BoolElement> DifferentiableOp<Cube<R, BT>, 1> for MeanMagnitude {
    type Saved = CubeTensor<R>;

    fn forward(&self, [x]: [CubeTensor<R>; 1]) -> (CubeTensor<R>, CubeTensor<R>) {
        let ones = vec![1; x.meta.num_dims()];
        (reshaped(&mean_magnitude(&x), ones), x)
    }

    fn backward(
        &self,
        x: CubeTensor<R>,
        grad: CubeTensor<R>,
        _: [bool; 1],
    ) -> [Option<CubeTensor<R>>; 1] {
        let share = 1.0 / len(&x) as f32;
        let signs = Cube::<R, BT>::float_mul_scalar(Cube::<R, BT>::float_sign(x), share.into());
        [Some(Cube::<R, BT>::float_mul(signs, grad))]
    }
}

/// The same of one tensor, `[1]`.
fn mean_magnitude<R: CubeRuntime>(tensor: &CubeTensor<R>) -> CubeTensor<R> {
    let [_, width] = as_matrix(tensor);
    let parts = sums(tensor, lanes(width), false);
    let mean = empty(tensor, [1], DType::F32);
    // SAFETY: one cube reads the parts, and one unit writes the mean.
    unsafe {
        mean_of_parts::launch_unchecked::<R>(
            &tensor.client,
            cubes(1),
            CubeDim::new_1d(PARTIAL_SUMS as u32),
            elements(&parts),
            elements(&mean),
            len(tensor),
            PARTIAL_SUMS,
        );
    }
    mean
}

#[cube(launch_unchecked)]
fn add_magnitudes<N: Size>(
    from: &Array<Vector<f32, N>>,
    parts: &mut Array<f32>,
    vectors: usize,
    #[comptime] signed: bool,
    #[comptime] units: usize,
) {
    let cube = CUBE_POS as usize;
    let mut magnitudes = Vector::<f32, N>::new(0.0f32);
    let mut sums = Vector::<f32, N>::new(0.0f32);
    let mut i = cube * units + UNIT_POS as usize;
    // As many cubes as units.
    while i < vectors {
        let x = from[i];
        magnitudes += x.abs();
        if comptime!(signed) {
            sums += x;
        }
        i += units * units;
    }
    let total = cube_sum(sum_of::<N>(magnitudes), units);
    if UNIT_POS == 0 {
        parts[cube] = total;
    }
    if comptime!(signed) {
        let total = cube_sum(sum_of::<N>(sums), units);
        if UNIT_POS == 0 {
            parts[units + cube] = total;
        }
    }
}

#[cube(launch_unchecked)]
fn mean_of_parts(
    parts: &Array<f32>,
    mean: &mut Array<f32>,
    count: usize,
    #[comptime] units: usize,
) {
    let total = cube_sum(parts[UNIT_POS as usize], units);
    if UNIT_POS == 0 {
        mean[0] = total / f32::cast_from(count);
    }
}

#[cube(launch_unchecked)]
fn encode_weight<C: Numeric, N: Size>(
    weight: &Array<Vector<f32, N>>,
    parts: &Array<f32>,
    codes: &mut Array<Vector<C, N>>,
    scales: &mut Array<f32>,
    vectors: usize,
    width: usize,
    stride: usize,
    column: usize,
    lowest: f32,
    #[comptime] coding: CubeQuantizer,
    #[comptime] units: usize,
) {
    let unit = UNIT_POS as usize;
    let count = f32::cast_from(vectors * N::value());
    let magnitude = cube_sum(parts[unit], units) / count;
    let mut scale = magnitude;
    let mut factor = 1.0f32;
    let mut center = 0.0f32;
    if comptime!(coding == CubeQuantizer::Ternary) {
        factor = 1.0f32 / max(magnitude, lowest);
        // What is not finite becomes a scale that is none: codes would not show it.
        scale = 1.0f32 / factor + magnitude * 0.0f32;
    } else {
        center = cube_sum(parts[units + unit], units) / count;
    }

    let one = Vector::<f32, N>::new(1.0f32);
    // The compiler for CUDA has no negation of vectors.
    let minus_one = Vector::<f32, N>::new(-1.0f32);
    let each = CUBE_COUNT as usize * units;
    let mut i = CUBE_POS as usize * units + unit;
    while i < vectors {
        let code = if comptime!(coding == CubeQuantizer::Ternary) {
            clamp((weight[i] * Vector::new(factor)).round(), minus_one, one)
        } else {
            // The sign: what is not zero is beyond ±1 after this factor.
            clamp((weight[i] - Vector::new(center)) * Vector::new(1e38f32), minus_one, one)
        };
        let row = i / width;
        codes[row * stride + column / N::value() + i % width] = Vector::<C, N>::cast_from(code);
        i += each;
    }
    if CUBE_POS as usize == 0 {
        let mut i = unit;
        while i < width * N::value() {
            scales[column + i] = scale;
            i += units;
        }
    }
}
