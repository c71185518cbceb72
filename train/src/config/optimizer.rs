use serde::{Deserialize, Serialize};

/// What steps the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW on every parameter.
    AdamW,
    /// Muon on the weights of the linears, AdamW on every other parameter.
    Muon,
}
