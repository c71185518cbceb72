//! Draws learning rate and weight decay of every schedule as SVG.

use std::fmt::Write;

use bitnet::optim::{Schedule, ScheduleKind};

const STEPS: u64 = 1000;
const PANEL: (f64, f64) = (280.0, 130.0);
const MARGIN: f64 = 30.0;
/// Top of the axis of both curves, as shares of the peak rate and of the weight decay.
const TOP: f64 = 1.1;

/// A panel for each schedule, with the rate as a line and the weight decay as a dashed one, each
/// relative to its highest value.
pub fn svg() -> String {
    use ScheduleKind::{Constant, Cosine, Linear, TwoStage, Wsd};
    let panels = [
        ("constant", Constant),
        ("linear", Linear),
        ("cosine", Cosine),
        ("wsd", Wsd),
        ("two-stage", TwoStage),
    ];
    let columns = 2;
    let (width, height) = (PANEL.0 + 2.0 * MARGIN, PANEL.1 + 2.0 * MARGIN);
    let rows = panels.len().div_ceil(columns);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        width * columns as f64,
        height * rows as f64 + MARGIN,
    );
    for (index, (name, kind)) in panels.into_iter().enumerate() {
        let (column, row) = ((index % columns) as f64, (index / columns) as f64);
        let (x, y) = (column * width + MARGIN, row * height + MARGIN);
        let _ =
            write!(text, "<g transform=\"translate({x:.0} {y:.0})\">\n{}</g>\n", panel(name, kind));
    }
    let y = height * rows as f64 + MARGIN / 2.0;
    let _ = write!(
        text,
        "<text x=\"{MARGIN:.0}\" y=\"{y:.0}\"><tspan fill=\"#1f5fa8\">line: learning rate</tspan>, \
         <tspan fill=\"#b8491f\">dashed: weight decay</tspan>, each as a share of its highest \
         value, over {STEPS} steps</text>\n</svg>\n"
    );
    text
}

/// The schedule of a panel: warmup 100 of 1000 steps, the rest as the defaults of a run.
fn schedule(kind: ScheduleKind) -> Schedule {
    Schedule {
        kind,
        peak: 1.0,
        second_peak: 2.0 / 3.0,
        final_fraction: 0.1,
        decay_fraction: 0.2,
        warmup: 100,
        steps: STEPS,
        weight_decay: 1.0,
    }
}

fn panel(name: &str, kind: ScheduleKind) -> String {
    let schedule = schedule(kind);
    let (width, height) = PANEL;
    let point = |(step, value): (u64, f64)| {
        let x = step as f64 / STEPS as f64 * width;
        format!("{x:.1},{:.1}", height - value / TOP * height)
    };
    let line = |value: &dyn Fn(u64) -> f64| {
        // Both sides of every jump are points.
        let steps = (0..STEPS).filter(|step| step % 10 == 0 || (step + 1) % 10 == 0);
        steps.map(|step| point((step, value(step)))).collect::<Vec<_>>().join(" ")
    };
    format!(
        "<path d=\"M0,0V{height:.0}H{width:.0}\" fill=\"none\" stroke=\"#888\"/>\n\
         <text x=\"4\" y=\"-8\" font-weight=\"bold\">{name}</text>\n\
         <text x=\"-8\" y=\"{one:.1}\" text-anchor=\"end\">1</text>\n\
         <text x=\"-8\" y=\"{height:.0}\" text-anchor=\"end\">0</text>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#b8491f\" stroke-dasharray=\"4 3\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"1.5\"/>\n",
        line(&|step| schedule.weight_decay(step)),
        line(&|step| schedule.learning_rate(step)),
        one = height - height / TOP + 4.0,
    )
}
