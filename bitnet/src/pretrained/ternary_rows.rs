use rayon::prelude::*;

use crate::{
    cpu::absmean::CodeRule,
    formats::{Encoding, FormatError, TensorView},
    packed::TernaryMatrix,
    quant::{SCALE_EPS, WeightQuant},
};

/// The weight of a linear in a file as codes and scales, read row by row: as they are stored, or as
/// quantising the latent weight computes them ([`WeightQuant::quantize`]).
#[derive(Debug)]
pub(crate) struct TernaryRows<'a> {
    tensor: TensorView<'a>,
    coding: Coding,
    /// Groups of inputs with scales of their own.
    groups: usize,
    /// `[groups]`, or `[groups, outputs]`.
    scales: Vec<f32>,
}

/// How codes are computed from what is stored.
#[derive(Debug)]
enum Coding {
    /// They are stored.
    Stored,
    /// The sign of a float, of which each is zero or of one magnitude.
    Signs,
    /// By the rule of each scale.
    Rules(Vec<CodeRule>),
    /// The sign of `w − α`, −1 for zero, with α of each scale.
    BinaryPaper(Vec<f32>),
}

/// What quantisers need to know of the weights of a scale.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    sum: f64,
    magnitude: f64,
}

impl Moments {
    fn of(values: &[f32]) -> Self {
        // In lanes, so that one addition need not wait for the other.
        let mut lanes = [Self::default(); 8];
        for chunk in values.chunks(lanes.len()) {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                lane.sum += f64::from(value);
                lane.magnitude += f64::from(value.abs());
            }
        }
        lanes.into_iter().fold(Self::default(), Self::plus)
    }

    fn plus(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, magnitude: self.magnitude + other.magnitude }
    }
}

impl<'a> TernaryRows<'a> {
    /// Codes that are stored as codes, or as floats of one magnitude and zeros; `factor` is what
    /// another tensor says that their scale is to be multiplied by.
    pub(crate) fn stored(tensor: TensorView<'a>, factor: Option<f32>) -> Result<Self, FormatError> {
        let error = |reason: String| FormatError::tensor(tensor.name(), reason);
        let (coding, inner) = match tensor.encoding() {
            Encoding::Bytes => return Err(error("holds bytes, codes are expected".into())),
            Encoding::Strided if factor.is_none() => {
                return Err(error("has no scale beside it".into()));
            }
            encoding if encoding.is_ternary() => {
                check_codes(&tensor)?;
                (Coding::Stored, tensor.inner_scale()?)
            }
            _ => (Coding::Signs, magnitude(&tensor)?),
        };
        let scale = inner.unwrap_or(1.0) * factor.unwrap_or(1.0);
        if !(scale.is_finite() && scale > 0.0) {
            return Err(error(format!("has the scale {scale}, which must be above 0")));
        }
        Ok(Self { tensor, coding, groups: 1, scales: vec![scale] })
    }

    /// The quantisation of a latent weight; `None` in full precision. Sums are made in 64 bits.
    pub(crate) fn latent(
        tensor: TensorView<'a>,
        quant: WeightQuant,
        group_size: Option<usize>,
    ) -> Result<Option<Self>, FormatError> {
        if quant == WeightQuant::None {
            return Ok(None);
        }
        if tensor.encoding().is_ternary() || tensor.encoding() == Encoding::Bytes {
            let reason = format!("is stored as {}, floats are expected", tensor.encoding().name());
            return Err(FormatError::tensor(tensor.name(), reason));
        }
        let (rows, columns) = (tensor.rows(), tensor.columns());
        let size = group_size.unwrap_or(columns);
        let groups = columns / size;
        let moments: Vec<Vec<Moments>> = (0..rows)
            .into_par_iter()
            .map_init(
                || vec![0.0; columns],
                |values, row| {
                    tensor.row(row, values);
                    values.chunks(size).map(Moments::of).collect()
                },
            )
            .collect();
        if moments.iter().flatten().any(|moments| !moments.magnitude.is_finite()) {
            return Err(FormatError::tensor(tensor.name(), "holds values that are not finite"));
        }
        let of_rows = group_size.is_some() && quant != WeightQuant::BinaryPaper;
        let (moments, count): (Vec<Moments>, usize) = if of_rows {
            let all = (0..groups).flat_map(|group| moments.iter().map(move |row| row[group]));
            (all.collect(), size)
        } else {
            let all = (0..groups).map(|group| {
                moments.iter().map(|row| row[group]).fold(Moments::default(), Moments::plus)
            });
            (all.collect(), size * rows)
        };
        let means = |of: fn(&Moments) -> f64| -> Vec<f32> {
            moments.iter().map(|moments| (of(moments) / count as f64) as f32).collect()
        };
        let magnitudes = means(|moments| moments.magnitude);
        let (coding, scales) = match quant {
            WeightQuant::Ternary => by_rules(magnitudes.into_iter().map(CodeRule::ternary)),
            WeightQuant::Binary => {
                let measured = magnitudes.into_iter().zip(means(|moments| moments.sum));
                by_rules(measured.map(|(magnitude, mean)| CodeRule::binary(magnitude, mean)))
            }
            _ => (Coding::BinaryPaper(means(|moments| moments.sum)), magnitudes),
        };
        Ok(Some(Self { tensor, coding, groups, scales }))
    }

