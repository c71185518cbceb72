use std::{
    fs::File,
    io::{self, BufWriter},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use ratatui::{
    Terminal, TerminalOptions, Viewport,
    backend::{Backend, ClearType, CrosstermBackend},
    layout::Rect,
};

use super::{
    SharedBoard,
    keys::{Key, keys},
    view,
};
use crate::{
    interrupt,
    terminal::{self, Standing},
};

/// How often keys are looked for.
const TICK: Duration = Duration::from_millis(50);
/// How often a change is drawn at most. What keys ask for is drawn at once.
const FRAME: Duration = Duration::from_millis(500);

type Canvas = Terminal<CrosstermBackend<BufWriter<File>>>;

/// Draws a board until `closing` hangs up, or the terminal is gone.
pub fn run(board: &SharedBoard, closing: &Receiver<()>) {
    let mut screen = Screen::default();
    loop {
        match terminal::standing() {
            Standing::Gone => break,
            Standing::Background => {}
            Standing::Ours => match screen.show(board) {
                // Not under the screen's lock: it may end the program, which takes the screen away.
                Ok(keys) if keys.contains(&Key::Stop) => interrupt::request(),
                Ok(_) => {}
                Err(_) => break,
            },
        }
        if !matches!(closing.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
            break;
        }
    }
    // What it still has to say belongs to the screen.
    drop(screen);
    drop(terminal::leave());
}

/// What is on the screen.
#[derive(Default)]
struct Screen {
    canvas: Option<Canvas>,
    size: (u16, u16),
    drawn: Option<Drawn>,
}

/// What the last frame showed.
struct Drawn {
    at: Instant,
    version: u64,
    stopping: bool,
}

impl Screen {
    /// Reads keys, and draws if there is something new. Returns the keys.
    fn show(&mut self, board: &SharedBoard) -> io::Result<Vec<Key>> {
        // In turns with whoever takes the screen away.
        let _drawing = terminal::drawing();
        if !terminal::is_shown() {
            terminal::enter()?;
            self.canvas = None;
        }
        let keys = keys(&terminal::keys());
        for &key in &keys {
            board.lock().press(key);
            if key == Key::Redraw {
                self.canvas = None;
            }
        }
        let size = terminal::size()?;
        let at_once = !keys.is_empty() || size != self.size || self.canvas.is_none();
        let stopping = interrupt::is_stopping();
        let due = match &self.drawn {
            None => true,
            Some(drawn) => {
                let has_changed = drawn.version != board.lock().version();
                at_once || drawn.stopping != stopping || has_changed && drawn.at.elapsed() >= FRAME
            }
        };
        if due {
            self.draw(board, size, stopping)?;
        }
        Ok(keys)
    }

    fn draw(&mut self, board: &SharedBoard, size: (u16, u16), stopping: bool) -> io::Result<()> {
        let area = Rect::new(0, 0, size.0, size.1);
        if size != self.size {
            self.canvas = None;
        }
        let canvas = match &mut self.canvas {
            Some(canvas) => canvas,
            none => {
                let backend = CrosstermBackend::new(BufWriter::new(terminal::writer()?));
                let options = TerminalOptions { viewport: Viewport::Fixed(area) };
                let canvas = none.insert(Terminal::with_options(backend, options)?);
                // Its own `clear` asks the terminal where the cursor is, and waits for the answer.
                canvas.backend_mut().clear_region(ClearType::All)?;
                canvas
            }
        };
        let mut version = 0;
        canvas.draw(|frame| {
            // Not while bytes go to the terminal: the run would wait for it.
            let board = board.lock();
            version = board.version();
            view::draw(frame, &board, stopping);
        })?;
        self.size = size;
        self.drawn = Some(Drawn { at: Instant::now(), version, stopping });
        Ok(())
    }
}
