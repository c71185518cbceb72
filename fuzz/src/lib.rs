//! What the targets have in common.

use std::panic;

use bitnet::backend::is_catching;

/// Lets panics be that the library turns into errors; all others end a target, as before.
pub fn let_caught_panics_be() {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_catching() {
            end(info);
        }
    }));
}
