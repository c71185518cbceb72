use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Field, ReportView, Split, text_lines::wrap};
use crate::terminal;

/// Columns that a line has at most.
pub const WIDTH: usize = 100;

/// What a line of a log interval has, in its order: what is of which text, and what stands before
/// and after the value. The number says how early a part is left out where there is no room for
/// all.
const PARTS: [(Split, Field, &str, &str, u8); 8] = [
    (Split::Training, Field::Loss, " | train ", "", 9),
    (Split::Validation, Field::Loss, " | val ", "", 8),
    (Split::Validation, Field::BitsPerByte, " | bits/byte ", "", 5),
    (Split::Training, Field::LearningRate, " | lr ", "", 4),
    (Split::Training, Field::GradientNorm, " | grad ", "", 3),
    (Split::Training, Field::Zeros, " | zeros ", "", 1),
    (Split::Training, Field::FlipRate, " | flips ", "", 2),
    (Split::Training, Field::TokensPerSecond, " | ", " tok/s", 6),
];

/// Shows a run as one line for each log interval, below it a progress bar where standard error is
/// a terminal.
pub struct PlainLines {
    printer: PlainPrinter,
    values: HashMap<(Split, Field), f64>,
    started: Instant,
    steps: u64,
    first_step: u64,
}

/// Prints text between the lines of [`PlainLines`].
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

    /// Prints a text that a model made: in lines that fit, and without what a terminal obeys.
    pub fn sample(&self, step: u64, text: &str) {
        let lines = wrap(text, WIDTH).join("\n");
        self.print(&format!("--- sample at step {step}\n{lines}\n---"));
    }
}

impl PlainLines {
    /// Lines of a run of `steps` steps, of which `done` are behind it.
    pub fn new(done: u64, steps: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:40} step {pos}/{len} {msg}");
        let bar = match terminal::is_dumb() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(steps).with_position(done),
        };
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self {
            printer: PlainPrinter { bar, broken: Arc::default() },
            values: HashMap::new(),
            started: Instant::now(),
            steps,
            first_step: done,
        }
    }

    /// A handle for printing between the lines.
    pub fn printer(&self) -> PlainPrinter {
        self.printer.clone()
    }

    /// Time left, as it looks from the steps of this session.
    fn time_left(&self, step: u64) -> String {
        let done = step.saturating_sub(self.first_step).max(1);
        let left = self.steps.saturating_sub(step) as f64;
        let seconds = self.started.elapsed().as_secs_f64() / done as f64 * left;
        let left = Duration::from_secs(seconds as u64).as_secs();
        let (hours, minutes, seconds) = (left / 3600, left / 60 % 60, left % 60);
        if hours > 0 {
            format!("{hours}h{minutes:02}m")
        } else {
            format!("{minutes}m{seconds:02}s")
        }
    }

    /// The values of a log interval. Those that the run does not have are left out, so are those of
    /// a validation before there was one, and then as many as the width asks for.
    fn line(&self, step: u64) -> String {
        let start = format!("step {step}/{}", self.steps);
        let end = format!(" | eta {}", self.time_left(step));
        let mut parts: Vec<(u8, String)> = PARTS
            .iter()
            .filter_map(|&(split, field, before, after, weight)| {
                let value = field.format(*self.values.get(&(split, field))?);
                Some((weight, format!("{before}{value}{after}")))
            })
            .collect();
        let width = |parts: &[(u8, String)]| -> usize {
            parts.iter().map(|(_, text)| text.chars().count()).sum()
        };
        let room = WIDTH.saturating_sub(start.len() + end.len());
        while width(&parts) > room {
            let Some(least) = parts.iter().map(|(weight, _)| *weight).min() else { break };
            parts.retain(|(weight, _)| *weight > least);
        }
        start + &parts.into_iter().map(|(_, text)| text).collect::<String>() + &end
    }
}

impl ReportView for PlainLines {
    fn take(&mut self, split: Split, field: Field, value: f64, _text: &str) {
        self.values.insert((split, field), value);
    }

    fn show(&mut self, split: Split, step: u64) {
        match split {
            Split::Training => {
                self.printer.bar.set_position(step);
                self.printer.print(&self.line(step));
            }
            Split::Validation => {
                let show = |field: Field| {
                    self.values.get(&(split, field)).map(|&value| field.format(value))
                };
                if let [Some(loss), Some(bits), Some(perplexity)] = Field::LOSS.map(show) {
                    self.printer.print(&format!(
                        "step {step} | validation {loss} nats/token | {bits} bits/byte | ppl \
                         {perplexity}"
                    ));
                }
            }
        }
    }

    fn end(&mut self) {
        self.printer.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_keep_what_matters() {
        let mut lines = PlainLines::new(0, 2000);
        let values = [
            (Split::Training, Field::Loss, 1.9234),
            (Split::Training, Field::LearningRate, 3.9e-3),
            (Split::Training, Field::GradientNorm, 0.51),
            (Split::Training, Field::Zeros, 0.312),
            (Split::Training, Field::FlipRate, 1.2e-4),
            (Split::Training, Field::TokensPerSecond, 19_023.0),
        ];
        for (split, field, value) in values {
            lines.take(split, field, value, "");
        }
        let line = lines.line(2000);
        assert_eq!(
            line,
            "step 2000/2000 | train 1.9234 | lr 3.90e-3 | grad 0.510 | flips 1.20e-4 | 19023 \
             tok/s | eta 0m00s"
        );
        // Parts go in the order of their weights.
        lines.take(Split::Validation, Field::Loss, 123.4567, "");
        lines.take(Split::Validation, Field::BitsPerByte, 178.1234, "");
        lines.steps = 10_000_000;
        let line = lines.line(9_999_999);
        assert!(line.chars().count() <= WIDTH, "{line}");
        assert!(line.contains(" | train 1.9234 | val 123.4567 | bits/byte 178.1234 | 19023 tok/s"));
        assert!(!line.contains("lr") && !line.contains("zeros"), "{line}");
    }
}
