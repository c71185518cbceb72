//! Attention in training: from the outputs of the projections of queries, keys and values, side by
//! side, to the input of the output projection.

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{as_matrix, compute, tensor, values};
use crate::{
    cpu::{
        attention::CausalAttention,
        column_blocks::{ColumnBlock, column_blocks},
        norm,
        parallel::{par_map, sum_rows},
        rope::rotate,
        uninit::zeros,
    },
    ops::{
        arguments::SelfAttention,
        autodiff::{DifferentiableOp, primitive},
    },
    precision::Precision,
};

/// Norm of each head of queries and keys, if there is one, rotation, and causal attention. Each
/// head is brought together, computed and written back where it belongs.
#[derive(Debug, Clone)]
struct FusedAttention {
    /// Length of a sequence.
    seq: usize,
    /// Heads of queries, and of keys and values.
    heads: [usize; 2],
    /// Width of a head.
    dim: usize,
    /// The ε of the norms.
    norm: Option<f64>,
    /// Whether operands of products are rounded to bf16, where the processor has such products.
    bf16: bool,
}

/// The attention of whole sequences.
///
/// # Shapes
/// - `qkv`: `[batch · seq, (heads + 2 · kv_heads) · dim]`
/// - `angles`: cosines and sines, which get no gradient, `[seq, dim]`
/// - output: `[batch · seq, heads · dim]`
pub(in crate::ops) fn self_attention<B: Backend>(
    attention: SelfAttention<B>,
    qkv: Tensor<B, 2>,
    seq: usize,
    [cos, sin]: [Tensor<B, 2>; 2],
) -> Tensor<B, 2> {
    let SelfAttention { heads, kv_heads, dim, norms, precision } = attention;
    let op = |norm| FusedAttention {
        seq,
        heads: [heads, kv_heads],
        dim,
        norm,
        bf16: precision == Precision::Bf16,
    };
    match norms {
        Some([of_q, of_k]) => {
            let op = op(Some(of_q.eps));
            let gains = [of_q, of_k].map(|norm| norm.gains.unsqueeze());
            let [of_q, of_k] = gains;
            compute::<B, _, 5, 2>(op, [qkv, cos, sin, of_q, of_k].map(primitive))
        }
        None => compute::<B, _, 3, 2>(op(None), [qkv, cos, sin].map(primitive)),
    }
}

impl FusedAttention {
    /// Columns of the queries of a head of keys.
    fn group(&self) -> usize {
        self.heads[0] / self.heads[1] * self.dim
    }

    /// Columns of queries, keys and values, head of keys by head of keys.
    fn widths(&self) -> Vec<usize> {
        let of_keys = self.heads[1];
        let queries = std::iter::repeat_n(self.group(), of_keys);
        queries.chain(std::iter::repeat_n(self.dim, 2 * of_keys)).collect()
    }

    /// Cosines and sines for queries: those of keys by √dim, as scores are divided.
    fn scaled(&self, angles: &FlexTensor) -> Vec<f32> {
        let factor = (self.dim as f64).sqrt().recip() as f32;
        values(angles).iter().map(|x| x * factor).collect()
    }
}

#[derive(Debug, Clone)]
struct Saved {
    inputs: Vec<FlexTensor>,
    /// Logarithm of the sum of a query's exponentials, `[batch, kv_heads, group · seq]`.
    log_sums: Vec<f32>,
}

