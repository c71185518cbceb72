use std::{collections::BTreeMap, io, path::Path};

use anyhow::{Context, anyhow, bail};
use bitnet::storage::open_input;
use strsim::damerau_levenshtein;
use toml::{Table, Value};

use super::{
    Config,
    overrides::Overrides,
    train::BUDGETS,
    tree::{get, leaves, remove},
};

/// Reads a file and applies the overrides.
///
/// # Errors
/// One line that names the key, and the file or what of the command line sets it.
pub fn load(path: &Path, overrides: &Overrides) -> anyhow::Result<Config> {
    let text = open_input(path)
        .and_then(io::read_to_string)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let in_file = |error: anyhow::Error| error.context(path.display().to_string());
    let table = parse(&text).map_err(in_file)?;
    overrides.applied(&table, from_table, in_file)
}

/// Reads a configuration that [`to_toml`] wrote.
///
/// # Errors
/// One line that names the key.
pub fn from_toml(text: &str) -> anyhow::Result<Config> {
    from_table(parse(text)?)
}

/// The whole configuration as TOML.
///
/// # Errors
/// None in practice: every value has a TOML form.
pub fn to_toml(config: &Config) -> anyhow::Result<String> {
    Ok(toml::to_string(&to_table(config)?)?)
}

impl Overrides {
    /// Applies them to a configuration that was read before.
    ///
    /// # Errors
    /// As [`load`].
    pub fn apply_to(&self, config: &Config) -> anyhow::Result<Config> {
        self.applied(&to_table(config)?, from_table, |error| error)
    }
}

/// Every dotted key with its value, in TOML.
///
/// # Errors
/// None in practice.
pub fn pairs(config: &Config) -> anyhow::Result<BTreeMap<String, String>> {
    let table = to_table(config)?;
    let pair = |key: String| get(&table, &key).map(|value| (key.clone(), written(value)));
    Ok(leaves(&table).into_iter().filter_map(pair).collect())
}

fn to_table(config: &Config) -> anyhow::Result<Table> {
    let mut table = Table::try_from(config)?;
    if BUDGETS[1..].iter().any(|key| get(&table, key).is_some()) {
        remove(&mut table, BUDGETS[0]);
    }
    Ok(table)
}

/// The dotted keys in which two configurations differ, with both values.
///
/// # Errors
/// As [`to_toml`].
pub(super) fn differences(a: &Config, b: &Config) -> anyhow::Result<Vec<Difference>> {
    let (a, b) = (to_table(a)?, to_table(b)?);
    let mut keys: Vec<String> = leaves(&a).into_iter().chain(leaves(&b)).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| get(&a, key) != get(&b, key));
    let show = |table, key: &str| get(table, key).map_or("unset".into(), written);
    let differences = keys.into_iter().map(|key| {
        let (old, new) = (show(&a, &key), show(&b, &key));
        Difference { key, old, new }
    });
    Ok(differences.collect())
}

/// A value in TOML, fractions as short as they can be.
fn written(value: &Value) -> String {
    match value {
        Value::Float(number) => format!("{number:?}"),
        other => other.to_string(),
    }
}

/// A key in which two configurations differ.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    /// The dotted key.
    pub(super) key: String,
    /// Its value in the first, in TOML.
    pub(super) old: String,
    /// Its value in the second.
    pub(super) new: String,
}

fn parse(text: &str) -> anyhow::Result<Table> {
    text.parse::<Table>().map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text[..start.min(text.len())].lines().count().max(1);
        anyhow!("line {line}: {}", error.message().lines().next().unwrap_or("invalid TOML"))
    })
}

