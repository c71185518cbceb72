//! What a run shows on screens of several sizes, and without one.

use super::{NEVER, SIZES, run, seat::Seat, times};
use crate::common::{Playground, succeeded};

#[test]
fn a_resized_terminal_is_drawn_anew() {
    for _ in 0..times() {
        let playground = Playground::new();
        let mut seat = Seat::new(&playground, (150, 50), &run("run", &NEVER));
        seat.wait_for(&["Loss, nats per token", "Gradient norm", "folder  run", "or Ctrl-C"]);
        seat.resize((40, 12));
        seat.wait_for(&["q save and stop", "train ", "min left"]);
        seat.resize((80, 24));
        let text = seat.wait_for(&["folder  run", "q or Ctrl-C: save", "Loss, nats per token"]);
        assert_eq!(text.lines().filter(|line| line.contains("save and stop")).count(), 1, "{text}");
        // The keys reach what has no room.
        seat.press("\t");
        seat.wait_for(&["block"]);
        seat.press("\u{1b}[C");
        seat.wait_for(&[" Gradient norm "]);
        seat.press("q");
        assert_eq!(seat.end(), 0, "{}", seat.text());
        seat.assert_restored();
    }
}

#[test]
fn a_resumed_run_shows_all_of_its_steps() {
    for _ in 0..times() {
        let playground = Playground::new();
        let start = [&run("run", &NEVER[..3])[..], &["--stop-at", "61"]].concat();
        succeeded(playground.train(&start));
        for size in SIZES {
            let mut seat = Seat::new(&playground, size, &["--resume", "run"]);
            // The curve begins with the first line of the first session, and not with this one's.
            let text = seat.wait_for(&["/1000000 ", "min left", "step 2 "]);
            let at =
                text.split("step ").filter_map(|rest| rest.split_once("/1000000")?.0.parse().ok());
            assert!(at.max().is_some_and(|at: u64| at >= 61), "{text}");
            seat.press("q");
            assert_eq!(seat.end(), 0, "{}", seat.text());
        }
    }
}

#[test]
fn a_terminal_that_can_only_print_gets_lines() {
    for _ in 0..times() {
        let playground = Playground::new();
        for (index, term) in [Some("dumb"), Some(""), None].into_iter().enumerate() {
            let out = format!("run-{index}");
            let mut seat = Seat::with((100, 60), |command| {
                match term {
                    Some(term) => command.env("TERM", term),
                    None => command.env_remove("TERM"),
                }
                command.arg(env!("CARGO_BIN_EXE_train"));
                command.args(run(&out, &["log.ceiling=true"]));
                command.cwd(playground.path(""));
            });
            assert_eq!(seat.end(), 0, "{}", seat.text());
            let shown = seat.shown();
            assert!(!shown.bytes.contains(&0x1b), "{}", String::from_utf8_lossy(&shown.bytes));
            let text = shown.terminal.screen().contents();
            for part in
                ["folder  run", "steps   12 of", "matrix products: ", "step 12/12 ", "next: "]
            {
                assert!(text.contains(part), "{part:?} is not in {text}");
            }
        }
    }
}
