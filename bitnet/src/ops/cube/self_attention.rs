//! Norm of each head of queries and keys, if there is one, rotation, and causal attention.

use burn::tensor::DType;
use burn_cubecl::{BoolElement, CubeRuntime, tensor::CubeTensor};

use super::cuda::{Attended, FlashAttention};
use super::{
    heads::{HeadTables, Heads, Split},
    operand::Operand,
    product::product,
    softmax::{moved, softmax, softmax_backward},
    tensors::{Cube, len, reshaped},
};
use crate::ops::autodiff::DifferentiableOp;

/// Attention over the rows of the projections, as flex computes it, too.
#[derive(Debug, Clone)]
pub(crate) struct SelfAttention {
    /// Length of a sequence.
    pub(crate) seq: usize,
    /// Heads of queries, and of keys and values.
    pub(crate) heads: [usize; 2],
    /// Width of a head.
    pub(crate) dim: usize,
    /// The ε of the norms.
    pub(crate) norm: Option<f64>,
    /// Whether products may be computed in bf16.
    pub(crate) bf16: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Saved<R: CubeRuntime> {
    rows: CubeTensor<R>,
    tables: HeadTables<R>,
    split: Split<R>,
    kept: Kept<R>,
}

/// What the backward pass needs, of either way to compute it.
#[derive(Debug, Clone)]
enum Kept<R: CubeRuntime> {
    /// Softmax of the scores: `[batch · kv_heads, group · seq, seq]`.
    Weights(CubeTensor<R>),
    /// Output and logarithms.
    Attended(Attended<R>),
}

impl<R, BT, const N: usize> DifferentiableOp<Cube<R, BT>, N> for SelfAttention
where
    R: CubeRuntime,
    BT: BoolElement,
{
    type Saved = Saved<R>;

    fn forward(&self, inputs: [CubeTensor<R>; N]) -> (CubeTensor<R>, Saved<R>) {
        self.compute(inputs.into())
    }

    fn backward(
        &self,
        saved: Saved<R>,
        grad: CubeTensor<R>,
        wanted: [bool; N],
    ) -> [Option<CubeTensor<R>>; N] {
        let mut all = self.gradients(saved, grad, &wanted).into_iter();
        std::array::from_fn(|_| all.next().flatten())
    }
}

impl SelfAttention {
    /// # Shapes
    /// - `inputs`, in this order:
    ///   - `qkv`: `[batch · seq, (heads + 2 · kv_heads) · dim]`
    ///   - cosines and sines, which get no gradient: `[seq, dim]`
    ///   - gains of queries and of keys, if there is a norm: `[1, dim]`
    /// - output: `[batch · seq, heads · dim]`
    fn compute<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> (CubeTensor<R>, Saved<R>) {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("as many inputs as there must be");
        let [rows, cos, sin] = [next(), next(), next()];
        let gains = self.norm.map(|_| [next(), next()]);
        let tables = HeadTables { cos, sin, gains };
        let eps = self.norm.unwrap_or_default() as f32;
        let heads = self.all();

        if self.bf16 && FlashAttention(heads).fits(&rows) {
            let split = heads.split(&rows, &tables, eps, DType::BF16);
            let attended = FlashAttention(heads).forward(&split.qkv);
            let out = attended.out.clone();
            return (out, Saved { rows, tables, split, kept: Kept::Attended(attended) });
        }
        let split = heads.split(&rows, &tables, eps, DType::F32);
        let [q, k, v] = self.of_keys(&split);
        let weights = product(&Operand::plain(&q), &Operand::transposed(&k));
        let weights = Self::in_matrices(&weights, self.rows(), self.seq);
        softmax(&weights);
        let attended = product(&Operand::plain(&weights), &Operand::plain(&v));
        let out = moved(&attended, heads, false);
        (out, Saved { rows, tables, split, kept: Kept::Weights(weights) })
    }

    /// Gradients of the inputs that are `wanted`.
    fn gradients<R: CubeRuntime>(
        &self,
        saved: Saved<R>,
        grad: CubeTensor<R>,
        wanted: &[bool],
    ) -> Vec<Option<CubeTensor<R>>> {
        let Saved { rows, tables, split, kept } = saved;
        let heads = self.all();
        let grads = match kept {
            Kept::Attended(attended) => {
                FlashAttention(heads).backward(&split.qkv, &attended, &grad)
            }
            Kept::Weights(weights) => self.through_weights(&split, &weights, &grad),
        };
        let (dx, for_gains) = heads.join(&grads, &rows, &tables, &split.factors);
        let mut all = vec![None; wanted.len()];
        all[0] = Some(dx);
        if let Some((both, gains)) = for_gains.zip(tables.gains) {
            let dim = self.dim;
            let both = reshaped(&both, [2, dim]);
            for (i, gains) in gains.iter().enumerate() {
                let grad = burn_cubecl::kernel::slice(both.clone(), &[i..i + 1, 0..dim]);
                all[3 + i] = Some(reshaped(
                    &burn_cubecl::kernel::into_contiguous(grad),
                    gains.meta.shape().clone(),
                ));
            }
        }
        for (grad, wanted) in all.iter_mut().zip(wanted) {
            *grad = grad.take().filter(|_| *wanted);
        }
        all
    }

    /// The backward pass over scores in memory.
    fn through_weights<R: CubeRuntime>(
        &self,
        split: &Split<R>,
        weights: &CubeTensor<R>,
        grad: &CubeTensor<R>,
    ) -> [CubeTensor<R>; 3] {
        let [q, k, v] = self.of_keys(split);
        let grad = moved(grad, self.all(), true);
        let grad = Self::in_matrices(&grad, self.rows(), self.dim);
        let dv = product(&Operand::transposed(weights), &Operand::plain(&grad));
        let ds = product(&Operand::plain(&grad), &Operand::transposed(&v));
        let ds = Self::in_matrices(&ds, self.rows(), self.seq);
        softmax_backward(weights, &ds);
        let dq = product(&Operand::plain(&ds), &Operand::plain(&k));
        let dk = product(&Operand::transposed(&ds), &Operand::plain(&q));
        [dq, dk, dv]
    }

    fn all(&self) -> Heads {
        let Self { seq, heads: [queries, keys], dim, norm, .. } = *self;
        Heads { seq, queries, keys, dim, norm: norm.is_some() }
    }

    /// Heads as matrices, the queries of one head of keys one after the other:
    /// `[batch · kv_heads, rows, dim]`.
    fn of_keys<R: CubeRuntime>(&self, split: &Split<R>) -> [CubeTensor<R>; 3] {
        let [q, k, v] = &split.qkv;
        let keys = |heads| Self::in_matrices(heads, self.seq, self.dim);
        [Self::in_matrices(q, self.rows(), self.dim), keys(k), keys(v)]
    }

    /// Rows of some width, as matrices of so many of them.
    fn in_matrices<R: CubeRuntime>(
        tensor: &CubeTensor<R>,
        rows: usize,
        width: usize,
    ) -> CubeTensor<R> {
        reshaped(tensor, [len(tensor) / (rows * width), rows, width])
    }

    /// Queries of one head of keys.
    fn rows(&self) -> usize {
        self.heads[0] / self.heads[1] * self.seq
    }
}
