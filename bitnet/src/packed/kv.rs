//! Keys and values of a KV cache: vectors of several heads, one row per token.

use crate::cpu::{
    absmax::{self, MAX_CODE},
    kernels::{KEYS_PER_PANEL, Kernels, QUERIES_PER_PASS},
};

/// Rows of several heads, in panels of 32: `[rows / 32, heads, …]`, where of a panel and a head there
/// are `len` elements, of 32 bits (`F`) or of 8 (`C`).
#[derive(Debug, Clone)]
pub(crate) struct HeadRows<F, C> {
    heads: usize,
    dim: usize,
    /// Elements of a head in a panel.
    len: usize,
    rows: usize,
    numbers: Numbers<F, C>,
}

#[derive(Debug, Clone)]
enum Numbers<F, C> {
    F32(Vec<F>),
    Int8 {
        codes: Vec<C>,
        /// What a code of one is worth, `[rows / 32, heads, 32]`.
        steps: Vec<[f32; KEYS_PER_PANEL]>,
    },
}

/// Keys, those of 32 tokens side by side: `[rows / 32, heads, dim, 32]`.
pub(crate) type Keys = HeadRows<[f32; KEYS_PER_PANEL], [i8; KEYS_PER_PANEL]>;

/// Values: `[rows / 32, heads, 32, dim]`.
pub(crate) type Values = HeadRows<f32, i8>;

impl<F: Clone + Default, C: Clone + Default> HeadRows<F, C> {
    fn new(heads: usize, dim: usize, len: usize, numbers: Numbers<F, C>) -> Self {
        Self { heads, dim, len, rows: 0, numbers }
    }

    /// Reserves memory for `rows` rows in all.
    pub(crate) fn reserve(&mut self, rows: usize) {
        let heads = rows.div_ceil(KEYS_PER_PANEL) * self.heads;
        match &mut self.numbers {
            Numbers::F32(numbers) => reserve(numbers, heads * self.len),
            Numbers::Int8 { codes, steps } => {
                reserve(codes, heads * self.len);
                reserve(steps, heads);
            }
        }
    }

    /// Forgets all rows but the first `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.resize();
    }

    /// Bytes a row takes.
    pub(crate) fn row_bytes(&self) -> usize {
        match self.numbers {
            Numbers::F32(_) => self.heads * self.dim * size_of::<f32>(),
            Numbers::Int8 { .. } => self.heads * (self.dim + size_of::<f32>()),
        }
    }

    /// Counts a row more. Returns the panel that it is in, and its place there.
    fn grow(&mut self) -> (usize, usize) {
        let at = (self.rows / KEYS_PER_PANEL, self.rows % KEYS_PER_PANEL);
        self.rows += 1;
        self.resize();
        at
    }

    /// Holds as many panels as the rows need.
    fn resize(&mut self) {
        let heads = self.rows.div_ceil(KEYS_PER_PANEL) * self.heads;
        match &mut self.numbers {
            Numbers::F32(numbers) => numbers.resize(heads * self.len, F::default()),
            Numbers::Int8 { codes, steps } => {
                codes.resize(heads * self.len, C::default());
                steps.resize(heads, [0.0; KEYS_PER_PANEL]);
            }
        }
    }
}

impl Keys {
    /// No rows yet, of 32 bits.
    pub(crate) fn f32(heads: usize, dim: usize) -> Self {
        Self::new(heads, dim, dim, Numbers::F32(Vec::new()))
    }

    /// No rows yet, of 8 bits with one scale per row and head.
    pub(crate) fn int8(heads: usize, dim: usize) -> Self {
        Self::new(heads, dim, dim, Numbers::Int8 { codes: Vec::new(), steps: Vec::new() })
    }

    /// Adds a row, `[heads, dim]`.
    pub(crate) fn push(&mut self, row: &[f32]) {
        let (panel, lane) = self.grow();
        let Self { heads, dim, len, .. } = *self;
        let first = panel * heads * len;
        match &mut self.numbers {
            Numbers::F32(keys) => {
                for (keys, value) in keys[first..].iter_mut().zip(row) {
                    keys[lane] = *value;
                }
            }
            Numbers::Int8 { codes, steps } => {
                let mut rounded = vec![0; dim];
                let steps = steps[panel * heads..].iter_mut();
                let codes = codes[first..].chunks_mut(dim);
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
        let (kernels, stride) = (Kernels::best(), self.heads * self.len);
        match &self.numbers {
            Numbers::F32(keys) => kernels.scores(queries, &keys[head * self.len..], stride, out),
            Numbers::Int8 { codes, steps } => {
                kernels.scores_int8(queries, &codes[head * self.len..], stride, out);
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
        Self::new(heads, dim, KEYS_PER_PANEL * dim, Numbers::F32(Vec::new()))
    }

    /// No rows yet, of 8 bits with one scale per row and head.
    pub(crate) fn int8(heads: usize, dim: usize) -> Self {
        let numbers = Numbers::Int8 { codes: Vec::new(), steps: Vec::new() };
        Self::new(heads, dim, KEYS_PER_PANEL * dim, numbers)
    }

    /// Adds a row, `[heads, dim]`.
    pub(crate) fn push(&mut self, row: &[f32]) {
        let (panel, lane) = self.grow();
        let Self { heads, dim, len, .. } = *self;
        let place = |head: usize| (panel * heads + head) * len + lane * dim;
        match &mut self.numbers {
            Numbers::F32(values) => {
                for (head, row) in row.chunks(dim).enumerate() {
                    values[place(head)..][..dim].copy_from_slice(row);
                }
            }
            Numbers::Int8 { codes, steps } => {
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
        let (kernels, stride) = (Kernels::best(), self.heads * self.len);
        let first = head * self.len;
        match &self.numbers {
            Numbers::F32(values) => kernels.weighted_sum(weights, &values[first..], stride, out),
            Numbers::Int8 { codes, steps } => {
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
