use ratatui::{
    Frame,
    layout::Rect,
    style::{Style, Stylize},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph},
};

use super::{board::Board, colours::style};
use crate::output::{Field, Split};

/// Rows from which on a plot has a frame around it, and a third label at each axis.
const FRAMED: u16 = 9;
/// Points up to which each has a mark of its own.
const MARKED: usize = 24;

/// Draws the curves of a field over the steps.
pub fn draw(frame: &mut Frame<'_>, area: Rect, board: &Board, field: Field) {
    let borders = if area.height >= FRAMED { Borders::ALL } else { Borders::TOP };
    let block = Block::new().borders(borders).border_style(Style::new().dim());
    let block = block.title(title(board, field, area.width));
    let curves = [Split::Training, Split::Validation].map(|split| board.points(split, field));
    let all = || curves.iter().copied().flatten();
    let Some(y) = bounds(all().map(|(_, value)| *value)) else {
        let line = Paragraph::new("no values yet").dim().centered();
        return frame.render_widget(line.block(block), area);
    };
    let steps = span(all().map(|(step, _)| *step));
    let x = if steps[0] < steps[1] { steps } else { [steps[0] - 1.0, steps[1] + 1.0] };

    let mut datasets = Vec::new();
    for (split, points) in [Split::Training, Split::Validation].into_iter().zip(curves) {
        let curve = Dataset::default().data(points).style(style(split));
        if points.len() <= MARKED {
            let marks = curve.clone().graph_type(GraphType::Scatter);
            datasets.push(marks.marker(Marker::Dot));
        }
        datasets.push(curve.graph_type(GraphType::Line).marker(Marker::Braille));
    }
    let labels = |[low, high]: [f64; 2], room: bool| match room {
        true => vec![low, (low + high) / 2.0, high],
        false => vec![low, high],
    };
    let values = labels(y, area.height >= FRAMED).into_iter().map(|value| field.format(value));
    let steps = labels(steps, area.width >= 60).into_iter().enumerate();
    let steps = steps.map(|(index, step)| match index {
        0 => format!("step {step:.0}"),
        _ => format!("{step:.0}"),
    });
    let chart = Chart::new(datasets)
        .block(block)
        .legend_position(None)
        .x_axis(Axis::default().bounds(x).labels(steps).style(Style::new().dim()))
        .y_axis(Axis::default().bounds(y).labels(values).style(Style::new().dim()));
    frame.render_widget(chart, area);
}

/// The name and the newest values, in the colours of their curves.
fn title(board: &Board, field: Field, width: u16) -> Line<'static> {
    let name = match field {
        Field::Loss if width >= 60 => "Loss, nats per token",
        field => field.name(),
    };
    let mut spans = vec![Span::raw(format!(" {name} ")).bold()];
    let names = match width {
        0..60 => ["train", "val"],
        _ => ["training", "validation"],
    };
    for (split, name) in [Split::Training, Split::Validation].into_iter().zip(names) {
        if let Some(value) = board.value(split, field) {
            spans.push(Span::styled(format!("{name} {value} "), style(split)));
        }
    }
    Line::from(spans)
}

/// The lowest and the highest.
fn span(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    })
}

/// The same with some room, if there are any.
fn bounds(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let [low, high] = span(values);
    let room = match high - low {
        0.0 => (0.05 * high.abs()).max(1e-3),
        height => 0.05 * height,
    };
    // Nothing here but for a difference is below 0, and none is shown.
    let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    (low <= high).then_some([(low - room).max(floor), high + room])
}
