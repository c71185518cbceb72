use rayon::prelude::*;

use super::{
    Isa,
    kernel::{Kernels, TERNARY_BLOCK},
};
use crate::quant::SCALE_EPS;

/// Tokens that are quantised by one thread, at least.
const TASK_TOKENS: usize = 8;

/// Inputs of ternary products, as 8-bit codes with one scale a token:
/// [`absmax_int8`](crate::quant::absmax_int8), to the bit.
#[derive(Debug, Clone)]
pub struct Activations {
    kernels: &'static Kernels,
    inputs: usize,
    groups: usize,
    tokens: usize,
    /// Codes of a group, in whole blocks.
    group_stride: usize,
    /// `[tokens, groups, group_stride]`.
    codes: Vec<i8>,
    /// Sums of the codes, `[tokens, groups]`.
    sums: Vec<i32>,
    /// What a code of one is worth, `1 / scale`; `[tokens]`.
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

    pub(super) fn with_kernels(kernels: &'static Kernels, inputs: usize, groups: usize) -> Self {
        assert!(groups > 0 && inputs.is_multiple_of(groups), "{groups} groups of {inputs}");
        let group_stride = (inputs / groups).next_multiple_of(TERNARY_BLOCK);
        Self {
            kernels,
            inputs,
            groups,
            tokens: 0,
            group_stride,
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
        let Self { kernels, inputs, groups, group_stride, .. } = *self;
        let size = inputs / groups;
        self.tokens = tokens;
        // New rows are zeros, and what fills up a group stays zero.
        self.codes.resize(tokens * groups * group_stride, 0);
        self.sums.resize(tokens * groups, 0);
        self.steps.resize(tokens, 0.0);
        let rows = self.codes.par_chunks_mut(groups * group_stride);
        rows.zip(self.sums.par_chunks_mut(groups))
            .zip(&mut self.steps)
            .enumerate()
            .with_min_len(TASK_TOKENS)
            .for_each_init(
                || vec![0.0; inputs],
                |x, (token, ((codes, sums), step))| {
                    make(token, x);
                    let scale = scale_of(kernels.max_abs(x), 127.0);
                    let groups = x.chunks(size).zip(codes.chunks_mut(group_stride));
                    for ((x, codes), sum) in groups.zip(sums) {
                        *sum = kernels.quantize(x, scale, &mut codes[..size]);
                    }
                    *step = scale.recip();
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

    /// The codes of a token in a group.
    pub(super) fn codes(&self, token: usize, group: usize) -> &[i8] {
        &self.codes[(token * self.groups + group) * self.group_stride..][..self.group_stride]
    }

    /// The codes in a group of a token and those after it, and how far these are apart.
    pub(super) fn codes_from(&self, token: usize, group: usize) -> (&[i8], usize) {
        let codes = &self.codes[(token * self.groups + group) * self.group_stride..];
        (codes, self.groups * self.group_stride)
    }

    /// The sum of these codes.
    pub(super) fn sum(&self, token: usize, group: usize) -> i32 {
        self.sums[token * self.groups + group]
    }

    /// What a code of one is worth.
    pub(super) fn step(&self, token: usize) -> f32 {
        self.steps[token]
    }
}

/// `range / max|x|`, the maximum kept at or above [`SCALE_EPS`]; not a number if it is none.
pub(super) fn scale_of(max_abs: f32, range: f32) -> f32 {
    let lowest = SCALE_EPS as f32;
    // Not `f32::max`, which would hide what is not a number.
    let max_abs = if max_abs < lowest { lowest } else { max_abs };
    max_abs.recip() * range
}
