//! Keys, signals and faults: how a run stops, and what it leaves.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{NEVER, SIZES, SLOW, checkpoints, run, seat::Seat, times};
use crate::common::{Playground, succeeded};

#[test]
fn the_first_request_saves_at_every_size() {
    for round in 0..times() {
        for size in SIZES {
            for key in ["\u{3}", "q"] {
                let playground = Playground::new();
                let mut seat = Seat::new(&playground, size, &run("run", &NEVER));
                let text = seat.wait_for(&[
                    "/1000000 ",
                    " %, ",
                    "min left",
                    "Loss",
                    "step 20",
                    "save and",
                ]);
                assert!(seat.shown().terminal.screen().alternate_screen(), "{text}");
                seat.press(key);
                assert_eq!(seat.end(), 0, "{size:?}, {key:?}, round {round}: {}", seat.text());
                let text = seat.assert_restored();
                assert!(text.contains("; continue with:"), "{text}");
                assert!(text.contains("--resume run"), "{text}");
                assert_eq!(checkpoints(&playground, "run"), 1);
            }
        }
        println!("round {round}: saved at {SIZES:?} by Ctrl-C and by q");
    }
}

#[test]
fn the_second_request_ends_at_once() {
    for round in 0..times() {
        for (size, keys) in SIZES.into_iter().zip(["\u{3}\u{3}", "qq", "q\u{3}"]) {
            let playground = Playground::new();
            let mut seat = Seat::new(&playground, size, &run("slow", &SLOW));
            seat.wait_for(&["step 0/1000000 ", "save and"]);
            let (first, second) = keys.split_at(1);
            seat.press(first);
            seat.wait_for(&["again"]);
            // The step goes on, and so does the waiting for it.
            sleep(Duration::from_millis(400));
            assert!(seat.child.try_wait().unwrap().is_none());
            seat.press(second);
            let started = Instant::now();
            assert_eq!(seat.end(), 130, "round {round}: {}", seat.text());
            assert!(started.elapsed() < Duration::from_secs(20));
            seat.assert_restored();
        }
        println!("round {round}: ended at once");
    }
}

/// `timeout` signals a process and its group.
#[test]
fn two_signals_at_once_are_one() {
    for _ in 0..times() {
        let playground = Playground::new();
        let mut seat = Seat::new(&playground, (80, 24), &run("run", &NEVER));
        seat.wait_for(&["step 20", "min left"]);
        let id = seat.child.process_id().unwrap().to_string();
        let twice = format!("kill -TERM {id}; kill -TERM {id}");
        assert!(Command::new("sh").args(["-c", &twice]).status().unwrap().success());
        assert_eq!(seat.end(), 0, "{}", seat.text());
        assert_eq!(checkpoints(&playground, "run"), 1);
    }
}

/// The system sends a hang-up, and the shell that had it sends another one.
#[test]
fn a_hang_up_saves_whatever_is_shown() {
    for round in 0..times() {
        for plain in [false, true] {
            let playground = Playground::new();
            let mut args = run("run", &NEVER);
            args.extend(plain.then_some("--plain"));
            let mut seat = Seat::new(&playground, (80, 24), &args);
            seat.wait_for(&[if plain { "tok/s" } else { "min left" }]);
            let id = seat.child.process_id().unwrap().to_string();
            seat.hang_up();
            let more = format!("for n in 1 2 3; do kill -HUP {id} 2>/dev/null; sleep 0.1; done");
            Command::new("sh").args(["-c", &more]).status().unwrap();
            assert_eq!(seat.end(), 0, "plain: {plain}, round {round}");
            assert_eq!(checkpoints(&playground, "run"), 1);
            let resume = ["--resume", "run", "--stop-at", "1"];
            let shown = succeeded(playground.train(&resume));
            assert!(shown.contains("continuing after step"), "{shown}");
        }
        println!("round {round}: saved after a hang-up, on the dashboard and in lines");
    }
}

/// As `nohup` does it, but with a terminal to write to until it is gone.
#[test]
fn a_run_that_ignores_hang_ups_goes_on_without_its_terminal() {
    for _ in 0..times() {
        for plain in [false, true] {
            let playground = Playground::new();
            let length = ["train.steps=2000", "eval.every=1000", "checkpoint.every=1000"];
            let mut seat = Seat::with((80, 24), |command| {
                command.args(["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]);
                command.arg(env!("CARGO_BIN_EXE_train"));
                command.args(run("run", &length));
                command.args(plain.then_some("--plain"));
                command.cwd(playground.path(""));
            });
            seat.wait_for(&[if plain { "tok/s" } else { "min left" }]);
            seat.hang_up();
            assert!(!playground.path("run/result.json").exists(), "the run was too short");
            assert_eq!(seat.end(), 0);
            assert!(playground.path("run/result.json").exists());
        }
    }
}

/// Without a shell that would let it go on, nothing stops.
#[test]
fn a_stopped_run_comes_back() {
    for _ in 0..times() {
        let playground = Playground::new();
        let mut seat = Seat::new(&playground, (80, 24), &run("run", &NEVER));
        seat.wait_for(&["min left"]);
        seat.press("\u{1a}");
        sleep(Duration::from_millis(500));
        seat.wait_for(&["min left", "save and stop"]);
        assert!(seat.shown().terminal.screen().alternate_screen());
        seat.press("q");
        assert_eq!(seat.end(), 0, "{}", seat.text());
        seat.assert_restored();
    }
}

#[test]
fn what_goes_wrong_is_said_on_the_terminal_as_it_was() {
    for _ in 0..times() {
        let playground = Playground::new();
        let explode = [
            "train.steps=100000",
            "train.schedule=constant",
            "train.lr=1000",
            "train.weight_decay=1000",
            "eval.every=100000",
        ];
        let mut seat = Seat::new(&playground, (80, 24), &run("explodes", &explode));
        assert_eq!(seat.end(), 1, "{}", seat.text());
        let text = seat.assert_restored();
        assert!(text.contains("error: the loss or its gradient is no longer finite"), "{text}");

        for (signal, line) in [
            ("-ABRT", "error: the process gave up"),
            // As where a file is cut short that is mapped.
            ("-BUS", "error: a file in use was cut short by another program"),
        ] {
            let mut seat = Seat::new(&playground, (80, 24), &run(&signal[1..], &NEVER));
            seat.wait_for(&["min left"]);
            seat.send(signal);
            assert_eq!(seat.end(), 1, "{}", seat.text());
            let text = seat.assert_restored();
            assert!(text.contains(line), "{text}");
        }
    }
}
