use std::{
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

use super::{PATIENCE, Size};
use crate::common::Playground;

/// The program on a terminal of its own, and what that shows.
pub struct Seat {
    pub child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    keyboard: Option<Box<dyn Write + Send>>,
    shown: Arc<Mutex<Shown>>,
    reader: Option<JoinHandle<()>>,
    leaving: Arc<AtomicBool>,
}

/// What is on the screen, and all bytes that made it so.
pub struct Shown {
    pub terminal: vt100::Parser,
    pub bytes: Vec<u8>,
}

impl Seat {
    pub fn new(playground: &Playground, size: Size, args: &[&str]) -> Self {
        Self::with(size, |command| {
            command.arg(env!("CARGO_BIN_EXE_train"));
            command.args(args);
            command.cwd(playground.path(""));
        })
    }

    /// With more said about the command, which `env` runs.
    pub fn with((columns, rows): Size, more: impl FnOnce(&mut CommandBuilder)) -> Self {
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

    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap()
    }

    pub fn text(&self) -> String {
        self.shown().terminal.screen().contents()
    }

    /// Waits until the screen has all of these, and returns it.
    #[track_caller]
    pub fn wait_for(&self, parts: &[&str]) -> String {
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

    pub fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    pub fn resize(&self, (columns, rows): Size) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.master.as_ref().unwrap().resize(size).unwrap();
        let [rows, columns] = [rows, columns].map(|size| NonZero::new(size).unwrap());
        self.shown().terminal.screen_mut().set_size(rows, columns);
    }

    pub fn send(&self, signal: &str) {
        let id = self.child.process_id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Nobody is on the other side any more.
    pub fn hang_up(&mut self) {
        self.leaving.store(true, Ordering::SeqCst);
        // It has a handle of its own, and ends with the next output.
        self.reader.take().unwrap().join().unwrap();
        drop((self.keyboard.take(), self.master.take()));
    }

    /// The exit code.
    #[track_caller]
    pub fn end(&mut self) -> u32 {
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
    pub fn assert_restored(&self) -> String {
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
