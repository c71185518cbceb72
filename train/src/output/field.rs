use super::{
    Report, Split,
    metric::{
        Format::{Fixed, Percent, Scientific, Shortest},
        Metric,
    },
};

/// A metric of a run: what of it is written down and shown is declared in [`Field::metric`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// [`Report::loss`]
    Loss,
    /// `exp` of [`Report::loss`]
    Perplexity,
    /// [`Report::bits_per_byte`]
    BitsPerByte,
    /// [`Report::ema_loss`]
    AverageLoss,
    /// [`Report::learning_rate`]
    LearningRate,
    /// [`Report::weight_decay`]
    WeightDecay,
    /// [`Report::gradient_norm`]
    GradientNorm,
    /// [`Report::tokens_per_second`]
    TokensPerSecond,
    /// [`Report::utilization`]
    Utilization,
    /// [`Report::resident_bytes`]
    Memory,
    /// [`Quantization::zeros`](super::Quantization::zeros)
    Zeros,
    /// [`Quantization::flip_rate`](super::Quantization::flip_rate)
    FlipRate,
    /// [`Quantization::scale`](super::Quantization::scale)
    Scale,
    /// [`Quantization::near_threshold`](super::Quantization::near_threshold)
    NearThreshold,
    /// [`Quantization::saturated`](super::Quantization::saturated)
    Saturated,
    /// [`Report::tokens_left`]
    TokensLeft,
    /// [`Report::seconds_left`]
    TimeLeft,
}

