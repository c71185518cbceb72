use half::bf16;
use rayon::prelude::*;

use super::{ArrayFile, FileError, array::Array};
use crate::cpu::{
    absmax::{self, MAX_CODE},
    kernels::{Block, INPUTS_PER_INT8_BLOCK, Kernels, OUTPUTS_PER_PANEL},
};

/// What is added to 8-bit weights, so that they have no sign.
const WEIGHT_OFFSET: i32 = 128;
/// Most inputs whose products a kernel adds up.
const INPUTS_PER_EXACT_SUM: usize = 1 << 16;
/// Rows that are worth a task of their own, in panels.
const PANELS_PER_TASK: usize = 4;

/// The format of an embedding and an output head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableFormat {
    /// 8 bits, one scale per row.
    #[default]
    Int8,
    /// bfloat16.
    Bf16,
    /// 32 bits: what training holds.
    F32,
}

impl TableFormat {
    /// All of them, the smallest first.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Bf16, Self::F32];

    /// The name, as it is given and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }
}

/// One row of `dim` numbers a token of the vocabulary: an embedding, an output head, or both.
#[derive(Debug, Clone)]
pub struct EmbeddingTable {
    rows: usize,
    dim: usize,
    storage: Storage,
}

#[derive(Debug, Clone)]
enum Storage {
    Int8 {
        /// `[panels, blocks]`: weights plus [`WEIGHT_OFFSET`].
        weights: Array<Block>,
        /// What a weight of one is worth, `[panels · 32]`.
        steps: Array<f32>,
    },
    Bf16(Array<bf16>),
    F32(Array<f32>),
}

impl EmbeddingTable {
    /// Holds `weights`, `[rows, dim]`, in a format.
    pub fn new(weights: &[f32], dim: usize, format: TableFormat) -> Self {
        Self::from_rows(weights.len() / dim, dim, format, |row, out| {
            out.copy_from_slice(&weights[row * dim..][..dim]);
        })
    }

    /// Holds rows of `dim` values that `fill` writes, each for itself, in any order.
    pub fn from_rows(
        rows: usize,
        dim: usize,
        format: TableFormat,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let storage = match format {
            TableFormat::Int8 => int8(rows, dim, fill),
            TableFormat::Bf16 => Storage::Bf16(Array::filled(rows * dim, |weights| {
                weights.par_chunks_mut(dim).enumerate().for_each_init(
                    || vec![0.0; dim],
                    |values, (row, weights)| {
                        fill(row, values);
                        for (weight, value) in weights.iter_mut().zip(values) {
                            *weight = bf16::from_f32(*value);
                        }
                    },
                );
            })),
            TableFormat::F32 => Storage::F32(Array::filled(rows * dim, |weights| {
                weights.par_chunks_mut(dim).enumerate().for_each(|(row, out)| fill(row, out));
            })),
        };
        Self { rows, dim, storage }
    }

    /// Takes a table from a file, which [`arrays`](Self::arrays) were written into.
    pub(crate) fn read(
        file: &mut ArrayFile,
        rows: usize,
        dim: usize,
        format: TableFormat,
    ) -> Result<Self, FileError> {
        let padded = rows.next_multiple_of(OUTPUTS_PER_PANEL);
        let storage = match format {
            TableFormat::Int8 => Storage::Int8 {
                weights: file
                    .take(padded / OUTPUTS_PER_PANEL * dim.div_ceil(INPUTS_PER_INT8_BLOCK))?,
                steps: file.take_finite(padded)?,
            },
            TableFormat::Bf16 => {
                let weights = file.take::<bf16>(rows * dim)?;
                if !weights.par_chunks(dim).all(|row| row.iter().all(|weight| weight.is_finite())) {
                    return Err(FileError::Value("numbers that are not finite"));
                }
                Storage::Bf16(weights)
            }
            TableFormat::F32 => Storage::F32(file.take_finite(rows * dim)?),
        };
        Ok(Self { rows, dim, storage })
    }