/// The inputs of one head of keys.
struct Head<'a> {
    kernel: &'a FusedAttention,
    /// Rows of a sequence.
    qkv: &'a [f32],
    /// Cosines and sines, for queries and for keys.
    angles: [[&'a [f32]; 2]; 2],
    gains: [Option<&'a [f32]>; 2],
    /// Number of the head.
    head: usize,
}

/// What attention takes: queries `[group, seq, dim]`, keys and values `[seq, dim]`.
type Operands = [Vec<f32>; 3];

/// Rows before the norm of queries or of keys, and the factor of each.
type NormRows = Option<[Vec<f32>; 2]>;

impl<const N: usize> DifferentiableOp<Flex, N> for FusedAttention {
    type Saved = Saved;

    fn forward(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Saved) {
        let (rows, _) = as_matrix(&inputs[0]);
        let columns = self.heads[0] * self.dim;
        let mut out = zeros(rows * columns);
        let queries = self.group() / self.dim * self.seq;
        let mut log_sums = vec![0.0; rows * self.heads[0]];
        let blocks = column_blocks(&mut out, self.seq, &vec![self.group(); self.heads[1]]);
        let work = blocks.into_iter().flatten().zip(log_sums.chunks_mut(queries)).collect();
        let scaled = [1, 2].map(|i| self.scaled(&inputs[i]));
        let heads = self.all(&inputs, &scaled);
        par_map(rows * columns, work, |index, (mut to, log_sums)| {
            let head = heads(index);
            let ([q, k, v], _) = head.operands();
            let mut attended = vec![0.0; q.len()];
            self.core().forward([&q, &k, &v], &mut attended, log_sums);
            head.scatter(&attended, &mut to);
        });
        drop(heads);
        (tensor(out, [rows, columns]), Saved { inputs: inputs.into(), log_sums })
    }

    fn backward(
        &self,
        Saved { inputs, log_sums }: Saved,
        grad: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N] {
        let (rows, _) = as_matrix(&inputs[0]);
        let columns = self.heads[0] * self.dim;
        let kv_heads = self.heads[1];
        let queries = self.group() / self.dim * self.seq;
        let mut dx = zeros(values(&inputs[0]).len());
        let mut work = Vec::new();
        for blocks in column_blocks(&mut dx, self.seq, &self.widths()) {
            let mut blocks = blocks.into_iter();
            let [q, k]: [Vec<_>; 2] = [(); 2].map(|()| blocks.by_ref().take(kv_heads).collect());
            work.extend(q.into_iter().zip(k).zip(blocks).map(|((q, k), v)| [q, k, v]));
        }
        let grad = values(&grad);
        let scaled = [1, 2].map(|i| self.scaled(&inputs[i]));
        let heads = self.all(&inputs, &scaled);
        let partial = par_map(rows * columns, work, |index, to| {
            let head = heads(index);
            let (operands, norm_rows) = head.operands();
            let [q, k, v] = &operands;
            let grad = &grad[index / kv_heads * self.seq * columns..][..self.seq * columns];
            let grad = head.gather(grad, columns, head.head * self.group(), self.group());
            let log_sums = &log_sums[index * queries..][..queries];
            let mut gradients = operands.each_ref().map(|operand| vec![0.0; operand.len()]);
            let all = gradients.each_mut().map(Vec::as_mut_slice);
            self.core().backward([q, k, v], &grad, log_sums, all);
            head.scatter_gradients(gradients, norm_rows, to)
        });
        drop(heads);
        let mut all = vec![Some(tensor(dx, inputs[0].layout().shape().clone())), None, None];
        for (i, like) in inputs[3..].iter().enumerate() {
            let gains = partial.iter().map(|gains: &[Vec<f32>; 2]| gains[i].clone()).collect();
            all.push(Some(tensor(sum_rows(gains, self.dim), like.layout().shape().clone())));
        }
        let mut all = all.into_iter().zip(wanted).map(|(grad, wanted)| grad.filter(|_| wanted));
        std::array::from_fn(|_| all.next().flatten())
    }
}

impl FusedAttention {
    fn core(&self) -> CausalAttention {
        CausalAttention { seq: self.seq, start: 0, dim: self.dim, bf16: self.bf16 }
    }

    /// The heads of keys of all sequences, by their number.
    fn all<'a>(
        &'a self,
        inputs: &'a [FlexTensor],
        scaled: &'a [Vec<f32>; 2],
    ) -> impl Fn(usize) -> Head<'a> + Sync {
        let (rows, width) = as_matrix(&inputs[0]);
        debug_assert_eq!(rows % self.seq, 0);
        let size = self.seq * width;
        let qkv = values(&inputs[0]);
        let angles = [[&scaled[0][..], &scaled[1]], [values(&inputs[1]), values(&inputs[2])]];
        let gains = [inputs.get(3).map(values), inputs.get(4).map(values)];
        move |index| {
            let (sequence, head) = (index / self.heads[1], index % self.heads[1]);
            let qkv = &qkv[sequence * size..][..size];
            Head { kernel: self, qkv, angles, gains, head }
        }
    }
}

