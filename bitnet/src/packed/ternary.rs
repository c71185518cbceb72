use rayon::prelude::*;

use super::{
    Activations,
    kernel::{Block, PANEL, TERNARY_BLOCK, TILE},
};

/// Tokens that a panel is multiplied by before the next panel is read.
const TOKENS: usize = 64;
/// Bytes of codes that are worth a task of their own.
const TASK_BYTES: usize = 1 << 16;

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

/// A ternary matrix at two bits a weight, multiplied as it is.
///
/// Rows (outputs) stand in panels of 32, and a panel's weights in the order in which they are
/// read: a block is 16 inputs of 32 rows. Groups of inputs are filled up with zeros to whole
/// blocks, the last panel with rows of zeros.
#[derive(Debug, Clone)]
pub struct TernaryMatrix {
    inputs: usize,
    outputs: usize,
    groups: usize,
    /// `[panels, groups, blocks]`.
    codes: Vec<Block>,
    /// Blocks of a group.
    blocks: usize,
    /// `[groups, panels · 32]`.
    scales: Vec<f32>,
    /// `[panels · 32]`.
    bias: Option<Vec<f32>>,
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
    /// gives that of a group and a row.
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
        let padded = outputs.next_multiple_of(PANEL);
        let size = inputs / groups;
        let blocks = size.div_ceil(TERNARY_BLOCK);

