use ratatui::layout::{Constraint, Layout, Rect};

use super::board::Panel;

/// Columns from which on curves and panels stand side by side.
const WIDE: u16 = 110;
/// Columns of a panel beside the curves.
const PANEL_WIDTH: u16 = 50;
/// Rows that a curve has at least.
const PLOT: u16 = 6;

/// Where what stands.
#[derive(Debug, Default, PartialEq)]
pub struct Areas {
    /// What the run is.
    pub facts: Rect,
    /// How far it is.
    pub progress: Rect,
    /// Curves, one after the other.
    pub plots: Vec<Rect>,
    /// The panels that there is room for.
    pub panels: Vec<(Panel, Rect)>,
    /// The keys.
    pub keys: Rect,
}

/// Lays out a screen for a run with so many facts, and panels, the chosen one first, of so many
/// `rows` at a width. What there is no room for is left out.
pub fn areas(
    screen: Rect,
    facts: u16,
    panels: &[Panel],
    rows: impl Fn(Panel, u16) -> u16,
) -> Areas {
    let height = screen.height;
    let facts = match height {
        0..16 => 0,
        16..32 => 1,
        _ => facts,
    };
    let [facts, progress, body, keys] = Layout::vertical([
        Constraint::Length(facts),
        Constraint::Length(u16::from(height > 0)),
        Constraint::Fill(1),
        Constraint::Length(u16::from(height > 2)),
    ])
    .areas(screen);
    let mut areas = Areas { facts, progress, keys, ..Areas::default() };
    if screen.width >= WIDE && body.height >= 2 * PLOT {
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(PANEL_WIDTH)])
                .spacing(1)
                .areas(body);
        areas.plots = match left.height {
            0..24 => vec![left],
            _ => Layout::vertical([Constraint::Fill(1); 2]).split(left).to_vec(),
        };
        areas.panels = stack(right, panels, rows);
    } else {
        let panels = &panels[..panels.len().min(1)];
        let wanted = panels.first().map_or(0, |&panel| rows(panel, body.width));
        // At least half of what there is for the curve, and all of it for values if there is little.
        let below = match body.height {
            rows if rows < PLOT + 3 => rows,
            rows => wanted.min(rows - PLOT).min(rows / 2),
        };
        let [above, below] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(below)]).areas(body);
        areas.plots = if above.height >= PLOT { vec![above] } else { Vec::new() };
        areas.panels = stack(below, panels, rows);
    }
    areas
}

/// Panels one below the other, each as high as it wants to be, the last one as high as there is
/// room.
fn stack(area: Rect, panels: &[Panel], rows: impl Fn(Panel, u16) -> u16) -> Vec<(Panel, Rect)> {
    let mut stacked = Vec::new();
    let mut rest = area;
    for (index, &panel) in panels.iter().enumerate() {
        let is_last = index + 1 == panels.len();
        let rows = if is_last { rest.height } else { rows(panel, area.width).min(rest.height) };
        if rows < 2 {
            break;
        }
        stacked.push((panel, Rect { height: rows, ..rest }));
        rest = Rect { y: rest.y + rows, height: rest.height - rows, ..rest };
    }
    stacked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(panel: Panel, width: u16) -> u16 {
        match panel {
            Panel::Values => 9 * 80 / width.clamp(40, 80),
            Panel::Blocks => 7,
            Panel::Sample => 4,
        }
    }

    #[test]
    fn everything_lies_on_the_screen_and_nothing_twice() {
        for (width, height) in (0..160).flat_map(|width| (0..60).map(move |height| (width, height)))
        {
            let screen = Rect::new(0, 0, width, height);
            let Areas { facts, progress, plots, panels, keys } =
                areas(screen, 5, &Panel::ALL, rows);
            let all: Vec<Rect> = [facts, progress, keys]
                .into_iter()
                .chain(plots)
                .chain(panels.into_iter().map(|(_, area)| area))
                .filter(|area| !area.is_empty())
                .collect();
            for (index, area) in all.iter().enumerate() {
                assert_eq!(screen.intersection(*area), *area, "{width}x{height}");
                let others = &all[..index];
                assert!(others.iter().all(|other| !other.intersects(*area)), "{width}x{height}");
            }
        }
    }

    #[test]
    fn sizes_that_people_have() {
        let of = |width, height| areas(Rect::new(0, 0, width, height), 5, &Panel::ALL, rows);
        let large = of(150, 50);
        assert_eq!((large.facts.height, large.plots.len(), large.panels.len()), (5, 2, 3));
        let usual = of(80, 24);
        assert_eq!((usual.facts.height, usual.plots.len()), (1, 1));
        assert_eq!(usual.panels, [(Panel::Values, Rect::new(0, 14, 80, 9))]);
        let small = of(40, 12);
        assert_eq!((small.plots[0].height, small.panels[0].1.height), (6, 4));
        let tiny = of(20, 5);
        assert_eq!((tiny.plots.len(), tiny.panels[0].1.height), (0, 3));
    }
}
