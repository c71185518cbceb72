use burn::tensor::DType;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};

use super::{
    super::{heads::Heads, tensors::empty},
    CudaSource,
};

/// Queries, or keys, of a block.
const ROWS_PER_BLOCK: usize = 64;
const THREADS_PER_BLOCK: u32 = 128;

/// Causal attention of bf16 heads without scores in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlashAttention(pub(crate) Heads);

/// What attention makes of its heads.
#[derive(Debug, Clone)]
pub(crate) struct Attended<R: CubeRuntime> {
    /// `[tokens, heads · dim]`
    pub(crate) out: CubeTensor<R>,
    /// Logarithm, to the base of 2, of the sum of a query's exponentials.
    pub(crate) log_sums: CubeTensor<R>,
}

impl FlashAttention {
    /// Whether there are kernels for such heads on this device.
    pub(crate) fn fits<R: CubeRuntime>(self, tensor: &CubeTensor<R>) -> bool {
        super::is_supported(&tensor.client) && matches!(self.0.dim, 32 | 64 | 128)
    }

    /// # Shapes
    /// - `qkv`: `[batch, heads, seq, dim]`, keys and values of `kv_heads`; queries are scaled
    pub(crate) fn forward<R: CubeRuntime>(self, qkv: &[CubeTensor<R>; 3]) -> Attended<R> {
        let Heads { seq, queries, dim, .. } = self.0;
        let [q, k, v] = qkv;
        let tokens = self.tokens(q);
        let out = empty(q, [tokens, queries * dim], DType::F32);
        let log_sums = empty(q, [tokens, queries], DType::F32);
        let blocks = [seq.div_ceil(ROWS_PER_BLOCK), tokens / seq * queries, 1];
        // SAFETY: heads and outputs have the sizes that go with the numbers.
        unsafe {
            self.source(0, "attention_forward", 5).launch(
                blocks,
                Vec::new(),
                &[q, k, v, &out, &log_sums],
                self.numbers(tokens),
            );
        }
        Attended { out, log_sums }
    }

    /// Gradients of queries, keys and values, in f32, from that of the output.
    pub(crate) fn backward<R: CubeRuntime>(
        self,
        qkv: &[CubeTensor<R>; 3],
        attended: &Attended<R>,
        grad: &CubeTensor<R>,
    ) -> [CubeTensor<R>; 3] {
        let Heads { seq, queries, keys, dim, .. } = self.0;
        let [q, k, v] = qkv;
        let tokens = self.tokens(q);
        let [batch, tiles] = [tokens / seq, seq.div_ceil(ROWS_PER_BLOCK)];
        let rounded = empty(q, [batch, queries, seq, dim], DType::BF16);
        let deltas = empty(q, [tokens, queries], DType::F32);
        let dq = empty(q, [batch, queries, seq, dim], DType::F32);
        let [dk, dv] = [(); 2].map(|()| empty(q, [batch, keys, seq, dim], DType::F32));
        let numbers = || self.numbers(tokens);
        // SAFETY: heads, gradients and outputs have the sizes that go with the numbers.
        unsafe {
            self.source(1, "attention_gradient", 0).launch(
                [(tokens * queries).div_ceil(4), 1, 1],
                Vec::new(),
                &[grad, &attended.out, &rounded, &deltas],
                numbers(),
            );
            self.source(2, "attention_keys_values", 6).launch(
                [tiles, batch * keys, 1],
                Vec::new(),
                &[q, k, v, &rounded, &attended.log_sums, &deltas, &dk, &dv],
                numbers(),
            );
            self.source(3, "attention_queries", 6).launch(
                [tiles, batch * queries, 1],
                Vec::new(),
                &[q, k, v, &rounded, &attended.log_sums, &deltas, &dq],
                numbers(),
            );
        }
        [dq, dk, dv]
    }

    fn tokens<R: CubeRuntime>(self, q: &CubeTensor<R>) -> usize {
        super::super::tensors::len(q) / (self.0.queries * self.0.dim)
    }

    fn numbers(self, tokens: usize) -> Vec<u64> {
        let Heads { seq, queries, keys, .. } = self.0;
        [seq, queries, queries / keys, tokens].map(|number| number as u64).into()
    }

    /// One of the kernels, with room for so many tiles, and the numbers of two tiles of queries.
    fn source(self, part: u32, name: &'static str, tiles: usize) -> CudaSource {
        let numbers = if part == 2 { 4 * ROWS_PER_BLOCK * size_of::<f32>() } else { 0 };
        CudaSource {
            name,
            defines: vec![("PART", part), ("DIM", self.0.dim as u32)],
            text: include_str!("attention.cu"),
            threads: THREADS_PER_BLOCK,
            shared: tiles * ROWS_PER_BLOCK * self.0.dim * 2 + numbers,
        }
    }
}
