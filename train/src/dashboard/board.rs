use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{curve::Curve, keys::Key};
use crate::output::{Field, Report, ReportView, Split};

/// The order in which curves are looked at: two that follow one another may stand on one screen.
const PLOTS: [Field; 14] = [
    Field::Loss,
    Field::GradientNorm,
    Field::FlipRate,
    Field::Zeros,
    Field::TokensPerSecond,
    Field::LearningRate,
    Field::BitsPerByte,
    Field::Scale,
    Field::NearThreshold,
    Field::Saturated,
    Field::Utilization,
    Field::Memory,
    Field::WeightDecay,
    Field::Perplexity,
];

/// How often curves are halved at most.
const CLOSEST: i32 = 10;

/// What stands below the curves, where there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panel {
    /// The newest values.
    Values,
    /// The statistics of each block.
    Blocks,
    /// The newest sample.
    Sample,
}

impl Panel {
    /// In their order.
    pub const ALL: [Self; 3] = [Self::Values, Self::Blocks, Self::Sample];
}

/// What is known of a run.
#[derive(Debug, Default)]
pub struct Board {
    /// What the run is, a line each, the most important first.
    pub facts: Vec<String>,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// What is done instead of a step.
    pub activity: Option<&'static str>,
    /// What has values, in the order of the list.
    pub fields: Vec<Field>,
    /// The newest sample and its step.
    pub sample: Option<(u64, String)>,
    values: HashMap<(Split, Field), String>,
    blocks: HashMap<Field, Vec<String>>,
    curves: HashMap<(Split, Field), Curve>,
    /// Values of the report to come.
    pending: Vec<(Split, Field, f64)>,
    plot: usize,
    /// How often the curves are halved.
    zoom: i32,
    panel: usize,
    /// Counts the changes.
    version: u64,
}

impl Board {
    /// The board of a run of `steps` steps, of which `step` are done.
    pub fn new(facts: Vec<String>, fields: Vec<Field>, step: u64, steps: u64) -> Self {
        Self { facts, fields, step, steps, ..Self::default() }
    }

    /// Adds a report of an earlier session.
    pub fn add(&mut self, split: Split, report: &Report) {
        let fields = match split {
            Split::Training => self.fields.clone(),
            Split::Validation => Field::LOSS.to_vec(),
        };
        for field in fields {
            let value = field.of(report);
            if !value.is_nan() {
                self.take(split, field, value, &field.show(report));
            }
        }
        self.show(split, report.step);
    }

    fn take(&mut self, split: Split, field: Field, value: f64, text: &str) {
        let (total, blocks) = Field::parts(text);
        self.values.insert((split, field), total.into());
        if !blocks.is_empty() {
            self.blocks.insert(field, blocks.into_iter().map(String::from).collect());
        }
        self.pending.push((split, field, value));
    }

    fn show(&mut self, split: Split, step: u64) {
        for (of, field, value) in self.pending.drain(..) {
            if of == split {
                self.curves.entry((split, field)).or_default().push(step, value);
            }
        }
        self.step = self.step.max(step);
        self.version += 1;
    }

    /// The newest value, if there is one.
    pub fn value(&self, split: Split, field: Field) -> Option<&str> {
        self.values.get(&(split, field)).map(String::as_str)
    }

    /// The newest values of the blocks, where the field is one of quantised weights.
    pub fn blocks(&self, field: Field) -> &[String] {
        self.blocks.get(&field).map_or(&[], Vec::as_slice)
    }

    /// Steps and values, of the stretch of steps that is looked at.
    pub fn points(&self, split: Split, field: Field) -> &[(f64, f64)] {
        let points = |split| self.curves.get(&(split, field)).map_or(&[][..], Curve::points);
        let ends = [Split::Training, Split::Validation].map(points);
        let first = ends.iter().filter_map(|points| points.first()).map(|point| point.0);
        let last = ends.iter().filter_map(|points| points.last()).map(|point| point.0);
        let (first, last) = (first.fold(f64::INFINITY, f64::min), last.fold(0.0, f64::max));
        let start = last - (last - first) / f64::from(2).powi(self.zoom);
        let points = points(split);
        &points[points.partition_point(|(step, _)| *step < start)..]
    }

    /// The field whose curve comes `later` after the chosen one.
    pub fn plotted(&self, later: usize) -> Field {
        let plots: Vec<Field> =
            PLOTS.into_iter().filter(|field| self.fields.contains(field)).collect();
        plots.get((self.plot + later) % plots.len().max(1)).copied().unwrap_or(Field::Loss)
    }

