//! Files and folders, so that nothing of the user's is lost or mistaken for something else.
//!
//! - Opening: [`open_input`] what a user names, [`open_own`] what this program keeps. Both return
//!   regular files alone: nothing waits for a pipe, and no device is read. [`has_own_folder`] and
//!   [`create_own_folder`] are the same for a folder that this program keeps.
//! - Writing: [`write_file`] and [`write_folder`] what this program keeps; [`Output`] where a user
//!   says. A crash, a kill or a full disk leaves either the old or the new content, never a part.
//! - [`recover`] removes what a killed process left, and nothing else: only names that
//!   [`is_unfinished`] knows.

mod folder;
mod kept;
mod kind;
mod names;
mod open;
mod output;
mod recover;
mod refusal;
mod write;

pub use folder::{create_own_folder, has_own_folder};
pub use kind::Kind;
pub use names::is_unfinished;
pub use open::{open_input, open_own, read_input, read_own};
pub use output::{Output, Product};
pub use recover::{lock_folder, recover};
pub use refusal::Refusal;
pub use write::{remove_folder, set_aside, write_file, write_file_with, write_folder};

use std::path::Path;

/// The folder that something is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
