use anyhow::{bail, ensure};

use super::{
    Config,
    key::Change,
    load::{Difference, differences},
};

/// What a resumed run changes of its configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes(Vec<Difference>);

impl Changes {
    /// Compares the configuration of a checkpoint with the one it is resumed with. A path is what
    /// it names here: an absolute one is no change of a relative one.
    ///
    /// # Errors
    /// None in practice.
    pub fn between(old: &Config, new: &Config) -> anyhow::Result<Self> {
        let [old, new] = [old, new].map(|config| config.clone().with_absolute_paths());
        Ok(Self(differences(&old, &new)?))
    }

    /// Each changed key with both values.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|Difference { key, old, new }| format!("{key}: {old} -> {new}"))
    }

    /// Lets safe changes pass, and with `force` every one that the saved weights survive.
    ///
    /// # Errors
    /// Names the keys that cannot change.
    pub fn check(&self, force: bool) -> anyhow::Result<()> {
        let shape = self.among(|change| change == Change::Shape);
        ensure!(
            shape.is_empty(),
            "a resumed run cannot change {}: the saved weights would not fit; start a new run",
            shape.join(", ")
        );
        let unsafe_ones = self.among(|change| change != Change::Safe);
        if !force && !unsafe_ones.is_empty() {
            bail!(
                "a resumed run cannot change {}: it would be another experiment; start a new run, \
                 or insist with --force-changes",
                unsafe_ones.join(", ")
            );
        }
        Ok(())
    }

    /// The changes of such keys.
    fn among(&self, which: impl Fn(Change) -> bool) -> Vec<String> {
        let Self(all) = self;
        let change = |name: &str| {
            let key = Config::keys().find(|key| key.name == name);
            key.map_or(Change::Experiment, |key| key.change)
        };
        let found = all.iter().filter(|difference| which(change(&difference.key)));
        found.map(|Difference { key, old, new }| format!("{key} ({old} -> {new})")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(force: bool, change: fn(&mut Config)) -> Result<(), String> {
        let old = Config::default();
        let mut new = old.clone();
        change(&mut new);
        let changes = Changes::between(&old, &new).unwrap();
        changes.check(force).map_err(|error| error.to_string())
    }

    #[test]
    fn an_absolute_path_is_no_change() {
        let mut old = Config::default();
        old.data.sources = vec!["text.txt".into()];
        let new = old.clone().with_absolute_paths();
        assert_ne!(old, new);
        assert_eq!(Changes::between(&old, &new).unwrap().lines().count(), 0);
    }

    #[test]
    fn safe_keys_pass() {
        let safe: [fn(&mut Config); 9] = [
            |config| config.data.piece_mib += 1,
            |config| config.train.steps += 1,
            // They say how long a run is, as steps do.
            |config| config.train.tokens = Some(1),
            |config| config.train.epochs = Some(1.0),
            |config| config.train.tokens_per_parameter = Some(1.0),
            |config| config.train.workers += 1,
            |config| config.eval.every += 1,
            |config| config.checkpoint.minutes = 1.0,
            |config| config.sample.tokens += 1,
        ];
        assert!(safe.into_iter().all(|change| check(false, change).is_ok()));
    }

    #[test]
    fn other_experiments_need_force_and_other_shapes_never_pass() {
        let others: [fn(&mut Config); 4] = [
            |config| config.data.validation = 0.2,
            |config| config.train.lr = 0.5,
            |config| config.seed = 9,
            |config| config.model.norm_eps = 0.5,
        ];
        for change in others {
            assert!(check(false, change).unwrap_err().contains("--force-changes"));
            assert!(check(true, change).is_ok());
        }
        let error = check(true, |config| config.model.dim = 256).unwrap_err();
        assert!(error.starts_with("a resumed run cannot change model.dim (128 -> 256): the saved"));
        assert!(check(true, |config| config.model.depth = 1).is_err());
    }
}
