use std::{cell::RefCell, ops::Range};

use rayon::prelude::*;

use super::{Activations, ArrayFile, FileError, array::Array};
use crate::cpu::{
    column_blocks::{ColumnBlock, column_blocks},
    gemm::int8::{add_scaled, unpack},
    kernels::{Block, INPUTS_PER_TERNARY_BLOCK, OUTPUTS_PER_PANEL, Sums, TOKENS_PER_TILE},
};

/// Blocks of a panel that are unpacked at a time: 16 KiB of codes, so that they are in the
/// processor's first cache for all tokens that they are multiplied by.
const BLOCKS_PER_UNPACKING: usize = 32;
/// Tokens that they are unpacked for, whose sums are kept meanwhile.
const TOKENS_PER_BAND: usize = 4 * TOKENS_PER_TILE;
/// Bytes of codes that are worth a task of their own.
const BYTES_PER_TASK: usize = 1 << 16;

/// Ternary weights in plain form: `weight = codes · scales`.
#[derive(Debug, Clone, PartialEq)]
pub struct TernaryWeights {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Codes −1, 0 and 1, `[inputs, outputs]`.
    pub codes: Vec<i8>,
    /// `[groups, outputs]`, or `[groups]` where all outputs share a scale; the groups are of the
    /// same number of inputs, one after the other.
    pub scales: Vec<f32>,
    /// Number of groups.
    pub groups: usize,
    /// `[outputs]`.
    pub bias: Option<Vec<f32>>,
}

impl TernaryWeights {
    /// Scale of an output in a group.
    fn scale(&self, group: usize, output: usize) -> f32 {
        match self.scales.len() == self.groups {
            true => self.scales[group],
            false => self.scales[group * self.outputs + output],
        }
    }
}

/// Sizes of a [`TernaryMatrix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MatrixShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Groups of inputs that share scales.
    pub(crate) groups: usize,
}

impl MatrixShape {
    fn panels(self) -> usize {
        self.outputs.div_ceil(OUTPUTS_PER_PANEL)
    }

    /// Blocks of a group in a panel.
    fn blocks(self) -> usize {
        (self.inputs / self.groups).div_ceil(INPUTS_PER_TERNARY_BLOCK)
    }

    /// Blocks of all.
    fn all_blocks(self) -> usize {
        self.panels() * self.groups * self.blocks()
    }
}

/// A ternary matrix at two bits per weight, multiplied as it is.
///
/// Rows (outputs) stand in panels of 32, and a panel's weights in the order in which they are
/// read: a block is 16 inputs of 32 rows. Groups of inputs are filled up with zeros to whole
/// blocks, the last panel with rows of zeros.
#[derive(Debug, Clone)]
pub struct TernaryMatrix {
    shape: MatrixShape,
    /// `[panels, groups, blocks]`.
    codes: Array<Block>,
    /// `[groups, panels · 32]`.
    scales: Array<f32>,
    /// `[panels · 32]`.
    bias: Option<Array<f32>>,
}

impl TernaryMatrix {
    /// Packs matrices of the same inputs, the outputs of one after those of the other.
    ///
    /// # Panics
    /// If there is none, if inputs or groups differ, or if lengths do not fit the sizes.
    pub fn pack(parts: &[&TernaryWeights]) -> Self {
        let &TernaryWeights { inputs, groups, .. } = parts[0];
        assert!(groups > 0 && inputs.is_multiple_of(groups), "{groups} groups of {inputs}");
        for part in parts {
            assert_eq!((part.inputs, part.groups), (inputs, groups), "inputs and groups");
            assert_eq!(part.codes.len(), inputs * part.outputs, "number of codes");
            let scales = [groups, groups * part.outputs];
            assert!(scales.contains(&part.scales.len()), "number of scales");
        }
        // Where each output is found.
        let rows: Vec<(&TernaryWeights, usize)> = parts
            .iter()
            .flat_map(|part| (0..part.outputs).map(move |output| (*part, output)))
            .collect();
        let fill = |row: usize, codes: &mut [i8]| {
            let (part, output) = rows[row];
            for (input, code) in codes.iter_mut().enumerate() {
                *code = part.codes[input * part.outputs + output];
            }
        };
        let scale = |group, row: usize| rows[row].0.scale(group, rows[row].1);
        let bias = parts.iter().any(|part| part.bias.is_some()).then(|| {
            let bias = |&(part, output): &(&TernaryWeights, usize)| {
                part.bias.as_ref().map_or(0.0, |bias| bias[output])
            };
            rows.iter().map(bias).collect()
        });
        Self::from_rows(inputs, rows.len(), groups, fill, scale, bias)
    }

