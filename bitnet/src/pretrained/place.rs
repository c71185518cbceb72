//! What is at a path that is to be a model.

use std::{fs, io::Read, path::Path};

use super::{PretrainedError, files::CONFIG};
use crate::{
    formats::FormatError,
    storage::{Refusal, open_input},
};

/// What a model is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Folder,
    Gguf,
}

impl Place {
    /// What is at `path`.
    ///
    /// # Errors
    /// [`FormatError::Read`] if nothing is, and [`PretrainedError::NoModel`] if that is no model,
    /// or something else is, and where a model might be.
    pub(super) fn of(path: &Path) -> Result<Self, PretrainedError> {
        let shown = path.display();
        let no_model = |reason: String| Err(PretrainedError::NoModel(reason));
        match fs::metadata(path) {
            Err(error) if is_repository(path) => no_model(format!(
                "cannot read {shown}: {error}; a model of the Hugging Face hub is fetched with: hf \
                 download {shown} --local-dir FOLDER"
            )),
            Err(error) => Err(FormatError::Read { path: path.into(), error }.into()),
            Ok(found) if found.is_dir() => {
                let inner = path.join("model");
                if !path.join(CONFIG).exists() && inner.join(CONFIG).exists() {
                    let inner = inner.display();
                    return no_model(format!("it is the folder of a run; its model is {inner}"));
                }
                if is_training_checkpoint(path) && !path.join(CONFIG).exists() {
                    let run = path.parent().and_then(Path::parent).unwrap_or(path);
                    let model = run.join("model");
                    let model = model.display();
                    return no_model(format!(
                        "it is a training checkpoint; the model of its run, written at its end, is \
                         {model}"
                    ));
                }
                Ok(Self::Folder)
            }
            Ok(_) if is_gguf(path) => Ok(Self::Gguf),
            Ok(_) => match path.parent().filter(|folder| folder.join(CONFIG).exists()) {
                Some(folder) => {
                    let folder = folder.display();
                    no_model(format!("it is a part of a model, which is the folder {folder}"))
                }
                None => no_model("it is neither a model folder nor a GGUF file".into()),
            },
        }
    }
}

/// Whether the folder `path` is one of those from which training goes on.
fn is_training_checkpoint(path: &Path) -> bool {
    ["state.toml", "model.mpk"].iter().all(|name| path.join(name).exists())
}

/// Whether `path` is to be read as a GGUF file: it is named or begins like one, or is no regular
/// file, which is then said of it.
fn is_gguf(path: &Path) -> bool {
    match open_input(path) {
        Ok(mut file) => {
            let is_named = path.extension().is_some_and(|extension| extension == "gguf");
            let mut magic = [0; 4];
            is_named || file.read_exact(&mut magic).is_ok() && &magic == b"GGUF"
        }
        Err(error) => Refusal::of(&error).is_some(),
    }
}

/// Whether a path that is not there reads like a repository of the Hugging Face hub: an owner, who
/// is no folder here, and a name.
fn is_repository(path: &Path) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let parts: Option<Vec<&str>> = path.to_str().map(|path| path.split('/').collect());
    match parts.as_deref() {
        Some([owner, name]) => is_name(owner) && is_name(name) && !Path::new(owner).exists(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_says_where_one_is() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("run/model")).unwrap();
        fs::create_dir_all(path("empty")).unwrap();
        for name in ["run/model/config.json", "run/model/model.safetensors", "a.gguf", "text"] {
            fs::write(path(name), "text").unwrap();
        }
        fs::write(path("begins"), "GGUF...").unwrap();
        let of = |name: &str| Place::of(&path(name)).map_err(|error| error.to_string());
        assert_eq!(of("run/model"), Ok(Place::Folder));
        // What is missing there is for its reader to say.
        assert_eq!(of("empty"), Ok(Place::Folder));
        assert_eq!(of("a.gguf"), Ok(Place::Gguf));
        assert_eq!(of("begins"), Ok(Place::Gguf));
        let model = path("run/model").display().to_string();
        assert_eq!(of("run"), Err(format!("it is the folder of a run; its model is {model}")));
        assert_eq!(
            of("run/model/model.safetensors"),
            Err(format!("it is a part of a model, which is the folder {model}"))
        );
        let checkpoint = "run/checkpoints/step-8";
        fs::create_dir_all(path(checkpoint)).unwrap();
        for name in ["state.toml", "model.mpk"] {
            fs::write(path(checkpoint).join(name), "text").unwrap();
        }
        let said = of(checkpoint).unwrap_err();
        assert!(
            said.starts_with("it is a training checkpoint; ") && said.ends_with(&model),
            "{said}"
        );
        assert_eq!(of("text"), Err("it is neither a model folder nor a GGUF file".into()));
        let missing = of("b.gguf").unwrap_err();
        assert!(missing.contains("b.gguf: No such file") && !missing.contains("config.json"));
    }

    #[test]
    fn repositories_are_told_from_folders() {
        let is = |path: &str| is_repository(Path::new(path));
        assert!(is("microsoft/bitnet-b1.58-2B-4T"));
        // `src` is a folder of this crate.
        for path in ["name", "a/b/c", "/a/b", "./a", "../a", "a/", "a/b c", "src/missing", ""] {
            assert!(!is(path), "{path}");
        }
        let error = Place::of(Path::new("owner/name")).unwrap_err().to_string();
        assert!(error.contains("hf download owner/name --local-dir"), "{error}");
    }
}
