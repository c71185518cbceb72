//! Runs on a pseudo-terminal, as people sit before them: keys, signals, sizes, and a terminal that
//! goes away.
//!
//! Each is done once. Twenty times:
//!
//! ```sh
//! TERMINAL_RUNS=20 cargo test --release --test cli terminal -- --nocapture
//! ```

use std::{
    env, fs,
    io::{Read, Write},
    num::NonZero,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::common::{Playground, succeeded};

/// Columns and rows.
type Size = (u16, u16);
const SIZES: [Size; 3] = [(150, 50), (80, 24), (40, 12)];
/// A run that never ends by itself.
const NEVER: [&str; 4] =
    ["train.steps=1000000", "eval.every=1000000", "checkpoint.every=1000000", "train.log_every=20"];
/// A run whose first step never ends.
const SLOW: [&str; 4] = [
    "train.steps=1000000",
    "eval.every=1000000",
    "train.accumulation=1000000",
    "train.log_every=1",
];
/// Longer than anything here takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

fn times() -> usize {
    env::var("TERMINAL_RUNS").map_or(1, |runs| runs.parse().unwrap())
}

/// Arguments of a run in `out` with some keys set.
fn run<'a>(out: &'a str, set: &[&'a str]) -> Vec<&'a str> {
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    ["--config", "tiny.toml", "--out", out].into_iter().chain(set).collect()
}

/// The program on a terminal of its own, and what that shows.
struct Seat {
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    keyboard: Option<Box<dyn Write + Send>>,
    shown: Arc<Mutex<Shown>>,
    reader: Option<JoinHandle<()>>,
    leaving: Arc<AtomicBool>,
}

struct Shown {
    terminal: vt100::Parser,
    bytes: Vec<u8>,
}

impl Seat {
    fn new(playground: &Playground, size: Size, args: &[&str]) -> Self {
        Self::with(size, |command| {
            command.arg(env!("CARGO_BIN_EXE_train"));
            command.args(args);
            command.cwd(playground.path(""));
        })
    }

    /// With more said about the command, which `env` runs.
    fn with((columns, rows): Size, more: impl FnOnce(&mut CommandBuilder)) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new("env");
        command.env("TERM", "xterm-256color");
        more(&mut command);
        let child = pair.slave.spawn_command(command).unwrap();
        let [rows, columns] = [rows, columns].map(|size| NonZero::new(size).unwrap());
        let shown = Shown { terminal: vt100::Parser::new(rows, columns, 500), bytes: Vec::new() };
        let (shown, leaving) = (Arc::new(Mutex::new(shown)), Arc::new(AtomicBool::new(false)));
        let mut output = pair.master.try_clone_reader().unwrap();
        let reader = thread::spawn({
            let (shown, leaving) = (shown.clone(), leaving.clone());
            move || {
                let mut bytes = [0; 4096];
                while !leaving.load(Ordering::SeqCst) {
                    match output.read(&mut bytes) {
                        Ok(read) if read > 0 => {
                            let mut shown = shown.lock().unwrap();
                            shown.terminal.process(&bytes[..read]);
                            shown.bytes.extend(&bytes[..read]);
                        }
                        _ => break,
                    }
                }
            }
        });
        let keyboard = Some(pair.master.take_writer().unwrap());
        Self { child, master: Some(pair.master), keyboard, shown, reader: Some(reader), leaving }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap()
    }

    fn text(&self) -> String {
        self.shown().terminal.screen().contents()
    }

    /// Waits until the screen has all of these, and returns it.
    #[track_caller]
    fn wait_for(&self, parts: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let text = self.text();
            match parts.iter().find(|part| !text.contains(**part)) {
                None => return text,
                Some(part) => {
                    assert!(started.elapsed() < PATIENCE, "{part:?} does not come:\n{text}");
                }
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    fn resize(&self, (columns, rows): Size) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.master.as_ref().unwrap().resize(size).unwrap();
        let [rows, columns] = [rows, columns].map(|size| NonZero::new(size).unwrap());
        self.shown().terminal.screen_mut().set_size(rows, columns);
    }

    fn send(&self, signal: &str) {
        let id = self.child.process_id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Nobody is on the other side any more.
    fn hang_up(&mut self) {
        self.leaving.store(true, Ordering::SeqCst);
        // It has a handle of its own, and ends with the next output.
        self.reader.take().unwrap().join().unwrap();
        drop((self.keyboard.take(), self.master.take()));
    }

    /// The exit code.
    #[track_caller]
    fn end(&mut self) -> u32 {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What was written before the end is there to be read.
                if let (Some(reader), true) = (self.reader.take(), self.master.is_some()) {
                    reader.join().unwrap();
                }
                return status.exit_code();
            }
            assert!(started.elapsed() < PATIENCE, "the program does not end:\n{}", self.text());
            sleep(Duration::from_millis(20));
        }
    }

    /// The terminal is as it was before the program, and shows what is given.
    #[track_caller]
    fn assert_restored(&self) -> String {
        let modes = self.master.as_ref().unwrap().get_termios().unwrap();
        let flags = format!("{:?}", modes.local_flags);
        let set: Vec<&str> = flags.split(|letter: char| !letter.is_alphanumeric()).collect();
        for flag in ["ISIG", "ICANON", "ECHO"] {
            assert!(set.contains(&flag), "{flag} is not set: {flags}");
        }
        let shown = self.shown();
        let screen = shown.terminal.screen();
        assert!(!screen.alternate_screen(), "{}", screen.contents());
        assert!(!screen.hide_cursor());
        screen.contents()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn checkpoints(playground: &Playground, out: &str) -> usize {
    fs::read_dir(playground.path(out).join("checkpoints")).unwrap().count()
}

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

#[test]
fn a_resized_terminal_is_drawn_anew() {
    for _ in 0..times() {
        let playground = Playground::new();
        let mut seat = Seat::new(&playground, (150, 50), &run("run", &NEVER));
        seat.wait_for(&["Loss, nats a token", "Gradient norm", "folder  run", "or Ctrl-C"]);
        seat.resize((40, 12));
        seat.wait_for(&["q save and stop", "train ", "min left"]);
        seat.resize((80, 24));
        let text = seat.wait_for(&["folder  run", "q or Ctrl-C: save", "Loss, nats a token"]);
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
        assert!(text.contains("error: the loss is no longer finite"), "{text}");

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
