//! Where a run shows itself, and what it says at its beginning and at its end.

pub mod facts;
pub mod next_commands;

use super::{input::text::Text, state::State};
use crate::{
    config::Config,
    dashboard::{Board, Dashboard},
    output::{Field, MetricsRow, PlainLines, PlainPrinter, ReportView},
    run_folder::RunFolder,
    terminal,
};

/// Where a run shows itself.
pub enum Display {
    /// On a whole screen.
    Dashboard(Dashboard),
    /// In lines.
    Lines(PlainPrinter),
}

/// What a display shows from the start.
pub struct Shown<'a> {
    /// The run.
    pub config: &'a Config,
    /// Its text.
    pub text: &'a Text,
    /// Its folder, with what earlier sessions wrote down.
    pub folder: &'a RunFolder,
    /// Where it stands.
    pub state: &'a State,
    /// What it is, in lines.
    pub facts: Vec<String>,
    /// What is shown of its reports.
    pub fields: Vec<Field>,
}

impl Shown<'_> {
    /// The dashboard where there is a screen for it, unless `plain`; else lines. With it what
    /// burn-train's renderer hands the reports to.
    pub fn open(&self, plain: bool) -> (Display, Box<dyn ReportView>) {
        if !plain
            && terminal::has_screen()
            && let Some(dashboard) = Dashboard::open(self.board())
        {
            let board = dashboard.board();
            return (Display::Dashboard(dashboard), Box::new(board));
        }
        for fact in &self.facts {
            say!("{fact}");
        }
        let lines = PlainLines::new(self.state.step, self.config.train.steps);
        (Display::Lines(lines.printer()), Box::new(lines))
    }

    /// The board, with the reports of earlier sessions.
    fn board(&self) -> Board {
        let Self { config, text, folder, state, .. } = *self;
        let (facts, fields) = (self.facts.clone(), self.fields.clone());
        let mut board = Board::new(facts, fields, state.step, config.train.steps);
        if state.step > 0 {
            // A table that cannot be read is no reason not to train.
            let bits_per_byte = |loss| text.bits_per_byte(loss);
            let before = MetricsRow::read_reports(&folder.metrics(), bits_per_byte);
            for (split, report) in before.unwrap_or_default() {
                board.add(split, &report);
            }
        }
        board
    }
}

impl Display {
    /// So many steps are done, and now the next one, or what is named.
    pub fn at(&self, step: u64, activity: Option<&'static str>) {
        if let Self::Dashboard(dashboard) = self {
            dashboard.board().at(step, activity);
        }
    }

    /// Shows a sample.
    pub fn sample(&self, step: u64, text: &str) {
        match self {
            Self::Dashboard(dashboard) => dashboard.board().sample(step, text),
            Self::Lines(printer) => printer.sample(step, text),
        }
    }

    /// Shows the loss of the moving average.
    pub fn average(&self, step: u64, loss: f64) {
        if let Self::Lines(printer) = self {
            printer.print(&format!("step {step} | of the average {loss:.4} nats/token"));
        }
    }
}
