use rayon::prelude::*;

use super::{
    Isa,
    kernel::{Kernels, TERNARY_BLOCK, TILE},
};
use crate::quant::SCALE_EPS;

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
    /// As products read them. [`TILE`] tokens stand together, in the last tile those that are left:
    /// `[tiles, groups, blocks, tokens of the tile, TERNARY_BLOCK]`.
    codes: Vec<[i8; TERNARY_BLOCK]>,
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
        let (size, blocks) = (inputs / groups, group_stride / TERNARY_BLOCK);
        self.tokens = tokens;
        self.codes.resize(tokens * groups * blocks, [0; TERNARY_BLOCK]);
        self.sums.resize(tokens * groups, 0);
        self.steps.resize(tokens, 0.0);
        let tiles = self.codes.par_chunks_mut((TILE * groups * blocks).max(1));
        let tiles = tiles.zip(self.sums.par_chunks_mut(TILE * groups));
        tiles.zip(self.steps.par_chunks_mut(TILE)).enumerate().for_each_init(
            // What fills up a group stays zero.
            || (vec![0.0; inputs], vec![0; group_stride]),
            |(x, row), (tile, ((codes, sums), steps))| {
                let count = steps.len();
                for (token, step) in steps.iter_mut().enumerate() {
                    make(tile * TILE + token, x);
                    let scale = scale_of(kernels.max_abs(x), 127.0);
                    *step = scale.recip();
                    let parts = codes.chunks_mut((blocks * count).max(1)).zip(x.chunks(size));
                    for ((codes, x), sum) in parts.zip(&mut sums[token * groups..]) {
                        *sum = kernels.quantize(x, scale, &mut row[..size]);
                        let to = codes.iter_mut().skip(token).step_by(count);
                        to.zip(row.as_chunks().0).for_each(|(to, codes)| *to = *codes);
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

    /// The codes in a group of a tile's tokens: `[blocks, tokens, TERNARY_BLOCK]`.
    pub(super) fn tile(&self, tile: usize, group: usize) -> &[i8] {
        let first = tile * TILE;
        let count = TILE.min(self.tokens - first);
        let blocks = self.group_stride / TERNARY_BLOCK;
        let start = (first * self.groups + group * count) * blocks;
        self.codes[start..][..count * blocks].as_flattened()
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

/// `range / max|x|`, the maximum kept at or above [`SCALE_EPS`]; not a number if it is none.
pub(super) fn scale_of(max_abs: f32, range: f32) -> f32 {
    let lowest = SCALE_EPS as f32;
    // Not `f32::max`, which would hide what is not a number.
    let max_abs = if max_abs < lowest { lowest } else { max_abs };
    max_abs.recip() * range
}
