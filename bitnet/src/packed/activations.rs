use rayon::prelude::*;

use crate::cpu::{
    absmax::{self, MAX_CODE},
    gemm::int8::stride,
    isa::Isa,
    kernels::{INPUTS_PER_TERNARY_BLOCK, Kernels, Rows},
};

/// Tokens that are worth a task of their own.
const TOKENS_PER_TASK: usize = 8;

/// Inputs of ternary products, as 8-bit codes with one scale per token:
/// [`absmax_int8`](crate::quant::absmax_int8), to the bit.
#[derive(Debug, Clone)]
pub struct Activations {
    kernels: &'static Kernels,
    inputs: usize,
    groups: usize,
    tokens: usize,
    /// Bytes from the codes of a group to those of the next.
    stride: usize,
    /// Filled up with zeros, `[tokens, groups, stride]`.
    codes: Vec<i8>,
    /// Sums of the codes, `[tokens, groups]`.
    sums: Vec<i32>,
    /// What a code of one is worth, `1 / scale`; `[tokens]`. NaN where a token is not finite.
    steps: Vec<f32>,
}

impl Activations {
    /// No tokens yet. `groups` is that of the weights.
    ///
    /// # Panics
    /// If `groups` does not divide `inputs`.
    pub fn new(inputs: usize, groups: usize) -> Self {
        Self::with_kernels(Kernels::best(), inputs, groups)
    }

    /// As [`new`](Self::new), for products with the instructions of `isa`; `None` if this
    /// processor lacks them.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with_isa(isa: Isa, inputs: usize, groups: usize) -> Option<Self> {
        Some(Self::with_kernels(Kernels::of(isa)?, inputs, groups))
    }

    fn with_kernels(kernels: &'static Kernels, inputs: usize, groups: usize) -> Self {
        assert!(groups > 0 && inputs.is_multiple_of(groups), "{groups} groups of {inputs}");
        Self {
            kernels,
            inputs,
            groups,
            tokens: 0,
            stride: stride(inputs / groups),
            codes: Vec::new(),
            sums: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Quantises tokens, in the place of those held.
    ///
    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    pub fn quantize(&mut self, x: &[f32]) {
        let inputs = self.inputs;
        self.quantize_with(x.len() / inputs, |token, row| {
            row.copy_from_slice(&x[token * inputs..][..inputs]);
        });
    }

    /// Quantises tokens whose inputs `make` writes, each into a buffer of `inputs` values.
    pub(crate) fn quantize_with(&mut self, tokens: usize, make: impl Fn(usize, &mut [f32]) + Sync) {
        let Self { inputs, groups, stride, .. } = *self;
        let (size, row) = (inputs / groups, groups * stride);
        self.tokens = tokens;
        self.codes.resize(tokens * row, 0);
        self.sums.resize(tokens * groups, 0);
        self.steps.resize(tokens, 0.0);
        let parts = self.codes.par_chunks_mut((TOKENS_PER_TASK * row).max(1));
        let parts = parts.zip(self.sums.par_chunks_mut(TOKENS_PER_TASK * groups));
        parts.zip(self.steps.par_chunks_mut(TOKENS_PER_TASK)).enumerate().for_each_init(
            || vec![0.0; inputs],
            |x, (part, ((codes, sums), steps))| {
                let of_tokens = codes.chunks_mut(row).zip(sums.chunks_mut(groups)).zip(steps);
                for (token, ((codes, sums), step)) in of_tokens.enumerate() {
                    make(part * TOKENS_PER_TASK + token, x);
                    let scale = absmax::scale(x, MAX_CODE);
                    *step = scale.recip();
                    let of_groups = codes.chunks_mut(stride).zip(x.chunks(size)).zip(sums);
                    for ((codes, x), sum) in of_groups {
                        *sum = absmax::encode(x, scale, &mut codes[..size]);
                    }
                }
            },
        );
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The instructions that products with it run on.
    pub fn isa(&self) -> Isa {
        self.kernels.isa()
    }

    pub(super) fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// The codes of a token in a group, in whole blocks of ternary products.
    pub(super) fn token(&self, token: usize, group: usize) -> &[i8] {
        let first = (token * self.groups + group) * self.stride;
        &self.codes[first..]
            [..(self.inputs / self.groups).next_multiple_of(INPUTS_PER_TERNARY_BLOCK)]
    }

    /// The codes of tokens from one on, in a group.
    pub(super) fn rows(&self, token: usize, group: usize) -> Rows<'_> {
        let first = (token * self.groups + group) * self.stride;
        Rows::new(&self.codes[first..], self.groups * self.stride)
    }

    /// The sum of a token's codes in a group.
    pub(super) fn sum(&self, token: usize, group: usize) -> i32 {
        self.sums[token * self.groups + group]
    }

    /// What a code of one is worth.
    pub(super) fn step(&self, token: usize) -> f32 {
        self.steps[token]
    }
}
