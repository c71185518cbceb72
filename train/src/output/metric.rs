use super::Report;

/// What is known of a metric. Names are of log intervals, then of validations.
pub(super) struct Metric {
    /// On the dashboard.
    pub(super) name: &'static str,
    /// The value, as files hold it.
    pub(super) value: fn(&Report) -> f64,
    /// What the value is divided by where it is shown.
    pub(super) unit: f64,
    /// How it is shown.
    pub(super) format: Format,
    /// Columns of `metrics.csv`, which `MetricsRow` declares for serde.
    #[cfg_attr(not(test), allow(dead_code, reason = "compared with those by a test"))]
    pub(super) columns: [Option<&'static str>; 2],
    /// Tags of TensorBoard.
    pub(super) tags: [Option<&'static str>; 2],
    /// What it is, for the table of `docs/metrics.md`.
    #[cfg_attr(not(test), allow(dead_code, reason = "compared with that table by a test"))]
    pub(super) about: &'static str,
}

/// How a value is shown.
pub(super) enum Format {
    /// With so many digits after the point.
    Fixed(usize),
    /// With a power of ten.
    Scientific,
    /// As short as it can be.
    Shortest,
    /// A share.
    Percent,
}

impl Format {
    /// A value as it is shown.
    pub(super) fn show(&self, value: f64) -> String {
        match *self {
            Self::Fixed(digits) => format!("{value:.digits$}"),
            Self::Scientific => format!("{value:.2e}"),
            Self::Shortest => value.to_string(),
            Self::Percent => format!("{:.1} %", 100.0 * value),
        }
    }
}
