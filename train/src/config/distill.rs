use serde::{Deserialize, Serialize};

/// `[distill]`: learning from another model's predictions, beside the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillSection {
    /// Model folder of the teacher. Default: none.
    pub teacher: Option<String>,
    /// Share of the teacher's part in the loss; the rest is the text's.
    pub weight: f64,
    /// Divides the logits of both models before they are compared.
    pub temperature: f64,
}

impl Default for DistillSection {
    fn default() -> Self {
        Self { teacher: None, weight: 0.5, temperature: 2.0 }
    }
}
