//! What a source's name means.

use std::{
    env,
    path::{self, Path},
};

use super::dataset;

/// Whether a source is a pattern of paths; the name of a file that is there is none.
pub(super) fn is_pattern(source: &str) -> bool {
    source.contains(['*', '?', '[']) && !Path::new(source).exists()
}

/// A source by a name that means the same in any working directory: that of a dataset as it is, a
/// path or a pattern absolute. What cannot be made so (the working directory is gone, or its name
/// is not UTF-8) stays as it is.
pub fn absolute(source: &str) -> String {
    if source == "kjv" || dataset::find(source).is_some() {
        return source.into();
    }
    absolute_path(source).unwrap_or_else(|| source.into())
}

fn absolute_path(source: &str) -> Option<String> {
    let absolute = path::absolute(source).ok()?.into_os_string().into_string().ok()?;
    if !is_pattern(source) || Path::new(source).is_absolute() {
        return Some(absolute);
    }
    // The names of the folders above are no pattern.
    let here = env::current_dir().ok()?.into_os_string().into_string().ok()?;
    let rest = absolute.strip_prefix(&here)?;
    Some(glob::Pattern::escape(&here) + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_and_paths_become_absolute() {
        for name in ["kjv", "enwik8", "tinyshakespeare", "/a/b.txt", "/a/*.txt"] {
            assert_eq!(absolute(name), name);
        }
        let here = env::current_dir().unwrap();
        let here = here.to_str().unwrap();
        assert_eq!(absolute("a/b.txt"), format!("{here}/a/b.txt"));
        assert_eq!(absolute("./kjv"), format!("{here}/kjv"));
        assert_eq!(absolute("../a"), format!("{here}/../a"));
        let escaped = glob::Pattern::escape(here);
        assert_eq!(absolute("./a/**/*.txt"), format!("{escaped}/a/**/*.txt"));
    }
}
