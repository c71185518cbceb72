use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Stylize,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    board::{Board, Panel},
    colours::style,
};
use crate::output::{Field, Split, wrap};

/// Columns of a name, of a value, of a block's, and of all of a row with two values.
const NAME: usize = 18;
const VALUE: usize = 10;
const BLOCK: usize = 8;
const ROW: u16 = (NAME + 2 * VALUE) as u16 + 2;

/// The rows that a panel would fill at a width.
pub fn rows(panel: Panel, board: &Board, width: u16) -> u16 {
    let rows = match panel {
        Panel::Values => 1 + board.fields.len().div_ceil(columns(width)),
        Panel::Blocks => {
            block_count(board).div_ceil(blocks_in(width)) * (1 + statistics(board).count())
        }
        Panel::Sample => 6,
    };
    // One to leave free.
    rows.min(1000) as u16 + 1
}

/// Draws a panel.
pub fn draw(frame: &mut Frame<'_>, area: Rect, panel: Panel, board: &Board) {
    match panel {
        Panel::Values => values(frame, area, board),
        Panel::Blocks => blocks(frame, area, board),
        Panel::Sample => sample(frame, area, board),
    }
}

/// How many values stand side by side.
fn columns(width: u16) -> usize {
    (width / ROW).clamp(1, 3).into()
}

/// The newest values, in as many columns as there is room for.
fn values(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let columns = columns(area.width);
    let parts = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(area);
    // A list that is cut keeps its beginning, in the first column.
    let rows = board.fields.len().div_ceil(columns).min((area.height as usize).max(2) - 1);
    for (part, fields) in parts.iter().zip(board.fields.chunks(rows.max(1))) {
        let mut lines = vec![row("", [Some("training"), Some("validation")]).bold()];
        lines.extend(fields.iter().map(|&field| {
            let of = |split| board.value(split, field);
            row(field.name(), [of(Split::Training), of(Split::Validation)])
        }));
        frame.render_widget(Paragraph::new(lines), *part);
    }
}

fn row(name: &str, values: [Option<&str>; 2]) -> Line<'static> {
    let mut spans = vec![Span::raw(format!("{name:NAME$}"))];
    for (value, split) in values.into_iter().zip([Split::Training, Split::Validation]) {
        let value = format!("{:>VALUE$} ", value.unwrap_or_default());
        spans.push(Span::styled(value, style(split)));
    }
    Line::from(spans)
}

fn statistics(board: &Board) -> impl Iterator<Item = Field> + '_ {
    Field::QUANTIZATION.into_iter().filter(|&field| !board.blocks(field).is_empty())
}

/// How many blocks stand side by side.
fn blocks_in(width: u16) -> usize {
    ((width as usize).saturating_sub(NAME) / BLOCK).max(1)
}

/// The statistics of each block, in as many rows as it takes.
fn blocks(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let cells = |name: &str, values: &[String]| {
        let values = values.iter().map(|value| format!("{value:>BLOCK$}"));
        format!("{name:NAME$}{}", values.collect::<String>())
    };
    let numbers: Vec<String> = (0..block_count(board)).map(|block| block.to_string()).collect();
    let mut lines = Vec::new();
    let mut first = 0;
    for numbers in numbers.chunks(blocks_in(area.width)) {
        lines.push(Line::from(cells("block", numbers)).bold());
        for field in statistics(board) {
            let values = board.blocks(field).iter().skip(first).take(numbers.len());
            lines.push(cells(field.name(), &values.cloned().collect::<Vec<_>>()).into());
        }
        first += numbers.len();
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn block_count(board: &Board) -> usize {
    statistics(board).map(|field| board.blocks(field).len()).max().unwrap_or(0)
}

fn sample(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let Some((step, text)) = &board.sample else { return };
    let mut lines = vec![Line::from(format!("sample of step {step}")).bold()];
    let text = wrap(text.trim(), (area.width as usize).max(1));
    lines.extend(text.into_iter().map(Line::from));
    frame.render_widget(Paragraph::new(lines), area);
}
