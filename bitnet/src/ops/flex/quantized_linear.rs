//! Quantised linears of one input: with the norm and the gate before them, and the sum after them.

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::{
    tensor::{as_matrix, compute, tensor, values},
    weights::Weights,
};
use crate::{
    cpu::{
        encode::{EncodedRows, RowEncoder},
        gate::Gate,
        gemm::{
            blocked,
            int8::{self, CodeRows, Codes},
            operands::{self, ROWS_PER_BAND, Rows, VALUES_PER_BLOCK},
            range,
            tile::COLUMNS_PER_PANEL,
            word::Word,
        },
        isa::{self, ShortOperands},
        parallel::{par_map, sum_rows},
        uninit::Uninit,
    },
    ops::{
        Columns,
        arguments::{LinearInput, WeightQuantizer},
        autodiff::{DifferentiableOp, primitive},
    },
    precision::Precision,
};

/// Rows of a block of operands, which are one piece of work of the backward pass.
const ROWS_PER_TASK: usize = VALUES_PER_BLOCK;

/// The operation, with its product in integers.
#[derive(Debug, Clone)]
struct QuantizedLinear {
    /// How weights are coded.
    quantizer: WeightQuantizer,
    /// Whether `dy` is rounded for the products of the backward pass, to what the processor
    /// multiplies fastest: to bf16, or to whole numbers of 16 bits by a scale for each token (for
    /// the gradient of the input) or output (for that of the weight). Codes are exact in both.
    short_gradients: bool,
    /// With a gate, rows hold its input in their first half and the up projection in their second.
    gate: Option<Gate>,
    /// The ε of an RMSNorm.
    norm: Option<f64>,
    /// Whether a residual is added.
    residual: bool,
}

/// The outputs of layers of one input, side by side.
pub(in crate::ops) fn quantized_linear<B: Backend>(
    quantizer: WeightQuantizer,
    precision: Precision,
    input: LinearInput<B>,
    weights: Vec<Tensor<B, 2>>,
) -> Columns<B> {
    let widths: Vec<usize> = weights.iter().map(|weight| weight.dims()[1]).collect();
    let are_panels = widths[..widths.len() - 1].iter().all(|width| width % COLUMNS_PER_PANEL == 0);
    let is_side_by_side = input.gate.is_none() || matches!(input.x, Columns::Joined(..));
    if !are_panels || !is_side_by_side {
        let (x, residual) = input.prepare();
        let input = LinearInput { residual, ..LinearInput::new(x) };
        if are_panels {
            return quantized_linear(quantizer, precision, input, weights);
        }
        let alone = |weight| quantized_linear(quantizer, precision, input.clone(), vec![weight]);
        return Columns::Apart(weights.into_iter().map(|weight| alone(weight).joined()).collect());
    }
    let LinearInput { x, gate, norm, residual } = input;
    let op = QuantizedLinear {
        quantizer,
        short_gradients: precision == Precision::Bf16,
        gate,
        norm: norm.as_ref().map(|norm| norm.eps),
        residual: residual.is_some(),
    };
    let mut inputs = vec![x.joined()];
    inputs.extend(norm.map(|norm| norm.gains.unsqueeze()));
    inputs.extend(residual);
    inputs.extend(weights);
    let y = match inputs.len() {
        2 => op.record::<B, 2>(inputs),
        3 => op.record::<B, 3>(inputs),
        4 => op.record::<B, 4>(inputs),
        5 => op.record::<B, 5>(inputs),
        6 => op.record::<B, 6>(inputs),
        count => unreachable!("{count} inputs: there are at most three layers of one input"),
    };
    Columns::Joined(y, widths)
}

impl QuantizedLinear {
    /// # Shapes
    /// - `inputs`, `N` of them in this order:
    ///   - `x`: `[tokens, d_input]`, or with a gate `[tokens, 2 · d_input]`
    ///   - `gains`, if there is a norm: `[1, d_input]`
    ///   - `residual`, if there is one: `[tokens, outputs of all weights]`
    ///   - latent weights: `[d_input, outputs]`; outputs of all but the last are a multiple of 16
    /// - output: `[tokens, outputs of all weights]`
    fn record<B: Backend, const N: usize>(self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let inputs: [_; N] = inputs.try_into().expect("they have been counted");
        compute::<B, _, N, 2>(self, inputs.map(primitive))
    }

