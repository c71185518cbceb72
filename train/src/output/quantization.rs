use bitnet::instruments::Instruments;

/// What the instruments say at the end of a log interval, of some linears together. NaN is what was
/// not measured.
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

    /// Instruments that were read `steps` steps after those before.
    pub fn new(instruments: &Instruments, steps: u64) -> Self {
        Self {
            zeros: instruments.zeros,
            flip_rate: instruments.flips.map_or(f64::NAN, |flips| flips / steps as f64),
            scale: instruments.scale,
            near_threshold: instruments.near_threshold,
            saturated: instruments.input.map_or(f64::NAN, |input| input.saturated),
        }
    }
}
