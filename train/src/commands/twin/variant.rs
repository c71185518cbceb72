use anyhow::Context;
use bitnet::quant::WeightQuant;

use crate::config::Config;

/// A model of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The configuration with ternary weights.
    Ternary,
    /// The same in full precision.
    FullPrecision,
    /// The same with binary weights.
    Binary,
    /// Ternary, with twice the width, heads and feed-forward width.
    Double,
}

impl Variant {
    /// What its runs and its row are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ternary => "ternary",
            Self::FullPrecision => "full-precision",
            Self::Binary => "binary",
            Self::Double => "double-ternary",
        }
    }

    /// The run of this variant.
    ///
    /// # Errors
    /// If the model's sizes are out of range.
    pub fn configure(self, base: &Config) -> anyhow::Result<Config> {
        let (lr, twin) = (base.train.lr, &base.twin);
        let lr = match self {
            Self::Ternary => lr,
            Self::FullPrecision => twin.full_precision_lr.unwrap_or(lr / 2.0),
            Self::Binary => twin.binary_lr.unwrap_or(lr),
            Self::Double => twin.double_lr.unwrap_or(lr),
        };
        let mut config = base.clone().with_lr(lr);
        let model = &mut config.model;
        model.quant = match self {
            Self::Ternary | Self::Double => WeightQuant::Ternary,
            Self::FullPrecision => WeightQuant::None,
            Self::Binary => WeightQuant::Binary,
        };
        if self == Self::FullPrecision {
            // It is what the others are compared with, and may be their teacher.
            config.distill.teacher = None;
        }
        let model = &mut config.model;
        if self == Self::Double {
            model.dim *= 2;
            model.heads *= 2;
            for size in [&mut model.kv_heads, &mut model.ff_dim] {
                *size = size.map(|size| size * 2);
            }
        }
        config.resolve().with_context(|| self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_in_what_they_are_named_for() {
        let mut base = Config::default();
        base.train.second_lr = base.train.lr / 4.0;
        base.twin.binary_lr = Some(8e-3);
        let base = base.resolve().unwrap();
        let of = |variant: Variant| variant.configure(&base).unwrap();
        assert_eq!(of(Variant::Ternary), base);
        let full = of(Variant::FullPrecision);
        assert_eq!((full.train.lr, full.train.second_lr), (1e-3, 2.5e-4));
        assert_eq!(full.model.quant, WeightQuant::None);
        let binary = of(Variant::Binary);
        assert_eq!((binary.train.lr, binary.train.second_lr), (8e-3, 2e-3));
        let double = of(Variant::Double).model;
        assert_eq!((double.dim, double.heads, double.dim_head), (256, 8, Some(32)));
        assert_eq!((double.ff_dim, double.kv_heads), (Some(1024), Some(8)));
        let mut huge = base.clone();
        huge.model.dim = 1 << 40;
        let error = Variant::Double.configure(&huge).unwrap_err();
        assert!(format!("{error:#}").starts_with("double-ternary: model.dim is "), "{error:#}");
    }
}
