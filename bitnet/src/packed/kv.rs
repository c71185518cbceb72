//! Keys and values of a KV cache: vectors of several heads, one row per token.

use crate::cpu::{
    absmax::{self, MAX_CODE},
    kernels::{KEYS_PER_PANEL, Kernels, QUERIES_PER_PASS},
};

/// Keys. Those of 32 tokens stand together, a head after the other: `[rows / 32, heads, dim, 32]`.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    heads: usize,
    dim: usize,
    rows: usize,
    numbers: KeyNumbers,
}

#[derive(Debug, Clone)]
enum KeyNumbers {
    F32(Vec<[f32; KEYS_PER_PANEL]>),
    Int8 {
        codes: Vec<[i8; KEYS_PER_PANEL]>,
        /// What a code of one is worth, `[rows / 32, heads, 32]`.
        steps: Vec<[f32; KEYS_PER_PANEL]>,
    },
}

/// Values. Those of 32 tokens stand together, a head after the other: `[rows / 32, heads, 32,
/// dim]`.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    heads: usize,
    dim: usize,
    rows: usize,
    numbers: ValueNumbers,
}

#[derive(Debug, Clone)]
enum ValueNumbers {
    F32(Vec<f32>),
    Int8 {
        codes: Vec<i8>,
        /// What a code of one is worth, `[rows / 32, heads, 32]`.
        steps: Vec<[f32; KEYS_PER_PANEL]>,
    },
}

impl Keys {
    /// No rows yet, of 32 bits.
    pub(crate) fn f32(heads: usize, dim: usize) -> Self {
        Self { heads, dim, rows: 0, numbers: KeyNumbers::F32(Vec::new()) }
    }

    /// No rows yet, of 8 bits with one scale per row and head.
    pub(crate) fn int8(heads: usize, dim: usize) -> Self {
        let numbers = KeyNumbers::Int8 { codes: Vec::new(), steps: Vec::new() };
        Self { heads, dim, rows: 0, numbers }
    }

    /// Reserves memory for `rows` rows in all.
    pub(crate) fn reserve(&mut self, rows: usize) {
        let heads = rows.div_ceil(KEYS_PER_PANEL) * self.heads;
        match &mut self.numbers {
            KeyNumbers::F32(keys) => reserve(keys, heads * self.dim),
            KeyNumbers::Int8 { codes, steps } => {
                reserve(codes, heads * self.dim);
                reserve(steps, heads);
            }
        }
    }

    /// Forgets all rows but the first `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        let heads = self.rows.div_ceil(KEYS_PER_PANEL) * self.heads;
        match &mut self.numbers {
            KeyNumbers::F32(keys) => keys.truncate(heads * self.dim),
            KeyNumbers::Int8 { codes, steps } => {
                codes.truncate(heads * self.dim);
                steps.truncate(heads);
            }
        }
    }

    /// Adds a row, `[heads, dim]`.
    pub(crate) fn push(&mut self, row: &[f32]) {
        let Self { heads, dim, .. } = *self;
        let (panel, lane) = (self.rows / KEYS_PER_PANEL, self.rows % KEYS_PER_PANEL);
        self.rows += 1;
        match &mut self.numbers {
            KeyNumbers::F32(keys) => {
                keys.resize((panel + 1) * heads * dim, [0.0; KEYS_PER_PANEL]);
                for (keys, value) in keys[panel * heads * dim..].iter_mut().zip(row) {
                    keys[lane] = *value;
                }
            }
            KeyNumbers::Int8 { codes, steps } => {
                codes.resize((panel + 1) * heads * dim, [0; KEYS_PER_PANEL]);
                steps.resize((panel + 1) * heads, [0.0; KEYS_PER_PANEL]);
                let mut rounded = vec![0; dim];
                let steps = steps[panel * heads..].iter_mut();
                let codes = codes[panel * heads * dim..].chunks_mut(dim);
                for ((row, codes), step) in row.chunks(dim).zip(codes).zip(steps) {
                    step[lane] = quantize(row, &mut rounded);
                    for (codes, code) in codes.iter_mut().zip(&rounded) {
                        codes[lane] = *code;
                    }
                }
            }
        }
    }

    /// The products of queries with the keys of a head, in whole panels: `[queries, keys]`.
    fn scores(&self, queries: &[&[f32]], head: usize, out: &mut [f32]) {
        let (kernels, stride) = (Kernels::best(), self.heads * self.dim);
        match &self.numbers {
            KeyNumbers::F32(keys) => kernels.scores(queries, &keys[head * self.dim..], stride, out),
            KeyNumbers::Int8 { codes, steps } => {
                kernels.scores_int8(queries, &codes[head * self.dim..], stride, out);
                for out in out.chunks_mut(out.len() / queries.len()) {
                    let steps = steps[head..].iter().step_by(self.heads).flatten();
                    out.iter_mut().zip(steps).for_each(|(out, step)| *out *= step);
                }
            }
        }
    }
}

impl Values {
    /// No rows yet, of 32 bits.
    pub(crate) fn f32(heads: usize, dim: usize) -> Self {
        Self { heads, dim, rows: 0, numbers: ValueNumbers::F32(Vec::new()) }
    }

    /// No rows yet, of 8 bits with one scale per row and head.
    pub(crate) fn int8(heads: usize, dim: usize) -> Self {
        let numbers = ValueNumbers::Int8 { codes: Vec::new(), steps: Vec::new() };
        Self { heads, dim, rows: 0, numbers }
    }