    /// Packs rows (outputs) of codes that `fill` writes, each for itself, in any order; `scale`
    /// returns that of a group and a row.
    ///
    /// # Panics
    /// If `groups` does not divide `inputs`.
    pub fn from_rows(
        inputs: usize,
        outputs: usize,
        groups: usize,
        fill: impl Fn(usize, &mut [i8]) + Sync,
        scale: impl Fn(usize, usize) -> f32,
        bias: Option<Vec<f32>>,
    ) -> Self {
        assert!(groups > 0 && inputs.is_multiple_of(groups), "{groups} groups of {inputs}");
        let shape = MatrixShape { inputs, outputs, groups };
        let (size, blocks) = (inputs / groups, shape.blocks());
        let fill_panels = |codes: &mut [Block]| {
            codes.par_chunks_mut((groups * blocks).max(1)).enumerate().for_each_init(
                || vec![0; inputs],
                |row_codes, (index, panel)| {
                    // The code of a weight of zero, four times.
                    panel.fill(Block([0b01_01_01_01; 4 * OUTPUTS_PER_PANEL]));
                    for (lane, row) in
                        (index * OUTPUTS_PER_PANEL..outputs).take(OUTPUTS_PER_PANEL).enumerate()
                    {
                        fill(row, row_codes);
                        let groups = row_codes.chunks(size).zip(panel.chunks_mut(blocks));
                        for (codes, blocks) in groups {
                            for (codes, block) in codes.chunks(INPUTS_PER_TERNARY_BLOCK).zip(blocks)
                            {
                                let row = &mut block.0.as_chunks_mut::<4>().0[lane];
                                *row = pack_row(codes);
                            }
                        }
                    }
                },
            );
        };
        let codes = Array::filled(shape.all_blocks(), fill_panels);
        let mut scales = vec![0.0; groups * shape.panels() * OUTPUTS_PER_PANEL];
        for (group, scales) in
            scales.chunks_mut((shape.panels() * OUTPUTS_PER_PANEL).max(1)).enumerate()
        {
            for (row, out) in scales.iter_mut().take(outputs).enumerate() {
                *out = scale(group, row);
            }
        }
        let bias = bias.map(|mut bias| {
            bias.resize(shape.panels() * OUTPUTS_PER_PANEL, 0.0);
            bias.into()
        });
        Self { shape, codes, scales: scales.into(), bias }
    }

    /// Takes a matrix from a file, which [`arrays`](Self::arrays) were written into.
    pub(crate) fn read(
        file: &mut ArrayFile,
        shape: MatrixShape,
        has_bias: bool,
    ) -> Result<Self, FileError> {
        let codes = file.take::<Block>(shape.all_blocks())?;
        // Both bits of a code are never set.
        let valid = |block: &Block| block.0.iter().fold(0, |all, b| all | b & b >> 1) & 0x55 == 0;
        if !codes.par_iter().with_min_len(1 << 12).all(valid) {
            return Err(FileError::Value("codes that are not ternary"));
        }
        let padded = shape.panels() * OUTPUTS_PER_PANEL;
        let scales = file.take_finite(shape.groups * padded)?;
        let bias = has_bias.then(|| file.take_finite(padded)).transpose()?;
        Ok(Self { shape, codes, scales, bias })
    }

    /// Its arrays, as a file holds them.
    pub(crate) fn arrays(&self) -> impl Iterator<Item = &[u8]> {
        let floats = [&self.scales].into_iter().chain(&self.bias);
        [self.codes.as_bytes()].into_iter().chain(floats.map(Array::as_bytes))
    }

