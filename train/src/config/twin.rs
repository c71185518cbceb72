use serde::{Deserialize, Serialize};

/// `[twin]`: learning rates of the models that `train twin` trains beside the ternary one, which
/// has `train.lr`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwinSection {
    /// Of the full-precision model. Default: half of `train.lr`.
    pub full_precision_lr: Option<f64>,
    /// Of the binary model. Default: `train.lr`.
    pub binary_lr: Option<f64>,
    /// Of the ternary model of twice the width. Default: `train.lr`.
    pub double_lr: Option<f64>,
}

impl TwinSection {
    /// The keys that have a value, and it.
    pub(super) fn rates(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("twin.full_precision_lr", self.full_precision_lr),
            ("twin.binary_lr", self.binary_lr),
            ("twin.double_lr", self.double_lr),
        ]
        .into_iter()
        .filter_map(|(key, rate)| Some((key, rate?)))
    }
}