    fn encoder<'a>(&self, d_input: usize, gains: Option<&'a FlexTensor>) -> RowEncoder<'a> {
        let norm = gains.zip(self.norm).map(|(gains, eps)| (values(gains), eps as f32));
        RowEncoder { gate: self.gate, norm, width: d_input }
    }
}

#[derive(Debug, Clone)]
struct Saved {
    x: FlexTensor,
    gains: Option<FlexTensor>,
    weights: Weights,
    codes: Codes,
    factors: Vec<f32>,
}

impl<const N: usize> DifferentiableOp<Flex, N> for QuantizedLinear {
    type Saved = Saved;

    fn forward(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Saved) {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("as many inputs as there must be");
        let x = next();
        let gains = self.norm.map(|_| next());
        let residual = self.residual.then(&mut next);
        let weights = Weights::new(self.quantizer, inputs);

        let d_input = weights.d_input;
        let encoder = self.encoder(d_input, gains.as_ref());
        let (rows, _) = as_matrix(&x);
        let columns: usize = weights.widths().iter().sum();
        let panels = weights.pack();
        let mut codes = Codes::new(rows, d_input);
        let mut factors = vec![0.0; if gains.is_some() { rows } else { 0 }];
        let mut y = Uninit::new(rows * columns);

        let mut to = codes.codes.chunks_mut((ROWS_PER_BAND * codes.stride).max(1));
        let mut scales = codes.scales.chunks_mut(ROWS_PER_BAND);
        let mut sums = codes.sums.chunks_mut(ROWS_PER_BAND);
        let mut of_norm = factors.chunks_mut(ROWS_PER_BAND);
        let mut outputs = y.chunks(ROWS_PER_BAND * columns);
        let pieces = values(&x).chunks((ROWS_PER_BAND * encoder.row()).max(1)).map(|x| {
            let encoded = EncodedRows {
                codes: to.next().unwrap_or_default(),
                scales: scales.next().unwrap_or_default(),
                sums: sums.next().unwrap_or_default(),
                factors: of_norm.next().unwrap_or_default(),
            };
            (x, encoded, outputs.next())
        });
        let added = residual.as_ref().map(values);
        par_map(rows * columns, pieces.collect(), |piece, (x, mut encoded, y)| {
            encoder.encode(x, encoded.reborrow());
            let Some(y) = y else { return };
            let EncodedRows { codes, scales, sums, .. } = encoded;
            let lines = CodeRows { codes, scales, sums };
            let added = added.map(|added| &added[piece * ROWS_PER_BAND * columns..][..y.len()]);
            int8::product(lines, &panels, added, y);
        });
        drop(outputs);
        (tensor(y.finish(), [rows, columns]), Saved { x, gains, weights, codes, factors })
    }

    fn backward(
        &self,
        saved: Saved,
        grad: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N] {
        let before = 1 + usize::from(self.norm.is_some());
        let first_weight = before + usize::from(self.residual);
        let for_x = wanted[..before].contains(&true);
        let for_weights = wanted[first_weight..].contains(&true);
        let gradients = match isa::short_operands().filter(|_| self.short_gradients) {
            Some(ShortOperands::Bf16) => self.gradients::<u32>(&saved, &grad, for_x, for_weights),
            Some(ShortOperands::Int16) => self.gradients::<i32>(&saved, &grad, for_x, for_weights),
            None => self.gradients::<f32>(&saved, &grad, for_x, for_weights),
        };
        let Gradients { x, gains, weights } = gradients;
        let mut all = vec![x];
        if let Some(like) = saved.gains {
            all.push(gains.map(|gains| tensor(gains, like.layout().shape().clone())));
        }
        if self.residual {
            all.push(Some(grad));
        }
        all.extend(weights);
        all.resize(N, None);
        let mut all = all.into_iter().zip(wanted).map(|(grad, wanted)| grad.filter(|_| wanted));
        std::array::from_fn(|_| all.next().flatten())
    }
}

/// Those that are wanted.
struct Gradients {
    x: Option<FlexTensor>,
    gains: Option<Vec<f32>>,
    weights: Vec<Option<FlexTensor>>,
}

