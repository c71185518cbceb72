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

    fn line(&self, step: u64) -> String {
        let show = |values: &HashMap<Field, f64>, field: Field| match values.get(&field) {
            Some(&value) => field.format(value),
            None => "-".into(),
        };
        format!(
            "step {step}/{} | train {} | val {} | bits/byte {} | lr {} | grad {} | {} tok/s | eta {}",
            self.bar.length().unwrap_or(step),
            show(&self.training, Field::Loss),
            show(&self.validation, Field::Loss),
            show(&self.validation, Field::BitsPerByte),
            show(&self.training, Field::LearningRate),
            show(&self.training, Field::GradientNorm),
            show(&self.training, Field::TokensPerSecond),
            self.time_left(step),
        )
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
        if let (Some(loss), Some(bits)) = (show(Field::Loss), show(Field::BitsPerByte)) {
            let line = format!("step {step} | validation {loss} nats/token | {bits} bits/byte");
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
        let field = Field::ALL.into_iter().find(|field| field.name() == definition.name);
        if let Some(field) = field {
            self.fields.insert(definition.metric_id, field);
        }
    }
}