        // The code of a weight of zero, four times.
        let mut codes = vec![Block([0b01_01_01_01; 4 * PANEL]); padded / PANEL * groups * blocks];
        codes.par_chunks_mut((groups * blocks).max(1)).enumerate().for_each_init(
            || vec![0; inputs],
            |row_codes, (index, panel)| {
                for (lane, row) in (index * PANEL..outputs).take(PANEL).enumerate() {
                    fill(row, row_codes);
                    let groups = row_codes.chunks(size).zip(panel.chunks_mut(blocks));
                    for (codes, blocks) in groups {
                        for (codes, block) in codes.chunks(TERNARY_BLOCK).zip(blocks) {
                            for (place, code) in codes.iter().enumerate() {
                                let (byte, shift) = position(place);
                                let byte = &mut block.0[4 * lane + byte];
                                *byte = *byte & !(3 << shift) | (code + 1).cast_unsigned() << shift;
                            }
                        }
                    }
                }
            },
        );
        let mut scales = vec![0.0; groups * padded];
        for (group, scales) in scales.chunks_mut(padded.max(1)).enumerate() {
            for (row, out) in scales.iter_mut().take(outputs).enumerate() {
                *out = scale(group, row);
            }
        }
        let bias = bias.map(|mut bias| {
            bias.resize(padded, 0.0);
            bias
        });
        Self { inputs, outputs, groups, codes, blocks, scales, bias }
    }

    /// The codes −1, 0 and 1, `[inputs, outputs]`.
    pub fn codes(&self) -> Vec<i8> {
        let size = self.inputs / self.groups;
        let code = |input: usize, output: usize| {
            let (panel, lane) = (output / PANEL, output % PANEL);
            let (group, place) = (input / size, input % size);
            let block = (panel * self.groups + group) * self.blocks + place / TERNARY_BLOCK;
            let (byte, shift) = position(place % TERNARY_BLOCK);
            let code = self.codes[block].0[4 * lane + byte] >> shift & 3;
            code.cast_signed() - 1
        };
        (0..self.inputs)
            .into_par_iter()
            .flat_map_iter(|input| (0..self.outputs).map(move |output| code(input, output)))
            .collect()
    }

    /// The scales `[groups, outputs]`.
    pub fn scales(&self) -> Vec<f32> {
        let padded = self.outputs.next_multiple_of(PANEL);
        self.scales.chunks(padded).flat_map(|scales| &scales[..self.outputs]).copied().collect()
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of groups of inputs that share scales.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Bytes that a product reads.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.codes[..])
            + size_of_val(&self.scales[..])
            + self.bias.as_ref().map_or(0, |bias| size_of_val(&bias[..]))
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
        assert_eq!((x.inputs(), x.groups()), (self.inputs, self.groups), "inputs and groups");
        assert_eq!(out.len(), x.tokens() * self.outputs, "number of outputs");
        if x.tokens() == 1 {
            return self.multiply_token(x, out);
        }
        let mut strips = vec![0.0; self.panels() * PANEL * x.tokens().min(TOKENS)];
        for (first, out) in (0..).step_by(TOKENS).zip(out.chunks_mut(TOKENS * self.outputs)) {
            let tokens = out.len() / self.outputs;
            let strips = &mut strips[..self.panels() * PANEL * tokens];
            strips.par_chunks_mut(PANEL * tokens).enumerate().for_each(|(panel, strip)| {
                self.multiply_panel(panel, x, first, strip.as_chunks_mut::<PANEL>().0);
            });
            let strips = strips.as_chunks::<PANEL>().0;
            out.par_chunks_mut(self.outputs).enumerate().for_each(|(token, out)| {
                for (panel, out) in out.chunks_mut(PANEL).enumerate() {
                    out.copy_from_slice(&strips[panel * tokens + token][..out.len()]);
                }
            });
        }
    }

    fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// The codes of a panel, group by group.
    fn panel(&self, panel: usize) -> impl Iterator<Item = &[Block]> {
        let codes = &self.codes[panel * self.groups * self.blocks..];
        codes.chunks(self.blocks).take(self.groups)
    }

    /// One token: every weight is read once, and what counts is how fast.
    fn multiply_token(&self, x: &Activations, out: &mut [f32]) {
        let panel_bytes = self.groups * self.blocks * size_of::<Block>();
        let together = TASK_BYTES.div_ceil(panel_bytes.max(1));
        let panels = out.par_chunks_mut(PANEL).enumerate().with_min_len(together);
        panels.for_each(|(panel, out)| {
            let mut sums = [0.0; PANEL];
            let mut products = [0; PANEL];
            for (group, codes) in self.panel(panel).enumerate() {
                x.kernels().ternary_gemv(codes, x.codes(0, group), &mut products);
                self.scale(panel, group, x, 0, &products, &mut sums);
            }
            self.add_bias(panel, &mut sums);
            out.copy_from_slice(&sums[..out.len()]);
        });
    }

    /// A panel times `out.len()` tokens from `first` on.
    fn multiply_panel(
        &self,
        panel: usize,
        x: &Activations,
        first: usize,
        out: &mut [[f32; PANEL]],
    ) {
        let mut products = [[0; PANEL]; TILE];
        for (group, codes) in self.panel(panel).enumerate() {
            for (first, out) in (first..).step_by(TILE).zip(out.chunks_mut(TILE)) {
                let products = &mut products[..out.len()];
                let (codes_of_x, stride) = x.codes_from(first, group);
                x.kernels().ternary_gemm(codes, codes_of_x, stride, products);
                for (token, (products, out)) in (first..).zip(products.iter().zip(out)) {
                    if group == 0 {
                        *out = [0.0; PANEL];
                    }
                    self.scale(panel, group, x, token, products, out);
                }
            }
        }
        out.iter_mut().for_each(|out| self.add_bias(panel, out));
    }

    /// Adds a group's products: less Σ x, because codes are stored one too high, and scaled.
    fn scale(
        &self,
        panel: usize,
        group: usize,
        x: &Activations,
        token: usize,
        products: &[i32; PANEL],
        out: &mut [f32; PANEL],
    ) {
        let scales = &self.scales[(group * self.panels() + panel) * PANEL..][..PANEL];
        let (sum, step) = (x.sum(token, group), x.step(token));
        for ((out, product), scale) in out.iter_mut().zip(products).zip(scales) {
            *out += product.wrapping_sub(sum) as f32 * (scale * step);
        }
    }

    fn add_bias(&self, panel: usize, out: &mut [f32; PANEL]) {
        if let Some(bias) = &self.bias {
            for (out, bias) in out.iter_mut().zip(&bias[panel * PANEL..]) {
                *out += bias;
            }
        }
    }
}

/// Byte of its row, and bits in it, of an input of a block.
fn position(input: usize) -> (usize, usize) {
    (input % 4, 2 * (input / 4))
}
