use super::key::{not_empty, section, within};

section! {
    /// `[distill]`: learning from another model's predictions, beside the text.
    pub struct DistillSection in "distill" {
        /// Model folder of the teacher. Default: none.
        teacher: Option<String> = None, Safe, not_empty;
        /// Share of the teacher's part in the loss; the rest is the text's.
        weight: f64 = 0.5, Experiment, within(0.0..=1.0);
        /// Divides the logits of both models before they are compared; the loss has its square.
        temperature: f64 = 2.0, Experiment, within(1e-3..=1e3);
    }
}