    /// The codes −1, 0 and 1, `[inputs, outputs]`.
    pub fn codes(&self) -> Vec<i8> {
        let MatrixShape { inputs, outputs, groups } = self.shape;
        let size = inputs / groups;
        let code = |input: usize, output: usize| {
            let (panel, lane) = (output / OUTPUTS_PER_PANEL, output % OUTPUTS_PER_PANEL);
            let (group, place) = (input / size, input % size);
            let block =
                (panel * groups + group) * self.shape.blocks() + place / INPUTS_PER_TERNARY_BLOCK;
            let (byte, shift) = position(place % INPUTS_PER_TERNARY_BLOCK);
            let code = self.codes[block].0[4 * lane + byte] >> shift & 3;
            code.cast_signed() - 1
        };
        (0..inputs)
            .into_par_iter()
            .flat_map_iter(|input| (0..outputs).map(move |output| code(input, output)))
            .collect()
    }

    /// The scales `[groups, outputs]`.
    pub fn scales(&self) -> Vec<f32> {
        let padded = self.shape.panels() * OUTPUTS_PER_PANEL;
        let scales = self.scales.chunks(padded);
        scales.flat_map(|scales| &scales[..self.shape.outputs]).copied().collect()
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.shape.inputs
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.shape.outputs
    }

    /// Number of groups of inputs that share scales.
    pub fn groups(&self) -> usize {
        self.shape.groups
    }

    /// Bytes that a product reads.
    pub fn bytes(&self) -> usize {
        self.arrays().map(<[u8]>::len).sum()
    }

    /// The product with some tokens, shared among the threads of rayon's pool.
    ///
    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - `out`: `[tokens, outputs]`, overwritten
    ///
    /// # Panics
    /// If `x` was made for other inputs or groups, or `out` has another length.
    pub fn multiply(&self, x: &Activations, out: &mut [f32]) {
        let outputs = self.outputs();
        let inputs = (self.inputs(), self.groups());
        assert_eq!((x.inputs(), x.groups()), inputs, "inputs and groups");
        assert_eq!(out.len(), x.tokens() * outputs, "number of outputs");
        match x.tokens() {
            _ if out.is_empty() => return,
            1 => return self.multiply_token(x, out),
            _ => {}
        }
        let last = outputs - (self.shape.panels() - 1) * OUTPUTS_PER_PANEL;
        let mut widths = vec![OUTPUTS_PER_PANEL; self.shape.panels()];
        widths[self.shape.panels() - 1] = last;
        let blocks = column_blocks(out, x.tokens(), &widths).into_iter().flatten();
        let panels: Vec<_> = blocks.enumerate().collect();
        panels.into_par_iter().for_each(|(panel, out)| self.multiply_panel(panel, x, out));
    }

    /// The codes of a panel, group by group.
    fn panel(&self, panel: usize) -> impl Iterator<Item = &[Block]> {
        let (groups, blocks) = (self.shape.groups, self.shape.blocks());
        self.codes[panel * groups * blocks..].chunks(blocks).take(groups)
    }

    /// One token: every weight is read once, and what counts is how fast.
    fn multiply_token(&self, x: &Activations, out: &mut [f32]) {
        let panel_bytes = self.groups() * self.shape.blocks() * size_of::<Block>();
        let together = BYTES_PER_TASK.div_ceil(panel_bytes.max(1));
        let panels = out.par_chunks_mut(OUTPUTS_PER_PANEL).enumerate().with_min_len(together);
        panels.for_each(|(panel, out)| {
            let mut sums = [0.0; OUTPUTS_PER_PANEL];
            let mut products = [0; OUTPUTS_PER_PANEL];
            for (group, codes) in self.panel(panel).enumerate() {
                x.kernels().ternary_gemv(codes, x.token(0, group), &mut products);
                self.add_scaled(panel, group, x, 0, &products, &mut sums);
            }
            self.add_bias(panel, &mut sums);
            out.copy_from_slice(&sums[..out.len()]);
        });
    }

