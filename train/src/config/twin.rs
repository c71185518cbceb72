use super::key::{above, section};

section! {
    /// `[twin]`: learning rates of the models that `train twin` trains beside the ternary one,
    /// which has `train.lr`.
    pub struct TwinSection in "twin" {
        /// Of the full-precision model. Default: half of `train.lr`.
        full_precision_lr: Option<f64> = None, Safe, above(0.0);
        /// Of the binary model. Default: `train.lr`.
        binary_lr: Option<f64> = None, Safe, above(0.0);
        /// Of the ternary model of twice the width. Default: `train.lr`.
        double_lr: Option<f64> = None, Safe, above(0.0);
    }
}
