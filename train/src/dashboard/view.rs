use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Stylize},
    text::Line,
    widgets::Paragraph,
};

use super::{board::Board, layout::areas, panels, plot};
use crate::output::{Field, Split};

/// Draws a board; with `stopping`, a run that is about to stop.
pub fn draw(frame: &mut Frame<'_>, board: &Board, stopping: bool) {
    let screen = frame.area();
    let rows = |panel, width| panels::rows(panel, board, width);
    let areas = areas(screen, board.facts.len() as u16, &board.panels(), rows);
    let facts = board.facts.iter().map(|fact| Line::from(fact.as_str()));
    frame.render_widget(Paragraph::new(facts.collect::<Vec<_>>()), areas.facts);
    frame.render_widget(progress(board, areas.progress), areas.progress);
    for (index, area) in areas.plots.into_iter().enumerate() {
        plot::draw(frame, area, board, board.plotted(index));
    }
    for (panel, area) in areas.panels {
        panels::draw(frame, area, panel, board);
    }
    let keys = Line::from(keys(areas.keys.width, stopping));
    frame.render_widget(if stopping { keys.reversed() } else { keys.dim() }, areas.keys);
}

/// The step, a bar where there is room for one, and what is left.
fn progress(board: &Board, area: Rect) -> Line<'static> {
    let Board { step, steps, .. } = *board;
    let share = step as f64 / steps.max(1) as f64;
    let before = format!("step {step}/{steps} ");
    let left = match (board.activity, board.value(Split::Training, Field::TimeLeft)) {
        (Some(activity), _) => format!(", {activity}"),
        (None, Some(minutes)) => format!(", {minutes} min left"),
        (None, None) => String::new(),
    };
    let after = format!(" {:.0} %{left}", 100.0 * share);
    let room = (area.width as usize).saturating_sub(before.len() + after.len());
    let full = (share.clamp(0.0, 1.0) * room as f64) as usize;
    let bar = "━".repeat(full) + &"─".repeat(room - full);
    Line::from(vec![before.bold(), bar.fg(Color::Cyan), after.bold()])
}

fn keys(width: u16, stopping: bool) -> &'static str {
    match (stopping, width) {
        (false, 0..60) => "q save and stop  ←→↑↓ curve  tab values",
        (false, _) => "q or Ctrl-C: save and stop   ←→: curves   ↑↓: their end   Tab: values",
        (true, 0..60) => "saving, then stopping; q again: end now",
        (true, _) => "stopping after this step, to save; q or Ctrl-C again ends at once, unsaved",
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::{
        dashboard::keys::Key,
        output::{Quantization, Report},
    };

    fn board() -> Board {
        let fields = [&Field::FIRST[..], &Field::QUANTIZATION, &Field::REST].concat();
        let facts = ["folder  runs/quickstart", "model   2 parameters"].map(String::from).to_vec();
        let mut board = Board::new(facts, fields, 45, 200);
        for step in (10..=40).step_by(10) {
            let zeros = Quantization { zeros: 0.25, flip_rate: 1e-4, ..Quantization::EMPTY };
            board.add(
                Split::Training,
                &Report {
                    step,
                    loss: 5.0 - step as f64 / 20.0,
                    gradient_norm: 0.5,
                    seconds_left: 186.0,
                    quantization: zeros,
                    blocks: vec![zeros; 3],
                    ..Report::EMPTY
                },
            );
        }
        board.add(Split::Validation, &Report { step: 40, loss: 2.875, ..Report::EMPTY });
        board
    }

    fn screen(width: u16, height: u16, board: &Board, stopping: bool) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, board, stopping)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(row).collect()
    }

    #[test]
    fn each_size_says_what_matters() {
        for (width, height) in [(150, 50), (80, 24), (40, 12)] {
            let lines = screen(width, height, &board(), false);
            let text = lines.join("\n");
            for part in ["step 45/200 ", "3.1 min left", " Loss", "2.8750", "step 10", "save and"] {
                assert!(text.contains(part), "{part:?} is not on {width}x{height}:\n{text}");
            }
            let axis = |line: &&String| line.contains("step 10") && line.contains(" 40");
            assert!(text.contains("3.0000") && lines.iter().any(|line| axis(&line)), "{text}");
            let stopping = screen(width, height, &board(), true).join("\n");
            assert!(stopping.contains("again"), "{stopping}");
        }
        let large = screen(150, 50, &board(), false).join("\n");
        for part in ["Gradient norm", "Flips per step", "block", "runs/quickstart", "1.00e-4"] {
            assert!(large.contains(part), "{part:?} is not there:\n{large}");
        }
    }

    #[test]
    fn keys_reach_what_has_no_room() {
        let mut board = board();
        board.press(Key::Panel);
        assert!(screen(80, 24, &board, false).join("\n").contains("block"));
        board.sample = Some((40, "In the beginning\u{1b}[2J".into()));
        board.press(Key::Panel);
        let text = screen(80, 24, &board, false).join("\n");
        assert!(
            text.contains("sample of step 40") && text.contains("beginning\\u{1b}[2J"),
            "{text}"
        );
        board.press(Key::Next);
        assert!(screen(40, 12, &board, false).join("\n").contains(" Gradient norm "));
        // The later half of steps 10 to 40.
        board.press(Key::Closer);
        assert!(screen(80, 24, &board, false).join("\n").contains("step 30 "));
        board.press(Key::Farther);
        board.press(Key::Farther);
        assert!(screen(80, 24, &board, false).join("\n").contains("step 10 "));
    }

    #[test]
    fn no_size_is_too_small() {
        let mut empty = Board::default();
        for board in [&board(), &empty] {
            for (width, height) in (1..130).step_by(3).flat_map(|w| (1..40).map(move |h| (w, h))) {
                screen(width, height, board, width % 2 == 0);
            }
        }
        empty.facts = vec!["folder".into()];
        assert!(screen(60, 20, &empty, false).join("\n").contains("no values yet"));
    }
}