    /// A panel times all tokens.
    fn multiply_panel(&self, panel: usize, x: &Activations, mut out: ColumnBlock<'_>) {
        thread_local! {
            static SCRATCH: RefCell<Box<Scratch>> = RefCell::new(Box::new(Scratch::new()));
        }
        (0..x.tokens()).for_each(|token| out.row(token).fill(0.0));
        SCRATCH.with_borrow_mut(|scratch| {
            for first in (0..x.tokens()).step_by(TOKENS_PER_BAND) {
                for (group, codes) in self.panel(panel).enumerate() {
                    let tokens = first..x.tokens().min(first + TOKENS_PER_BAND);
                    scratch.multiply(codes, x, group, tokens.clone());
                    for (token, sums) in tokens.zip(&scratch.sums.0) {
                        self.add_scaled(panel, group, x, token, sums, out.row(token));
                    }
                }
            }
        });
        (0..x.tokens()).for_each(|token| self.add_bias(panel, out.row(token)));
    }

    /// Adds a group's products to outputs: less Σ x, because codes are stored one too high, and
    /// scaled.
    fn add_scaled(
        &self,
        panel: usize,
        group: usize,
        x: &Activations,
        token: usize,
        products: &[i32; OUTPUTS_PER_PANEL],
        out: &mut [f32],
    ) {
        let first = (group * self.shape.panels() + panel) * OUTPUTS_PER_PANEL;
        let scales = self.scales[first..].first_chunk().expect("scales of whole panels");
        add_scaled(products, x.sum(token, group), scales, x.step(token), out);
    }

    fn add_bias(&self, panel: usize, out: &mut [f32]) {
        if let Some(bias) = &self.bias {
            for (out, bias) in out.iter_mut().zip(&bias[panel * OUTPUTS_PER_PANEL..]) {
                *out += bias;
            }
        }
    }
}

/// What a thread multiplies a panel with.
struct Scratch {
    /// Some of its blocks, one byte per code.
    unpacked: [Block; 4 * BLOCKS_PER_UNPACKING],
    /// Sums of tokens.
    sums: Sums<TOKENS_PER_BAND>,
}

impl Scratch {
    fn new() -> Self {
        Self { unpacked: [Block::default(); 4 * BLOCKS_PER_UNPACKING], sums: Sums::zero() }
    }

    /// The sums of up to [`TOKENS_PER_BAND`] tokens with a group of a panel.
    fn multiply(&mut self, codes: &[Block], x: &Activations, group: usize, tokens: Range<usize>) {
        let sums = &mut self.sums.0[..tokens.len()];
        if x.kernels().ternary_gemm(codes, x.rows(tokens.start, group), sums) {
            return;
        }
        for (part, codes) in codes.chunks(BLOCKS_PER_UNPACKING).enumerate() {
            let unpacked = &mut self.unpacked[..4 * codes.len()];
            unpack(codes, unpacked);
            for (first, sums) in
                tokens.clone().step_by(TOKENS_PER_TILE).zip(sums.chunks_mut(TOKENS_PER_TILE))
            {
                let rows = x
                    .rows(first, group)
                    .skip(part * BLOCKS_PER_UNPACKING * INPUTS_PER_TERNARY_BLOCK);
                x.kernels().gemm(unpacked, rows, part > 0, sums);
            }
        }
    }
}

/// The codes of a row in a block: those of up to 16 inputs, zeros in the place of others.
fn pack_row(codes: &[i8]) -> [u8; 4] {
    let mut padded = [0; INPUTS_PER_TERNARY_BLOCK];
    padded[..codes.len()].copy_from_slice(codes);
    let mut row = [0; 4];
    for (input, code) in padded.into_iter().enumerate() {
        let (byte, shift) = position(input);
        row[byte] |= (code + 1).cast_unsigned() << shift;
    }
    row
}

/// Byte of its row, and bits in it, of an input of a block.
fn position(input: usize) -> (usize, usize) {
    (input % 4, 2 * (input / 4))
}
