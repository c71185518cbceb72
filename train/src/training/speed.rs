use std::time::Duration;

use bitnet::speed::matmul_peak;
use burn::tensor::backend::Backend;

use crate::config::Config;

/// How long matrix products are measured, about.
const BUDGET: Duration = Duration::from_millis(300);

/// What the speed of a training is measured against.
#[derive(Debug, Clone, Default)]
pub struct Speed {
    /// Floating-point operations of a token in training.
    pub flops_per_token: f64,
    /// The highest rate of matrix products, in floating-point operations per second, if it was
    /// measured.
    pub matmul_peak: Option<f64>,
}

impl Speed {
    /// Counts the operations of a model with `vocabulary` tokens, and measures products as those
    /// of its feed-forward network: in the run's precision, on as many threads as there are
    /// workers.
    pub fn measure<B: Backend>(config: &Config, vocabulary: usize, device: &B::Device) -> Self {
        let Config { train, backend, log, .. } = config;
        let model = config.model.transformer(vocabulary);
        let shape = [train.batch * model.max_seq_len, model.dim, model.ff_dim];
        let measure =
            || matmul_peak::<B>(shape, backend.precision, config.workers(), BUDGET, device);
        Self {
            flops_per_token: model.training_flops_per_token(model.max_seq_len),
            matmul_peak: log.ceiling.then(measure),
        }
    }

    /// Model FLOPs utilisation: the operations of a speed, as a share of the peak. NaN if that
    /// was not measured.
    pub fn utilization(&self, tokens_per_second: f64) -> f64 {
        self.matmul_peak.map_or(f64::NAN, |peak| tokens_per_second * self.flops_per_token / peak)
    }

    /// The peak, as a line.
    pub fn describe(&self) -> Option<String> {
        let peak = self.matmul_peak?;
        Some(format!(
            "matrix products: {:.1} GFLOP/s, {:.0} tokens/s of this model at most",
            peak / 1e9,
            peak / self.flops_per_token
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilization_is_a_share_of_the_peak() {
        let speed = Speed { flops_per_token: 6e6, matmul_peak: Some(60e9) };
        assert_eq!(speed.utilization(5000.0), 0.5);
        assert!(Speed { matmul_peak: None, ..speed }.utilization(5000.0).is_nan());
    }
}
