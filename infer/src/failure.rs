//! How a failure is shown: as one line.

use std::io;

use bitnet::terminal;

/// The line for standard error: `error: <context>: <cause>: <its cause> …`.
pub fn line(error: &anyhow::Error) -> String {
    let mut line = String::from("error");
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some errors already end with the message of their cause.
        if !line.ends_with(&format!(": {cause}")) {
            line = format!("{line}: {cause}");
        }
    }
    // What files are called, and what they say, is part of it.
    terminal::line(&line)
}

/// Whether standard output was closed by its reader.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.map(io::Error::kind).any(|kind| kind == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use bitnet::pretrained::PretrainedError;

    use super::*;

    #[test]
    fn causes_follow_their_context_once() {
        let error = anyhow!("disk\nfull").context("cannot write").context("model");
        assert_eq!(line(&error), "error: model: cannot write: disk full");

        let error = anyhow!("no \u{1b}]0;field\u{7}");
        assert_eq!(line(&error), "error: no \\u{1b}]0;field\\u{7}");
        let long = line(&anyhow!("name {}", "a".repeat(5_000_000)).context("model"));
        assert!(long.starts_with("error: model: name aaa") && long.len() < 4096);

        let json = serde_json::from_str::<u8>("x").unwrap_err();
        let message = format!("error: model x: config.json: {json}");
        let error = Err::<(), _>(PretrainedError::from(json)).context("model x").unwrap_err();
        assert_eq!(line(&error), message);
    }

    #[test]
    fn a_closed_pipe_is_found_below_its_context() {
        let error = |kind| anyhow::Error::from(io::Error::from(kind)).context("cannot write");
        assert!(is_closed_pipe(&error(io::ErrorKind::BrokenPipe)));
        assert!(!is_closed_pipe(&error(io::ErrorKind::StorageFull)));
    }
}
