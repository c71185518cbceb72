use std::{process, sync::OnceLock};

use anyhow::Context;
use burn_train::Interrupter;

static INTERRUPTER: OnceLock<Interrupter> = OnceLock::new();

/// What Ctrl-C and SIGTERM stop: one for the whole process, whose signals they are, so that it
/// holds for the runs still to come, too. A second signal ends the program at once.
///
/// # Errors
/// If signals cannot be handled.
pub fn interrupter() -> anyhow::Result<Interrupter> {
    if let Some(interrupter) = INTERRUPTER.get() {
        return Ok(interrupter.clone());
    }
    let interrupter = Interrupter::new();
    let on_signal = interrupter.clone();
    ctrlc::set_handler(move || match on_signal.should_stop() {
        true => process::exit(130),
        false => on_signal.stop(Some("interrupted")),
    })
    .context("cannot handle Ctrl-C")?;
    Ok(INTERRUPTER.get_or_init(|| interrupter).clone())
}