impl Field {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 17] = [
        Self::Loss,
        Self::Perplexity,
        Self::BitsPerByte,
        Self::AverageLoss,
        Self::LearningRate,
        Self::WeightDecay,
        Self::GradientNorm,
        Self::TokensPerSecond,
        Self::Utilization,
        Self::Memory,
        Self::Zeros,
        Self::FlipRate,
        Self::Scale,
        Self::NearThreshold,
        Self::Saturated,
        Self::TokensLeft,
        Self::TimeLeft,
    ];
    /// Those of a loss, of training and validation, that are shown.
    pub const LOSS: [Self; 3] = [Self::Loss, Self::BitsPerByte, Self::Perplexity];
    /// Those of every run that are looked at most.
    pub const FIRST: [Self; 4] =
        [Self::Loss, Self::BitsPerByte, Self::TokensPerSecond, Self::TimeLeft];
    /// The others of every run that are shown.
    pub const REST: [Self; 6] = [
        Self::Perplexity,
        Self::LearningRate,
        Self::WeightDecay,
        Self::GradientNorm,
        Self::Memory,
        Self::TokensLeft,
    ];
    /// Those of quantised weights.
    pub const QUANTIZATION: [Self; 5] =
        [Self::Zeros, Self::FlipRate, Self::Scale, Self::NearThreshold, Self::Saturated];

    fn metric(self) -> Metric {
        // What most of them have.
        let training = Metric {
            name: "",
            value: |_| f64::NAN,
            unit: 1.0,
            format: Shortest,
            columns: [None; 2],
            tags: [None; 2],
            about: "",
        };
        match self {
            Self::Loss => Metric {
                name: "Loss",
                value: |report| report.loss,
                format: Fixed(4),
                columns: [Some("train_loss"), Some("validation_loss")],
                tags: [Some("loss/train"), Some("loss/validation")],
                about: "mean over the interval's steps, or over the validation windows, in nats \
                        per token",
                ..training
            },
            Self::Perplexity => Metric {
                name: "Perplexity",
                value: |report| report.loss.exp(),
                format: Fixed(2),
                columns: [None, Some("validation_perplexity")],
                tags: [Some("perplexity/train"), Some("perplexity/validation")],
                about: "exp(nats per token)",
                ..training
            },
            Self::BitsPerByte => Metric {
                name: "Bits per byte",
                value: |report| report.bits_per_byte,
                format: Fixed(4),
                columns: [None, Some("validation_bits_per_byte")],
                tags: [None, Some("bits_per_byte/validation")],
                about: "nats / (ln 2 · bytes): comparable across tokenizers",
                ..training
            },
            Self::AverageLoss => Metric {
                value: |report| report.ema_loss,
                format: Fixed(4),
                columns: [None, Some("ema_validation_loss")],
                tags: [None, Some("loss/validation_ema")],
                about: "validation loss of the moving average of the weights, with `train.ema`",
                ..training
            },
            Self::LearningRate => Metric {
                name: "Learning rate",
                value: |report| report.learning_rate,
                format: Scientific,
                columns: [Some("learning_rate"), None],
                tags: [Some("optimizer/learning_rate"), None],
                about: "that of the interval's last step",
                ..training
            },
            Self::WeightDecay => Metric {
                name: "Weight decay",
                value: |report| report.weight_decay,
                columns: [Some("weight_decay"), None],
                tags: [Some("optimizer/weight_decay"), None],
                about: "that of the interval's last step",
                ..training
            },
            Self::GradientNorm => Metric {
                name: "Gradient norm",
                value: |report| report.gradient_norm,
                format: Fixed(3),
                columns: [Some("gradient_norm"), None],
                tags: [Some("optimizer/gradient_norm"), None],
                about: "of all gradients together in the last step, before clipping",
                ..training
            },
            Self::TokensPerSecond => Metric {
                name: "Tokens per second",
                value: |report| report.tokens_per_second,
                format: Fixed(0),
                columns: [Some("tokens_per_second"), None],
                tags: [Some("speed/tokens_per_second"), None],
                about: "tokens of the interval / seconds of its steps",
                ..training
            },
            Self::Utilization => Metric {
                name: "FLOPs utilization",
                value: |report| report.utilization,
                format: Percent,
                columns: [Some("model_flops_utilization"), None],
                tags: [Some("speed/model_flops_utilization"), None],
                about: "share of what the device could do; below",
                ..training
            },
            Self::Memory => Metric {
                name: "Memory (MiB)",
                value: |report| report.resident_bytes,
                unit: 1_048_576.0,
                format: Fixed(0),
                columns: [Some("resident_bytes"), None],
                tags: [Some("speed/resident_bytes"), None],
                about: "main memory that the process holds; of a GPU's memory it says nothing",
            },
            Self::Zeros => Metric {
                name: "Zeros",
                value: |report| report.quantization.zeros,
                format: Fixed(3),
                columns: [Some("zeros"), None],
                tags: [Some("quantization/zeros"), None],
                about: "this and the next four: below, for all quantised linears together",
                ..training
            },
            Self::FlipRate => Metric {
                name: "Flips per step",
                value: |report| report.quantization.flip_rate,
                format: Scientific,
                columns: [Some("flip_rate"), None],
                tags: [Some("quantization/flip_rate"), None],
                about: "weights whose code changed",
                ..training
            },
            Self::Scale => Metric {
                name: "Weight scale",
                value: |report| report.quantization.scale,
                format: Fixed(4),
                columns: [Some("scale"), None],
                tags: [Some("quantization/scale"), None],
                about: "γ",
                ..training
            },
            Self::NearThreshold => Metric {
                name: "Near threshold",
                value: |report| report.quantization.near_threshold,
                format: Fixed(3),
                columns: [Some("near_threshold"), None],
                tags: [Some("quantization/near_threshold"), None],
                about: "weights that may flip next",
                ..training
            },
            Self::Saturated => Metric {
                name: "Saturated inputs",
                value: |report| report.quantization.saturated,
                format: Fixed(4),
                columns: [Some("saturated"), None],
                tags: [Some("quantization/saturated"), None],
                about: "codes of inputs at ±127",
                ..training
            },
            Self::TokensLeft => Metric {
                name: "Tokens left",
                value: |report| report.tokens_left,
                format: Fixed(0),
                about: "of `train.steps`",
                ..training
            },
            Self::TimeLeft => Metric {
                name: "Minutes left",
                value: |report| report.seconds_left,
                unit: 60.0,
                format: Fixed(1),
                about: "at the speed of the interval; at most what `train.minutes` leaves",
                ..training
            },
        }
    }

    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// The name on the dashboard.
    pub fn name(self) -> &'static str {
        self.metric().name
    }

    /// The name in TensorBoard, if it is there.
    pub fn tag(self, split: Split) -> Option<&'static str> {
        self.metric().tags[split as usize]
    }

    /// The value in a report, as files hold it; NaN if it was not measured.
    pub fn recorded(self, report: &Report) -> f64 {
        (self.metric().value)(report)
    }

    /// The value in a report, in the unit in which it is shown.
    pub fn of(self, report: &Report) -> f64 {
        self.recorded(report) / self.metric().unit
    }

    /// The value as it is shown.
    pub fn format(self, value: f64) -> String {
        self.metric().format.show(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::output::{MetricsRow, Quantization};

    #[test]
    fn values_are_shown_in_their_units() {
        let report = Report {
            resident_bytes: 3e6,
            seconds_left: 90.0,
            utilization: 0.345,
            weight_decay: 0.1,
            quantization: Quantization { flip_rate: 1.25e-4, ..Quantization::EMPTY },
            ..Report::EMPTY
        };
        let shown = [
            (Field::Memory, "3"),
            (Field::TimeLeft, "1.5"),
            (Field::Utilization, "34.5 %"),
            (Field::WeightDecay, "0.1"),
            (Field::FlipRate, "1.25e-4"),
        ];
        for (field, text) in shown {
            assert_eq!(field.show(&report), text);
        }
        assert_eq!(Field::Memory.recorded(&report), 3e6);
    }

    /// A report in which all values differ.
    fn report() -> Report {
        Report {
            step: 1,
            tokens: 2,
            seconds: 3.0,
            loss: 4.0,
            bits_per_byte: 5.0,
            ema_loss: 6.0,
            learning_rate: 7.0,
            weight_decay: 8.0,
            gradient_norm: 9.0,
            tokens_per_second: 10.0,
            utilization: 11.0,
            resident_bytes: 12.0,
            tokens_left: 13.0,
            seconds_left: 14.0,
            quantization: Quantization {
                zeros: 15.0,
                flip_rate: 16.0,
                scale: 17.0,
                near_threshold: 18.0,
                saturated: 19.0,
            },
            blocks: Vec::new(),
        }
    }

    #[test]
    fn the_table_has_the_columns_and_their_values() {
        let report = report();
        let rows = [
            (Split::Training, MetricsRow::training(&report)),
            (Split::Validation, MetricsRow::validation(&report)),
        ];
        for (split, row) in rows {
            let row = serde_json::to_value(row).unwrap();
            let cells = row.as_object().unwrap();
            let mut known = BTreeSet::from(["step", "tokens", "seconds"]);
            for field in Field::ALL {
                let columns = field.metric().columns;
                known.extend(columns.into_iter().flatten());
                if let Some(column) = columns[split as usize] {
                    assert_eq!(cells[column].as_f64(), Some(field.recorded(&report)), "{column}");
                }
                if let Some(column) = columns[1 - split as usize] {
                    assert!(cells[column].is_null(), "{column}");
                }
            }
            assert_eq!(cells.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
        }
    }

    #[test]
    fn the_documents_have_every_metric() {
        let list = |names: [Option<&str>; 2]| {
            let names: Vec<String> =
                names.into_iter().flatten().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        let text = include_str!("../../../docs/metrics.md");
        for field in Field::ALL {
            let Metric { name, columns, tags, about, .. } = field.metric();
            let row = format!("| {} | {} | {name} | {about} |", list(columns), list(tags));
            let row = row.replace("|  |", "| |").replace("|  |", "| |");
            assert!(text.lines().any(|line| line == row), "docs/metrics.md has no line\n{row}");
        }
    }
}