    /// The tensor.
    pub(crate) fn tensor(&self) -> TensorView<'a> {
        self.tensor
    }

    /// Number of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.tensor.columns()
    }

    /// Number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.tensor.rows()
    }

    /// All scales.
    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The scale that all weights share; `None` if there are several.
    pub(crate) fn one_scale(&self) -> Option<f32> {
        match self.scales[..] {
            [scale] => Some(scale),
            _ => None,
        }
    }

    /// Which of the numbers, one a scale, that of a group of an output is.
    fn place(&self, group: usize, output: usize) -> usize {
        match self.scales.len() == self.groups {
            true => group,
            false => group * self.outputs() + output,
        }
    }

    /// The codes of an output; `values` is room for its floats.
    pub(crate) fn codes(&self, output: usize, values: &mut Vec<f32>, codes: &mut [i8]) {
        if matches!(self.coding, Coding::Stored) {
            return self.tensor.codes(output, codes);
        }
        values.resize(codes.len(), 0.0);
        self.tensor.row(output, values);
        let size = codes.len() / self.groups;
        let sign = |w: f32| i8::from(w > 0.0) - i8::from(w < 0.0);
        for (group, (codes, values)) in codes.chunks_mut(size).zip(values.chunks(size)).enumerate()
        {
            let place = self.place(group, output);
            let pairs = codes.iter_mut().zip(values);
            match &self.coding {
                Coding::Stored => {}
                Coding::Signs => pairs.for_each(|(code, &w)| *code = sign(w)),
                Coding::Rules(rules) => {
                    let rule = rules[place];
                    pairs.for_each(|(code, &w)| *code = rule.code(w));
                }
                Coding::BinaryPaper(centers) => {
                    pairs.for_each(|(code, w)| *code = if *w > centers[place] { 1 } else { -1 });
                }
            }
        }
    }

    /// Number of codes that are zero.
    pub(crate) fn zeros(&self) -> usize {
        let room = || (Vec::new(), vec![0; self.inputs()]);
        let zeros = (0..self.outputs()).into_par_iter().map_init(room, |(values, codes), row| {
            self.codes(row, values, codes);
            codes.iter().filter(|&&code| code == 0).count()
        });
        zeros.sum()
    }

    /// Latent weights `[outputs, inputs]` whose quantisation is these codes and, within the
    /// rounding of its mean, this scale. For the ternary quantiser, whose scale is the mean
    /// magnitude: zeros count in it, so that the others have to be larger than the scale.
    pub(crate) fn to_latent(&self) -> Result<Vec<f32>, FormatError> {
        let weights = self.inputs() * self.outputs();
        let ones = weights - self.zeros();
        let scale = match self.one_scale() {
            Some(scale) if f64::from(scale) >= SCALE_EPS => f64::from(scale),
            _ => {
                let reason = "has a scale that latent weights cannot have";
                return Err(FormatError::tensor(self.tensor.name(), reason));
            }
        };
        let level = (scale * weights as f64 / ones.max(1) as f64) as f32;
        let mut latent = vec![0.0; weights];
        latent.par_chunks_mut(self.inputs()).enumerate().for_each_init(
            || (Vec::new(), vec![0; self.inputs()]),
            |(values, codes), (row, out)| {
                self.codes(row, values, codes);
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = f32::from(*code) * level;
                }
            },
        );
        Ok(latent)
    }
}

/// Codes by rules, and the scales of these.
fn by_rules(rules: impl Iterator<Item = CodeRule>) -> (Coding, Vec<f32>) {
    let rules: Vec<CodeRule> = rules.collect();
    let scales = rules.iter().map(|rule| rule.scale).collect();
    (Coding::Rules(rules), scales)
}

/// Packs linears of the same inputs, the outputs of one after those of the other.
pub(crate) fn pack(parts: &[TernaryRows<'_>], bias: Option<Vec<f32>>) -> TernaryMatrix {
    let rows: Vec<(&TernaryRows<'_>, usize)> = parts
        .iter()
        .flat_map(|part| (0..part.outputs()).map(move |output| (part, output)))
        .collect();
    let (inputs, groups) = (parts[0].inputs(), parts[0].groups);
    let fill = |row: usize, codes: &mut [i8]| {
        let (part, output) = rows[row];
        ROOM.with_borrow_mut(|values| part.codes(output, values, codes));
    };
    let scale = |group, row: usize| {
        let (part, output) = rows[row];
        part.scales[part.place(group, output)]
    };
    TernaryMatrix::from_rows(inputs, rows.len(), groups, fill, scale, bias)
}

thread_local! {
    /// Room for the floats of a row.
    static ROOM: std::cell::RefCell<Vec<f32>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Checks that every two bits of stored codes are one.
fn check_codes(tensor: &TensorView<'_>) -> Result<(), FormatError> {
    let is_bad = |byte: &u8| byte & byte >> 1 & 0b01_01_01_01 != 0;
    let bytes = tensor.bytes();
    let bad = match tensor.encoding() {
        Encoding::Strided => bytes.par_iter().any(is_bad),
        Encoding::I2S => bytes[..bytes.len() - 32].par_iter().any(is_bad),
        // Behind the codes of a block stands its scale.
        Encoding::Tq2_0 => bytes.par_chunks(66).any(|block| block[..64].iter().any(is_bad)),
        _ => false,
    };
    match bad {
        true => Err(FormatError::tensor(tensor.name(), "holds bits that are no ternary code")),
        false => Ok(()),
    }
}

/// The one magnitude of the floats that are not zero; `None` if all are.
fn magnitude(tensor: &TensorView<'_>) -> Result<Option<f32>, FormatError> {
    let mut magnitude = None;
    let mut values = vec![0.0f32; tensor.columns()];
    for row in 0..tensor.rows() {
        tensor.row(row, &mut values);
        for value in values.iter().map(|value| value.abs()).filter(|&value| value != 0.0) {
            if *magnitude.get_or_insert(value) != value {
                let reason = "holds floats of several magnitudes, ternary ones are expected";
                return Err(FormatError::tensor(tensor.name(), reason));
            }
        }
    }
    Ok(magnitude)
}