    /// The panels that have something, from the chosen one on.
    pub fn panels(&self) -> Vec<Panel> {
        let mut panels: Vec<Panel> = Panel::ALL
            .into_iter()
            .filter(|panel| match panel {
                Panel::Values => true,
                Panel::Blocks => !self.blocks.is_empty(),
                Panel::Sample => self.sample.is_some(),
            })
            .collect();
        let chosen = self.panel % panels.len();
        panels.rotate_left(chosen);
        panels
    }

    /// Changes what is shown as a key says.
    pub fn press(&mut self, key: Key) {
        let plots = PLOTS.iter().filter(|field| self.fields.contains(field)).count().max(1);
        match key {
            Key::Next => self.plot = (self.plot + 1) % plots,
            Key::Previous => self.plot = (self.plot + plots - 1) % plots,
            Key::Closer => self.zoom = (self.zoom + 1).min(CLOSEST),
            Key::Farther => self.zoom = (self.zoom - 1).max(0),
            Key::Panel => self.panel += 1,
            Key::Stop | Key::Redraw => {}
        }
        self.version += 1;
    }

    /// How often it has changed.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// A board with several owners: the run, burn-train's renderer, and the screen.
#[derive(Debug, Clone)]
pub struct SharedBoard(Arc<Mutex<Board>>);

impl SharedBoard {
    /// Shares a board.
    pub fn new(board: Board) -> Self {
        Self(Arc::new(Mutex::new(board)))
    }

    /// The board.
    pub fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many steps are done, and the next one is being done, or something else.
    pub fn at(&self, step: u64, activity: Option<&'static str>) {
        let mut board = self.lock();
        (board.step, board.activity) = (step, activity);
        board.version += 1;
    }

    /// Takes a sample.
    pub fn sample(&self, step: u64, text: &str) {
        let mut board = self.lock();
        board.sample = Some((step, text.into()));
        board.version += 1;
    }
}

impl ReportView for SharedBoard {
    fn take(&mut self, split: Split, field: Field, value: f64, text: &str) {
        self.lock().take(split, field, value, text);
    }

    fn show(&mut self, split: Split, step: u64) {
        self.lock().show(split, step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Quantization;

    #[test]
    fn curves_are_over_steps_and_begin_with_earlier_sessions() {
        let fields = vec![Field::Loss, Field::Zeros];
        let mut board = Board { steps: 100, fields, ..Board::default() };
        let quantization = Quantization { zeros: 0.25, ..Quantization::EMPTY };
        for step in [10, 20] {
            let report = Report { step, loss: 30.0 / step as f64, quantization, ..Report::EMPTY };
            board.add(Split::Training, &report);
        }
        board.add(Split::Validation, &Report { step: 20, loss: 1.25, ..Report::EMPTY });
        let board = SharedBoard::new(board);
        let mut view = board.clone();
        view.take(Split::Training, Field::Loss, 1.0, "1.0000");
        view.take(Split::Training, Field::Zeros, 0.5, "0.500, by block: 0.400 0.600");
        view.show(Split::Training, 30);
        board.at(33, None);

        let board = board.lock();
        let loss = board.points(Split::Training, Field::Loss);
        assert_eq!(loss, [(10.0, 3.0), (20.0, 1.5), (30.0, 1.0)]);
        assert_eq!(board.points(Split::Validation, Field::Loss), [(20.0, 1.25)]);
        assert_eq!(board.value(Split::Training, Field::Zeros), Some("0.500"));
        assert_eq!(board.blocks(Field::Zeros), ["0.400", "0.600"]);
        assert_eq!((board.step, board.value(Split::Validation, Field::Zeros)), (33, None));
    }

    #[test]
    fn keys_go_round() {
        let fields = vec![Field::Loss, Field::GradientNorm, Field::TimeLeft];
        let mut board = Board { fields, ..Board::default() };
        assert_eq!((board.plotted(0), board.plotted(1)), (Field::Loss, Field::GradientNorm));
        board.press(Key::Previous);
        assert_eq!((board.plotted(0), board.plotted(1)), (Field::GradientNorm, Field::Loss));
        board.press(Key::Next);
        assert_eq!(board.plotted(0), Field::Loss);
        assert_eq!(board.panels(), [Panel::Values]);
        board.sample = Some((1, "text".into()));
        board.press(Key::Panel);
        assert_eq!(board.panels(), [Panel::Sample, Panel::Values]);
        board.press(Key::Panel);
        assert_eq!(board.panels()[0], Panel::Values);
        // Without any field there is still a plot to be asked for.
        assert_eq!(Board::default().plotted(1), Field::Loss);
    }
}