    /// Its arrays, as a file holds them.
    pub(crate) fn arrays(&self) -> impl Iterator<Item = &[u8]> {
        let (first, second) = match &self.storage {
            Storage::Int8 { weights, steps } => (weights.as_bytes(), Some(steps.as_bytes())),
            Storage::Bf16(weights) => (weights.as_bytes(), None),
            Storage::F32(weights) => (weights.as_bytes(), None),
        };
        [first].into_iter().chain(second)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that a product reads.
    pub fn bytes(&self) -> usize {
        self.arrays().map(<[u8]>::len).sum()
    }

    /// The format.
    pub fn format(&self) -> TableFormat {
        match self.storage {
            Storage::Int8 { .. } => TableFormat::Int8,
            Storage::Bf16(_) => TableFormat::Bf16,
            Storage::F32(_) => TableFormat::F32,
        }
    }

    /// Writes a row into `out`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        match &self.storage {
            Storage::Int8 { weights, steps } => {
                let blocks = self.dim.div_ceil(INPUTS_PER_INT8_BLOCK);
                let panel = &weights[row / OUTPUTS_PER_PANEL * blocks..][..blocks];
                let place = 4 * (row % OUTPUTS_PER_PANEL);
                for (out, block) in out.chunks_mut(INPUTS_PER_INT8_BLOCK).zip(panel) {
                    for (out, &weight) in out.iter_mut().zip(&block.0[place..]) {
                        *out = (i32::from(weight) - WEIGHT_OFFSET) as f32 * steps[row];
                    }
                }
            }
            Storage::Bf16(weights) => {
                for (out, weight) in out.iter_mut().zip(&weights[row * self.dim..]) {
                    *out = weight.to_f32();
                }
            }
            Storage::F32(weights) => out.copy_from_slice(&weights[row * self.dim..][..self.dim]),
        }
    }

    /// The product of all rows with some tokens, shared among the threads of rayon's pool. 8-bit
    /// weights take inputs of 16 bits, which loses next to nothing.
    ///
    /// # Shapes
    /// - `x`: `[tokens, dim]`
    /// - `out`: `[tokens, rows]`, overwritten
    pub fn multiply(&self, x: &[f32], out: &mut [f32]) {
        let kernels = Kernels::best();
        for (x, out) in x.chunks(self.dim).zip(out.chunks_mut(self.rows)) {
            match &self.storage {
                Storage::Int8 { weights, steps } => multiply_int8(kernels, weights, steps, x, out),
                Storage::Bf16(weights) => {
                    let rows =
                        weights.par_chunks(self.dim).zip(out).with_min_len(OUTPUTS_PER_PANEL);
                    rows.for_each(|(row, out)| *out = kernels.dot_bf16(x, row));
                }
                Storage::F32(weights) => {
                    let rows =
                        weights.par_chunks(self.dim).zip(out).with_min_len(OUTPUTS_PER_PANEL);
                    rows.for_each(|(row, out)| *out = kernels.dot(x, row));
                }
            }
        }
    }
}

