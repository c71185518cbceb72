use bitnet::quant_stats::QuantStats;

/// Statistics of some quantised linears together at the end of a log interval. NaN is what was not
/// measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantization {
    /// Share of the quantised weights that are 0.
    pub zeros: f64,
    /// Share of them whose code changed in the interval, for each of its steps.
    pub flip_rate: f64,
    /// Mean scale γ.
    pub scale: f64,
    /// Share of the latent weights near a rounding threshold.
    pub near_threshold: f64,
    /// Share of the activations' codes at ±127.
    pub saturated: f64,
}

impl Quantization {
    /// Nothing measured.
    pub const EMPTY: Self = Self {
        zeros: f64::NAN,
        flip_rate: f64::NAN,
        scale: f64::NAN,
        near_threshold: f64::NAN,
        saturated: f64::NAN,
    };

    /// Statistics that were measured `steps` steps after those before.
    pub fn new(stats: &QuantStats, steps: u64) -> Self {
        Self {
            zeros: stats.zeros,
            flip_rate: stats.flips.map_or(f64::NAN, |flips| flips / steps as f64),
            scale: stats.scale,
            near_threshold: stats.near_threshold,
            saturated: stats.input.map_or(f64::NAN, |input| input.saturated),
        }
    }
}
