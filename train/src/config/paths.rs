use std::path::{self, Path, PathBuf};

use bitnet::data;

use super::{BYTES, Config};

impl Config {
    /// With names of text, tokenizer and models that hold in any working directory: what a run
    /// keeps, so that it can be resumed elsewhere.
    pub fn with_absolute_paths(mut self) -> Self {
        for source in &mut self.data.sources {
            *source = data::absolute(source);
        }
        let tokenizer = &mut self.data.tokenizer;
        let names = [&mut self.train.init_from, &mut self.distill.teacher];
        for name in names.into_iter().flatten().chain((tokenizer != BYTES).then_some(tokenizer)) {
            if let Some(absolute) = absolute(Path::new(name)).to_str() {
                *name = absolute.into();
            }
        }
        for folder in [&mut self.data.cache, &mut self.data.datasets].into_iter().flatten() {
            *folder = absolute(folder);
        }
        self
    }
}

/// A path as it is where the working directory is gone.
fn absolute(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.into())
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn every_path_is_absolute_and_names_are_names() {
        let mut config = Config::default();
        assert_eq!(config.clone().with_absolute_paths(), config);

        config.data.sources = vec!["kjv".into(), "a.txt".into()];
        config.data.tokenizer = "t.json".into();
        (config.data.cache, config.data.datasets) = (Some("c".into()), Some("d".into()));
        config.train.init_from = Some("runs/a/model".into());
        config.distill.teacher = Some("/b".into());
        let absolute = config.with_absolute_paths();
        let here = env::current_dir().unwrap();
        let under = |name: &str| here.join(name).to_str().unwrap().to_owned();
        assert_eq!(absolute.data.sources, ["kjv".into(), under("a.txt")]);
        assert_eq!(absolute.data.tokenizer, under("t.json"));
        assert_eq!(absolute.data.cache, Some(here.join("c")));
        assert_eq!(absolute.data.datasets, Some(here.join("d")));
        assert_eq!(absolute.train.init_from, Some(under("runs/a/model")));
        assert_eq!(absolute.distill.teacher.as_deref(), Some("/b"));
        assert_eq!(absolute.clone().with_absolute_paths(), absolute);
    }
}
