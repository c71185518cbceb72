use crate::cpu::norm;

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

    /// Its gains, as a file holds them.
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
        let gains = match &self.kind {
            Kind::Gains(gains) => Some(&gains[..]),
            _ => None,
        };
        norm::normalize_row(x, gains, self.eps);
    }
}