/// Rows in panels of 32, four inputs a block.
fn int8(rows: usize, dim: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Storage {
    let blocks = dim.div_ceil(INPUTS_PER_INT8_BLOCK);
    let mut steps = vec![0.0; rows.next_multiple_of(OUTPUTS_PER_PANEL)];
    let weights =
        Array::filled(rows.div_ceil(OUTPUTS_PER_PANEL) * blocks, |weights: &mut [Block]| {
            let panels = weights
                .par_chunks_mut(blocks)
                .zip(steps.par_chunks_mut(OUTPUTS_PER_PANEL))
                .enumerate();
            panels.for_each(|(index, (panel, steps))| {
                panel.fill(Block([WEIGHT_OFFSET as u8; 4 * OUTPUTS_PER_PANEL]));
                let (mut values, mut codes) = (vec![0.0; dim], vec![0; dim]);
                for (lane, row) in
                    (index * OUTPUTS_PER_PANEL..rows).take(OUTPUTS_PER_PANEL).enumerate()
                {
                    fill(row, &mut values);
                    let scale = absmax::scale(&values, MAX_CODE);
                    absmax::encode(&values, scale, &mut codes);
                    steps[lane] = scale.recip();
                    for (codes, block) in codes.chunks(INPUTS_PER_INT8_BLOCK).zip(panel.iter_mut())
                    {
                        for (code, weight) in codes.iter().zip(&mut block.0[4 * lane..]) {
                            *weight = (i32::from(*code) + WEIGHT_OFFSET) as u8;
                        }
                    }
                }
            });
        });
    Storage::Int8 { weights, steps: steps.into() }
}

/// Inputs in two signed bytes each, `value = (256 · high + low) · step`.
struct Halves {
    high: Vec<i8>,
    low: Vec<i8>,
    step: f32,
}

impl Halves {
    /// Of inputs filled up with zeros to whole blocks.
    fn new(x: &[f32]) -> Self {
        // 127 · 256: the high byte of every code then lies within ±127.
        let scale = absmax::scale(x, 32_512.0);
        let padded = x.len().next_multiple_of(INPUTS_PER_INT8_BLOCK);
        let mut halves = Self { high: vec![0; padded], low: vec![0; padded], step: scale.recip() };
        for ((high, low), x) in halves.high.iter_mut().zip(&mut halves.low).zip(x) {
            let code = (x * scale).round_ties_even() as i32;
            *high = ((code + 128) >> 8) as i8;
            *low = code as i8;
        }
        halves
    }
}

/// First block, both bytes of the inputs, and what the offset of the weights adds to each product.
type Part<'a> = (usize, [&'a [i8]; 2], [i32; 2]);

fn multiply_int8(kernels: &Kernels, weights: &[Block], steps: &[f32], x: &[f32], out: &mut [f32]) {
    let blocks = x.len().div_ceil(INPUTS_PER_INT8_BLOCK);
    let x = Halves::new(x);
    // Whole panels: what a kernel adds up, and the sums of the inputs, which the offset of the
    // weights has added that many times.
    let parts: Vec<Part> = (0..)
        .step_by(INPUTS_PER_EXACT_SUM)
        .zip(x.high.chunks(INPUTS_PER_EXACT_SUM).zip(x.low.chunks(INPUTS_PER_EXACT_SUM)))
        .map(|(first, (high, low))| {
            let sum = |x: &[i8]| WEIGHT_OFFSET * x.iter().map(|&x| i32::from(x)).sum::<i32>();
            (first / INPUTS_PER_INT8_BLOCK, [high, low], [sum(high), sum(low)])
        })
        .collect();
    let panels = out.par_chunks_mut(OUTPUTS_PER_PANEL).zip(weights.par_chunks(blocks));
    panels.zip(steps.par_chunks(OUTPUTS_PER_PANEL)).with_min_len(PANELS_PER_TASK).for_each(
        |((out, panel), steps)| {
            let mut products = [[0; OUTPUTS_PER_PANEL]; 2];
            let mut sums = [0.0; OUTPUTS_PER_PANEL];
            for (first, x, offsets) in &parts {
                let panel = &panel[*first..][..x[0].len() / INPUTS_PER_INT8_BLOCK];
                kernels.int8_gemv(panel, *x, &mut products);
                for (row, sum) in sums.iter_mut().enumerate() {
                    let [high, low] =
                        [0, 1].map(|half| (products[half][row] - offsets[half]) as f32);
                    *sum += 256.0 * high + low;
                }
            }
            for ((out, sum), step) in out.iter_mut().zip(sums).zip(steps) {
                *out = sum * (step * x.step);
            }
        },
    );
}
