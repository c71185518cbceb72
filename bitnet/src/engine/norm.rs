use crate::packed::sum_squares;

/// A norm before a product, if there is one: [`RmsNorm`](crate::nn::RmsNorm) or
/// [`InnerNorm::Rms`](crate::nn::InnerNorm::Rms).
#[derive(Debug, Clone)]
pub(super) struct Norm {
    kind: Kind,
    eps: f32,
}

#[derive(Debug, Clone)]
enum Kind {
    None,
    Rms,
    Gains(Vec<f32>),
}

impl Norm {
    pub(super) fn none() -> Self {
        Self { kind: Kind::None, eps: 0.0 }
    }

    pub(super) fn rms(eps: f64) -> Self {
        Self { kind: Kind::Rms, eps: eps as f32 }
    }

    pub(super) fn with_gains(gains: Vec<f32>, eps: f64) -> Self {
        Self { kind: Kind::Gains(gains), eps: eps as f32 }
    }

    /// What a file holds of it.
    pub(super) fn array(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Gains(gains) => Some(bytemuck::cast_slice(gains)),
            _ => None,
        }
    }

    /// Normalises one row.
    pub(super) fn apply(&self, x: &mut [f32]) {
        if matches!(self.kind, Kind::None) {
            return;
        }
        let mean = sum_squares(x) / x.len() as f32;
        let factor = (mean + self.eps).sqrt().recip();
        match &self.kind {
            Kind::Gains(gains) => {
                for (x, gain) in x.iter_mut().zip(gains) {
                    *x = *x * factor * gain;
                }
            }
            _ => x.iter_mut().for_each(|x| *x *= factor),
        }
    }
}