fn from_table(table: Table) -> anyhow::Result<Config> {
    let known: Vec<&str> = Config::keys().map(|key| key.name).collect();
    if let Some(unknown) = leaves(&table).into_iter().find(|key| !is_known(key, &known)) {
        bail!("unknown key \"{unknown}\"; {}", suggestion(&unknown, &known));
    }
    // serde would fill a section from a list, key by key.
    if let Some((section, _)) = table.iter().find(|(_, value)| value.is_array()) {
        bail!("{section}: a list, where a section with keys is wanted");
    }
    let budgets: Vec<&str> = BUDGETS.into_iter().filter(|key| get(&table, key).is_some()).collect();
    if let [first, second, ..] = budgets[..] {
        bail!("{first} and {second} both say how long the run is: keep one");
    }
    let config: Config =
        serde_path_to_error::deserialize(Value::Table(table.clone())).map_err(|error| {
            let reason = error.inner().message().lines().collect::<Vec<_>>().join(" ");
            let key = error.path().to_string();
            let value =
                get(&table, &key).filter(|_| WANTS_TEXT.iter().any(|t| reason.ends_with(t)));
            let advice = value.and_then(|value| in_quotes(&key, value));
            anyhow!("{key}: {}", advice.unwrap_or(reason))
        })?;
    config.resolve()
}

/// How errors end where a text is wanted.
const WANTS_TEXT: [&str; 2] = ["expected a string", "expected path string"];

/// What helps where a value is meant as a text but reads as something else.
fn in_quotes(key: &str, value: &Value) -> Option<String> {
    let what = match value {
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "a truth value",
        Value::Datetime(_) => "a date or time",
        _ => return None,
    };
    let value = written(value);
    Some(format!(
        "{value} is {what}, a text is wanted: --set '{key}=\"{value}\"', or in the file with such \
         quotes"
    ))
}

/// Letters with which the beginning of a key may stand for it.
const PREFIX: usize = 3;

/// What may have been meant by a key that there is none of. Its last part counts most: the section
/// is often left out, or another one. One that it begins is nearer than one that is spelt like it.
fn suggestion(unknown: &str, known: &[&str]) -> String {
    let (section, name) = unknown.rsplit_once('.').map_or((None, unknown), |(s, n)| (Some(s), n));
    let distance = |key: &str| {
        let (its_section, its_name) = key.rsplit_once('.').unwrap_or(("", key));
        let section = section.map_or(0, |section| damerau_levenshtein(section, its_section));
        let spelling = match damerau_levenshtein(name, its_name) {
            0 => 0,
            _ if name.len() >= PREFIX && its_name.starts_with(name) => 1,
            other => 1 + other,
        };
        (spelling, section)
    };
    let least = known.iter().map(|&key| distance(key)).min().unwrap_or_default();
    if least.0 > 1 + name.len().div_ceil(3) {
        return "--print-config shows all".into();
    }
    let nearest = known.iter().filter(|key| distance(key) == least);
    let nearest: Vec<String> = nearest.map(|key| format!("\"{key}\"")).collect();
    match &nearest[..] {
        [one] => format!("the nearest valid one is {one}"),
        several => format!("the nearest valid ones are {}", several.join(", ")),
    }
}