impl QuantizedLinear {
    /// Those of the input and of the weights, by products of such words.
    fn gradients<W: Word>(
        &self,
        saved: &Saved,
        grad: &FlexTensor,
        for_x: bool,
        for_weights: bool,
    ) -> Gradients {
        let Saved { x, gains, weights, codes, factors } = saved;
        let d_input = weights.d_input;
        let encoder = self.encoder(d_input, gains.as_ref());
        let (rows, columns) = as_matrix(grad);
        let segments = weights.segments();
        let transposed = for_x.then(|| weights.transposed::<W>());
        let kept = if for_weights { rows } else { 0 };
        let (mut left, left_size) = operands::Columns::<W>::room(kept, d_input);
        let (mut right, right_size) = operands::Panels::<W>::room(kept, columns);
        let mut dx = Uninit::new(if for_x { rows * encoder.row() } else { 0 });
        let largest = W::LARGEST.filter(|_| for_weights);
        let (factors_of_columns, scales_of_columns) =
            range::of_columns(largest, values(grad), &codes.scales, columns);

        let mut operands = left.chunks(left_size).zip(right.chunks(right_size));
        let mut dxs = dx.chunks(ROWS_PER_BAND * encoder.row());
        let pieces: Vec<_> = values(grad)
            .chunks((ROWS_PER_TASK * columns).max(1))
            .map(|grad| {
                let dxs: Vec<_> = dxs.by_ref().take(ROWS_PER_TASK / ROWS_PER_BAND).collect();
                (grad, dxs, operands.next())
            })
            .collect();
        drop((operands, dxs));
        let stride = codes.stride;
        let work = rows * (columns + encoder.row());
        let partial = par_map(work, pieces, |piece, (grad, dxs, operands)| {
            let first = piece * ROWS_PER_TASK;
            let mut right = operands.map(|(left, right)| {
                let last = first + grad.len() / columns;
                let codes = &codes.codes[first * stride..last * stride];
                W::transpose_codes(codes, stride, d_input, left.zeroed());
                right.zeroed()
            });
            let mut for_gains = vec![0.0; if gains.is_some() { d_input } else { 0 }];
            let mut operand = Rows::<W>::default();
            let mut after_gate =
                Uninit::new(if self.gate.is_some() { ROWS_PER_BAND * d_input } else { 0 });
            let mut dxs = dxs.into_iter();
            for (band, grad) in grad.chunks(ROWS_PER_BAND * columns).enumerate() {
                let rows = grad.len() / columns;
                let first = first + band * ROWS_PER_BAND;
                if let Some(right) = &mut right {
                    let scales = &codes.scales[first..first + rows];
                    let first = band * ROWS_PER_BAND / W::VALUES;
                    W::fill_panels(grad, scales, &factors_of_columns, first, right);
                }
                if let Some((transposed, dx)) = transposed.as_ref().zip(dxs.next()) {
                    operand.fill(grad, &segments);
                    let x = &values(x)[first * encoder.row()..][..rows * encoder.row()];
                    let factors = factors.get(first..).unwrap_or_default();
                    let mut after = after_gate.chunks(rows * d_input);
                    match self.gate.zip(after.next()) {
                        Some((gate, after)) => {
                            let grad = blocked::product(&operand, transposed, after);
                            encoder.norm_backward(x, factors, grad, &mut for_gains);
                            encoder.gate_backward(gate, x, grad, dx);
                        }
                        None => {
                            let dx = blocked::product(&operand, transposed, dx);
                            encoder.norm_backward(x, factors, dx, &mut for_gains);
                        }
                    }
                }
            }
            for_gains
        });
        let left = operands::Columns::new(left, kept, d_input);
        let right = operands::Panels::new(right, kept, columns, scales_of_columns);
        let weights = match for_weights {
            true => blocked::transposed_product(&left, &right, &weights.widths())
                .into_iter()
                .zip(weights.widths())
                .map(|(dw, width)| Some(tensor(dw, [d_input, width])))
                .collect(),
            false => Vec::new(),
        };
        Gradients {
            x: for_x.then(|| tensor(dx.finish(), [rows, encoder.row()])),
            gains: (for_x && gains.is_some()).then(|| sum_rows(partial, d_input)),
            weights,
        }
    }
}
