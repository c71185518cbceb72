use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use burn_train::{
    LearnerSummary,
    metric::{MetricDefinition, MetricId},
    renderer::{
        EvaluationName, EvaluationProgress, MetricState, MetricsRenderer,
        MetricsRendererEvaluation, MetricsRendererTraining, ProgressType, TrainingProgress,
    },
};
use indicatif::{ProgressBar, ProgressStyle};

use super::Field;

/// Shows a run as one line for each log interval, below it a progress bar where standard error is
/// a terminal. (burn-train's own renderer for pipes prints no values.)
pub struct PlainRenderer {
    bar: ProgressBar,
    /// Fields by the ids that burn-train gave their metrics.
    fields: HashMap<MetricId, Field>,
    training: HashMap<Field, f64>,
    validation: HashMap<Field, f64>,
    started: Instant,
    first_step: u64,
}

/// Prints text between the lines of a [`PlainRenderer`].
#[derive(Clone)]
pub struct PlainPrinter {
    bar: ProgressBar,
    broken: Arc<Mutex<bool>>,
}

impl PlainPrinter {
    /// Prints text, without disturbing the bar. A closed pipe does not stop the training.
    pub fn print(&self, text: &str) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if !*broken {
            *broken = self.bar.suspend(|| writeln!(io::stdout(), "{text}")).is_err();
        }
    }
}

impl PlainRenderer {
    /// A renderer for a run of `steps` steps, of which `done` are behind it.
    pub fn new(done: u64, steps: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:40} step {pos}/{len} {msg}");
        let bar = ProgressBar::new(steps).with_position(done);
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self {
            bar,
            fields: HashMap::new(),
            training: HashMap::new(),
            validation: HashMap::new(),
            started: Instant::now(),
            first_step: done,
        }
    }

    /// A handle for printing between the lines.
    pub fn printer(&self) -> PlainPrinter {
        PlainPrinter { bar: self.bar.clone(), broken: Arc::default() }
    }

    fn update(&mut self, state: MetricState, is_validation: bool) {
        let MetricState::Numeric(entry, value) = state else { return };
        let Some(&field) = self.fields.get(&entry.metric_id) else { return };
        let values = if is_validation { &mut self.validation } else { &mut self.training };
        values.insert(field, value.current());
    }

    /// Time left, as it looks from the steps of this session.
    fn time_left(&self, step: u64) -> String {
        let steps = self.bar.length().unwrap_or(step);
        let done = step.saturating_sub(self.first_step).max(1);
        let seconds =
            self.started.elapsed().as_secs_f64() / done as f64 * steps.saturating_sub(step) as f64;
        let left = Duration::from_secs(seconds as u64).as_secs();
        let (hours, minutes, seconds) = (left / 3600, left / 60 % 60, left % 60);
        if hours > 0 {
            format!("{hours}h{minutes:02}m")
        } else {
            format!("{minutes}m{seconds:02}s")
        }
    }

    /// The values of a log interval. Those that the run does not have are left out, and so are
    /// those of a validation before there was one.
    fn line(&self, step: u64) -> String {
        let mut line = format!("step {step}/{}", self.bar.length().unwrap_or(step));
        let mut add = |values: &HashMap<Field, f64>, field: Field, before: &str, after: &str| {
            if let Some(&value) = values.get(&field) {
                line += &format!("{before}{}{after}", field.format(value));
            }
        };
        let (training, validation) = (&self.training, &self.validation);
        add(training, Field::Loss, " | train ", "");
        add(validation, Field::Loss, " | val ", "");
        add(validation, Field::BitsPerByte, " | bits/byte ", "");
        add(validation, Field::Perplexity, " | ppl ", "");
        add(training, Field::LearningRate, " | lr ", "");
        add(training, Field::WeightDecay, " | wd ", "");
        add(training, Field::GradientNorm, " | grad ", "");
        add(training, Field::Zeros, " | zeros ", "");
        add(training, Field::FlipRate, " | flips ", "");
        add(training, Field::Scale, " | scale ", "");
        add(training, Field::NearThreshold, " | near ", "");
        add(training, Field::Saturated, " | sat ", "");
        add(training, Field::Memory, " | ", " MiB");
        add(training, Field::TokensPerSecond, " | ", " tok/s");
        add(training, Field::Utilization, " (", ")");
        add(training, Field::TokensLeft, " | ", " tokens left");
        line + &format!(" | eta {}", self.time_left(step))
    }
}

impl MetricsRendererTraining for PlainRenderer {
    fn update_train(&mut self, state: MetricState) {
        self.update(state, false);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.update(state, true);
    }

    fn render_train(&mut self, item: TrainingProgress, _indicators: Vec<ProgressType>) {
        let step = item.iteration.unwrap_or_default() as u64;
        self.bar.set_position(step);
        let line = self.line(step);
        self.printer().print(&line);
    }

    fn render_valid(&mut self, item: TrainingProgress, _indicators: Vec<ProgressType>) {
        let step = item.iteration.unwrap_or_default() as u64;
        let show = |field: Field| self.validation.get(&field).map(|&value| field.format(value));
        let [loss, bits, perplexity] = Field::LOSS.map(show);
        if let (Some(loss), Some(bits), Some(perplexity)) = (loss, bits, perplexity) {
            let line = format!(
                "step {step} | validation {loss} nats/token | {bits} bits/byte | ppl {perplexity}"
            );
            self.printer().print(&line);
        }
    }

    fn on_train_end(
        &mut self,
        _summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.bar.finish_and_clear();
        Ok(())
    }
}

impl MetricsRendererEvaluation for PlainRenderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _indicators: Vec<ProgressType>) {}
}

impl MetricsRenderer for PlainRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        if let Some(field) = Field::named(&definition.name) {
            self.fields.insert(definition.metric_id, field);
        }
    }
}