/// A section given as a plain value is known, too: its type is what is wrong.
fn is_known(key: &str, known: &[&str]) -> bool {
    known.iter().any(|&k| k == key || k.starts_with(&format!("{key}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, set: &[&str]) -> anyhow::Result<Config> {
        let set = set.iter().map(ToString::to_string).collect();
        let overrides = Overrides { set, ..Overrides::default() };
        overrides.applied(&parse(text)?, from_table, |error| error.context("file.toml"))
    }

    /// Without what it blames: the file, or what sets a key.
    fn error(text: &str, set: &[&str]) -> String {
        let error = format!("{:#}", read(text, set).unwrap_err());
        let what = ["file.toml: ", "--set "].iter().find_map(|blamed| error.strip_prefix(blamed));
        what.unwrap_or(&error).into()
    }

    #[test]
    fn a_section_is_no_list() {
        for section in ["model", "train", "data", "backend", "twin"] {
            for list in ["[]", "[64]"] {
                let line = format!("{section} = {list}");
                let words = format!("{section}: a list, where a section with keys is wanted");
                assert_eq!(error(&line, &[]), words);
                assert!(read("", &[&line.replace(' ', "")]).is_err(), "{line}");
            }
        }
    }

    #[test]
    fn what_sets_a_key_is_to_blame_for_it() {
        let error = |text, set: &[&str]| format!("{:#}", read(text, set).unwrap_err());
        let file = "[train]\nsteps = 0";
        let said = error("", &["train.step=3"]);
        assert!(said.starts_with("--set train.step: unknown key \"train.step\"; "), "{said}");
        let said = error("", &["train.steps=0", "train.steps=0"]);
        assert!(said.starts_with("--set train.steps is 0, must be "), "{said}");
        assert!(error(file, &["seed=1"]).starts_with("file.toml: train.steps is 0"));
        assert!(error(file, &["train.lr=-1", "train.steps=9"]).starts_with("--set train.lr is -1"));
        let said = error("[model]\ndim = 128\nheads = 4", &["seed=1", "model.heads=3"]);
        assert!(said.starts_with("--set model.heads: "), "{said}");

        let with = |overrides: Overrides| {
            format!("{:#}", overrides.apply_to(&Config::default()).unwrap_err())
        };
        let some = || Some("cudaa".to_owned());
        let said = with(Overrides { backend: some(), ..Overrides::default() });
        assert!(said.starts_with("--backend: unknown variant `cudaa`"), "{said}");
        let said = with(Overrides { device: some(), ..Overrides::default() });
        assert!(said.starts_with("--device: "), "{said}");
        let said = with(Overrides { init_from: Some(String::new()), ..Overrides::default() });
        assert!(said.starts_with("--init-from is empty"), "{said}");
    }

    #[test]
    fn overrides_reach_any_key() {
        let config = read(
            "[train]\nsteps = 5",
            &[
                "train.steps=7",
                "model.quant=none",
                "train.betas=[0.8, 0.9]",
                "train.warmup=0",
                "data.sources=[\"a.txt\"]",
                "sample.prompt=a b",
            ],
        )
        .unwrap();
        assert_eq!(config.train.steps, 7);
        assert_eq!(config.train.betas, [0.8, 0.9]);
        assert_eq!(config.model.quant, bitnet::quant::WeightQuant::None);
        assert_eq!(config.data.sources, ["a.txt"]);
        assert_eq!(config.sample.prompt, "a b");
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let config = read("", &["model.group_size=32", "seed=3"]).unwrap();
        let printed = to_toml(&config).unwrap();
        assert_eq!(read(&printed, &[]).unwrap(), config);
        assert!(printed.contains("ff_dim = 512"), "{printed}");
    }

    #[test]
    fn errors_name_the_key() {
        let unknown = error("[train]\nstpes = 5", &[]);
        assert_eq!(
            unknown,
            "unknown key \"train.stpes\"; the nearest valid one is \"train.steps\""
        );
        assert!(error("[modle]\ndim = 5", &[]).contains("\"model.dim\""));
        assert!(error("", &["train.lrr=1"]).contains("\"train.lr\""));
        for (key, suggested) in [
            ("steps", "one is \"train.steps\""),
            ("lr", "one is \"train.lr\""),
            ("sed", "one is \"seed\""),
            ("train.sched", "one is \"train.schedule\""),
            ("sched", "one is \"train.schedule\""),
            ("warm", "one is \"train.warmup\""),
            ("eval.bat", "one is \"eval.batch\""),
            ("mod.dim_h", "one is \"model.dim_head\""),
            ("train.tokens_per", "one is \"train.tokens_per_parameter\""),
            ("model.seed", "one is \"seed\""),
            ("model.steps", "one is \"train.steps\""),
            ("trian.steps", "one is \"train.steps\""),
            ("evl.every", "one is \"eval.every\""),
            ("every", "ones are \"eval.every\", \"checkpoint.every\", \"sample.every\""),
            ("train.learning_rate", "--print-config shows all"),
            ("x", "--print-config shows all"),
        ] {
            let said = error("", &[&format!("{key}=1")]);
            assert!(said.ends_with(suggested), "{said}");
        }
        assert!(error("train = 5", &[]).starts_with("train: invalid type"));
        assert!(error("[train]\nsteps = \"many\"", &[]).starts_with("train.steps: invalid type"));
        assert!(error("[train]\nsteps = -1", &[]).starts_with("train.steps: "));
        assert!(error("[model]\nquant = \"trinary\"", &[]).contains("unknown variant `trinary`"));
        assert!(error("a = 1\nb = [", &[]).starts_with("line 2: "));
        assert!(error("", &["train.lr=nan"]).starts_with("train.lr is NaN"));
        assert!(error("", &["data.validation=1.0"]).starts_with("data.validation is 1"));
        assert!(error("", &["model.heads=3"]).contains("dim_head"));
        assert!(error("", &["train"]).contains("KEY=VALUE"));
        let context = "model.context is 0, must be between 1 and 16777216";
        assert_eq!(error("", &["model.context=0"]), context);
        let text = "sample.prompt: 5 is a number, a text is wanted: --set 'sample.prompt=\"5\"'";
        assert!(error("", &["sample.prompt=5"]).starts_with(text));
        assert!(read("", &["sample.prompt=\"5\""]).is_ok());
        assert!(error("", &["data.cache=true"]).contains("--set 'data.cache=\"true\"'"));
    }

    /// Fractions are held in 32 bits by models and optimisers, whatever the key.
    #[test]
    fn no_key_takes_what_32_bits_do_not_hold() {
        for key in Config::keys().map(|key| key.name) {
            for value in ["1e308", "-1e308", "inf", "-inf", "nan"] {
                for set in [format!("{key}={value}"), format!("{key}=[{value}, {value}]")] {
                    let error = error("", &[&set]);
                    assert!(error.starts_with(key), "{set}: {error}");
                }
            }
        }
        for key in ["model.init_std", "model.norm_eps", "model.rope_theta", "train.epsilon"] {
            let error = error("", &[&format!("{key}=1e-60")]);
            assert_eq!(error, format!("{key} is 1e-60, in 32 bits 0, must be above 0"));
        }
        assert!(error("", &["train.lr=1e-60"]).starts_with("train.lr is 1e-60, in 32 bits 0"));
        let betas = error("", &["train.betas=[0.9, 0.99999999999]"]);
        assert!(betas.starts_with("train.betas is 0.99999999999, in 32 bits 1"), "{betas}");
    }

    #[test]
    fn a_key_has_one_value() {
        for set in ["train={lr=0.1}", "train.lr={a=1}"] {
            assert!(error("", &[set]).contains("a key has one value"), "{set}");
        }
        let error = error("", &[&format!("{}a=1", "a.".repeat(30_000))]);
        assert!(error.ends_with("there is no such key"));
        // What follows a value is a part of it, and that is no number.
        assert!(read("", &["train.steps=5\nfoo=3"]).is_err());
    }

    #[test]
    fn differences_are_named() {
        let a = read("", &[]).unwrap();
        let b = read("", &["train.steps=2000", "model.group_size=64"]).unwrap();
        let found = differences(&a, &b).unwrap();
        let found: Vec<_> =
            found.iter().map(|d| (d.key.as_str(), d.old.as_str(), d.new.as_str())).collect();
        let group = ("model.group_size", "unset", "64");
        assert_eq!(found, [group, ("train.steps", "1000", "2000")]);
    }

    #[test]
    fn one_key_says_how_long_the_run_is() {
        let config = read("[train]\nsteps = 5", &["train.tokens=7"]).unwrap();
        assert_eq!(config.train.tokens, Some(7));
        let printed = to_toml(&config).unwrap();
        assert!(!printed.contains("steps ="), "{printed}");
        assert_eq!(read(&printed, &[]).unwrap().train.tokens, Some(7));
        let both = error("[train]\nsteps = 5\nepochs = 1.0", &[]);
        assert_eq!(both, "train.steps and train.epochs both say how long the run is: keep one");
        let both = error("", &["train.steps=4", "train.steps=5", "train.tokens=100"]);
        let expected = "train.steps and --set train.tokens both say how long the run is: keep one";
        assert_eq!(both, expected);
        assert!(error("", &["train.epochs=0"]).starts_with("train.epochs is 0"));
    }
}