impl Head<'_> {
    /// First columns of queries, keys and values.
    fn columns(&self) -> [usize; 3] {
        let FusedAttention { heads: [of_queries, of_keys], dim, .. } = *self.kernel;
        let keys = (of_queries + self.head) * dim;
        [self.head * self.kernel.group(), keys, keys + of_keys * dim]
    }

    /// Some columns of a matrix, head by head: `[width / dim, seq, dim]`.
    fn gather(&self, from: &[f32], stride: usize, first: usize, width: usize) -> Vec<f32> {
        let FusedAttention { seq, dim, .. } = *self.kernel;
        let mut to = vec![0.0; seq * width];
        let heads = to.chunks_exact_mut(seq * dim).zip((first..).step_by(dim));
        for (head, column) in heads {
            for (to, row) in head.chunks_exact_mut(dim).zip(from.chunks_exact(stride)) {
                to.copy_from_slice(&row[column..column + dim]);
            }
        }
        to
    }

    /// Queries, scaled, keys and values as attention takes them, and the rows before their norms.
    fn operands(&self) -> (Operands, [NormRows; 2]) {
        let FusedAttention { seq, dim, .. } = *self.kernel;
        let stride = self.qkv.len() / seq;
        let columns = self.columns();
        let rotated = |operand: usize, width: usize| {
            let x = self.gather(self.qkv, stride, columns[operand], width);
            let mut to = vec![0.0; x.len()];
            match self.gains[operand] {
                Some(gains) => {
                    let eps = self.kernel.norm.unwrap_or_default() as f32;
                    let mut normed = vec![0.0; x.len()];
                    let mut factors = vec![0.0; x.len() / dim];
                    norm::normalize(&x, gains, eps, &mut normed, &mut factors);
                    self.rotate(operand, &normed, 1.0, &mut to);
                    (to, Some([x, factors]))
                }
                None => {
                    self.rotate(operand, &x, 1.0, &mut to);
                    (to, None)
                }
            }
        };
        let [(q, of_q), (k, of_k)] = [rotated(0, self.kernel.group()), rotated(1, dim)];
        let v = self.gather(self.qkv, stride, columns[2], dim);
        ([q, k, v], [of_q, of_k])
    }

    /// Rotates heads of queries or keys by the angles of their positions, or back.
    fn rotate(&self, operand: usize, heads: &[f32], sign: f32, to: &mut [f32]) {
        let FusedAttention { seq, dim, .. } = *self.kernel;
        let heads = heads.chunks_exact(seq * dim).zip(to.chunks_exact_mut(seq * dim));
        heads.for_each(|(head, to)| rotate(head, self.angles[operand], dim, sign, to));
    }

    /// Writes heads side by side.
    fn scatter(&self, heads: &[f32], to: &mut ColumnBlock<'_>) {
        let FusedAttention { seq, dim, .. } = *self.kernel;
        for (i, row) in heads.chunks_exact(dim).enumerate() {
            let (head, position) = (i / seq, i % seq);
            to.row(position)[head * dim..][..dim].copy_from_slice(row);
        }
    }

    /// The backward pass from the operands to the outputs of the projections, whose gradients are
    /// written. Returns those of the gains of queries and keys.
    fn scatter_gradients(
        &self,
        [q, k, v]: Operands,
        norm_rows: [NormRows; 2],
        [to_q, to_k, mut to_v]: [ColumnBlock<'_>; 3],
    ) -> [Vec<f32>; 2] {
        let dim = self.kernel.dim;
        let mut for_gains = [vec![0.0; dim], vec![0.0; dim]];
        let of_both = [q, k].into_iter().zip(norm_rows).zip([to_q, to_k]);
        for (operand, ((grad, norm_rows), mut to)) in of_both.enumerate() {
            let mut back = vec![0.0; grad.len()];
            self.rotate(operand, &grad, -1.0, &mut back);
            if let Some(([x, factors], gains)) = norm_rows.as_ref().zip(self.gains[operand]) {
                norm::backward(x, gains, factors, &mut back, &mut for_gains[operand]);
            }
            self.scatter(&back, &mut to);
        }
        self.scatter(&v, &mut to_v);
        for_gains
    }
}