    /// Reserves memory for `rows` rows in all.
    pub(crate) fn reserve(&mut self, rows: usize) {
        let heads = rows.div_ceil(KEYS_PER_PANEL) * self.heads;
        match &mut self.numbers {
            ValueNumbers::F32(values) => reserve(values, heads * KEYS_PER_PANEL * self.dim),
            ValueNumbers::Int8 { codes, steps } => {
                reserve(codes, heads * KEYS_PER_PANEL * self.dim);
                reserve(steps, heads);
            }
        }
    }

    /// Forgets all rows but the first `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        let heads = self.rows.div_ceil(KEYS_PER_PANEL) * self.heads;
        match &mut self.numbers {
            ValueNumbers::F32(values) => values.truncate(heads * KEYS_PER_PANEL * self.dim),
            ValueNumbers::Int8 { codes, steps } => {
                codes.truncate(heads * KEYS_PER_PANEL * self.dim);
                steps.truncate(heads);
            }
        }
    }

    /// Bytes a row takes.
    pub(crate) fn row_bytes(&self) -> usize {
        match self.numbers {
            ValueNumbers::F32(_) => self.heads * self.dim * size_of::<f32>(),
            ValueNumbers::Int8 { .. } => self.heads * (self.dim + size_of::<f32>()),
        }
    }

    /// Adds a row, `[heads, dim]`.
    pub(crate) fn push(&mut self, row: &[f32]) {
        let Self { heads, dim, .. } = *self;
        let (panel, lane) = (self.rows / KEYS_PER_PANEL, self.rows % KEYS_PER_PANEL);
        self.rows += 1;
        let first = panel * heads * KEYS_PER_PANEL * dim;
        let end = first + heads * KEYS_PER_PANEL * dim;
        let place = |head: usize| first + (head * KEYS_PER_PANEL + lane) * dim;
        match &mut self.numbers {
            ValueNumbers::F32(values) => {
                values.resize(end, 0.0);
                for (head, row) in row.chunks(dim).enumerate() {
                    values[place(head)..][..dim].copy_from_slice(row);
                }
            }
            ValueNumbers::Int8 { codes, steps } => {
                codes.resize(end, 0);
                steps.resize((panel + 1) * heads, [0.0; KEYS_PER_PANEL]);
                for (head, row) in row.chunks(dim).enumerate() {
                    let step = quantize(row, &mut codes[place(head)..][..dim]);
                    steps[panel * heads + head][lane] = step;
                }
            }
        }
    }

    /// The sums of the first values of a head, each times its weight, of some rows of weights.
    /// Weights are used up.
    fn weighted_sum(&self, weights: &mut [f32], head: usize, out: &mut [&mut [f32]]) {
        let (kernels, stride) = (Kernels::best(), self.heads * KEYS_PER_PANEL * self.dim);
        let first = head * KEYS_PER_PANEL * self.dim;
        match &self.numbers {
            ValueNumbers::F32(values) => {
                kernels.weighted_sum(weights, &values[first..], stride, out)
            }
            ValueNumbers::Int8 { codes, steps } => {
                for weights in weights.chunks_mut(weights.len() / out.len()) {
                    let steps = steps[head..].iter().step_by(self.heads).flatten();
                    weights.iter_mut().zip(steps).for_each(|(weight, step)| *weight *= step);
                }
                kernels.weighted_sum_int8(weights, &codes[first..], stride, out);
            }
        }
    }
}

/// Reserves memory for `len` elements in all.
fn reserve<T>(values: &mut Vec<T>, len: usize) {
    values.reserve_exact(len.saturating_sub(values.len()));
}

/// Codes of 8 bits; returns what one is worth.
fn quantize(values: &[f32], codes: &mut [i8]) -> f32 {
    let scale = absmax::scale(values, MAX_CODE);
    absmax::encode(values, scale, codes);
    scale.recip()
}

/// A query, how many keys it attends to, and where its weighted sum of values goes.
pub(crate) type Query<'a> = (&'a [f32], usize, &'a mut [f32]);

/// Attention of some queries to the first keys and values of a head, which are read once for every
/// four of them. `scores` is scratch memory.
pub(crate) fn attend(
    queries: &mut [Query<'_>],
    (keys, values): (&Keys, &Values),
    head: usize,
    scores: &mut Vec<f32>,
) {
    for queries in queries.chunks_mut(QUERIES_PER_PASS) {
        let count = queries.len();
        let seen = queries.iter().map(|(_, seen, _)| *seen).max().unwrap_or(0);
        let width = seen.next_multiple_of(KEYS_PER_PANEL);
        scores.resize(count * width, 0.0);
        let mut vectors = [&[][..]; QUERIES_PER_PASS];
        vectors.iter_mut().zip(&*queries).for_each(|(vector, (query, ..))| *vector = query);
        keys.scores(&vectors[..count], head, scores);
        let mut shares = [0.0; QUERIES_PER_PASS];
        for ((share, (_, seen, _)), scores) in
            shares.iter_mut().zip(&*queries).zip(scores.chunks_mut(width))
        {
            let (scores, hidden) = scores.split_at_mut(*seen);
            *share = Kernels::best().softmax(scores).recip();
            hidden.fill(0.0);
        }
        let mut outs = [(); QUERIES_PER_PASS].map(|()| &mut [][..]);
        outs.iter_mut().zip(&mut *queries).for_each(|(to, (.., out))| *to = out);
        values.weighted_sum(scores, head, &mut outs[..count]);
        // There is less to divide than among the weights.
        for (share, (.., out)) in shares.iter().zip(queries) {
            out.iter_mut().for_each(|out| *out *= share);
        }
    }
}
