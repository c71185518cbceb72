//! The commands that go on from where a run ended, as they can be typed.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Goes on with the run in a folder.
pub fn resume(folder: &Path) -> String {
    format!("{} --resume {}", program("train"), quoted(&folder.to_string_lossy()))
}

/// Asks the model in a folder for text.
pub fn generate(model: &Path, prompt: &str) -> String {
    let prompt = if prompt.trim().is_empty() { "The " } else { prompt };
    let (program, model) = (program("infer"), quoted(&model.to_string_lossy()));
    format!("{program} generate --model {model} --prompt {}", quoted(prompt))
}

/// A program of this project, beside this one where it was called by a path.
fn program(name: &str) -> String {
    let called = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let beside = called.with_file_name(name);
    let is_path = called.parent().is_some_and(|folder| folder != Path::new(""));
    match is_path && beside.exists() {
        true => quoted(&beside.to_string_lossy()),
        false => name.into(),
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_./-=:@%+,".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_more() {
        assert_eq!(quoted("runs/quick-start_1"), "runs/quick-start_1");
        assert_eq!(quoted("my runs"), "'my runs'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        let command = generate(Path::new("a b/model"), "\n");
        assert!(command.ends_with("infer generate --model 'a b/model' --prompt 'The '"));
    }
}
