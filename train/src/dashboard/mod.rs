//! A run on a whole screen: how far it is, curves, values, and the keys that are read meanwhile.
//!
//! It is drawn on a thread of its own, twice a second at most, from a [`Board`] that the run's
//! reports are written on. A terminal that goes away, or takes no bytes, ends the drawing and
//! nothing else.

mod board;
mod colours;
mod curve;
mod keys;
mod layout;
mod panels;
mod plot;
mod screen;
mod view;

use std::{
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

pub use board::{Board, SharedBoard};

use crate::terminal;

/// How long the last frame may take before the program goes on without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The screen of a run, until this is dropped.
pub struct Dashboard {
    board: SharedBoard,
    close: Option<Sender<()>>,
    closed: Mutex<Receiver<()>>,
}

impl Dashboard {
    /// Shows a board. `None` if there is no thread for it.
    pub fn open(board: Board) -> Option<Self> {
        let board = SharedBoard::new(board);
        let (close, closing) = channel();
        let (is_closed, closed) = channel();
        let shown = board.clone();
        let draw = move || {
            screen::run(&shown, &closing);
            let _ = is_closed.send(());
        };
        thread::Builder::new().name("dashboard".into()).spawn(draw).ok()?;
        Some(Self { board, close: Some(close), closed: Mutex::new(closed) })
    }

    /// What is shown.
    pub fn board(&self) -> SharedBoard {
        self.board.clone()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        drop(self.close.take());
        if let Ok(closed) = self.closed.get_mut() {
            // An error is a thread that has ended already.
            let _ = closed.recv_timeout(PATIENCE);
        }
        drop(terminal::leave());
    }
}
