//! What the command line changes of a configuration, and which of it is to blame for an error.

use anyhow::{anyhow, bail, ensure};
use toml::{Table, Value};

use super::{
    train::BUDGETS,
    tree::{insert, remove},
};

/// More parts than any key has.
const MOST_PARTS: usize = 8;

/// What the command line changes.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `key=value` pairs, the value in TOML (a bare word is a string).
    pub set: Vec<String>,
    /// Replaces `data.sources`.
    pub data: Vec<String>,
    /// Replaces `backend.kind`.
    pub backend: Option<String>,
    /// Replaces `backend.device`.
    pub device: Option<String>,
    /// Replaces `train.init_from`.
    pub init_from: Option<String>,
}

/// One key that the command line sets.
struct Setting {
    /// What sets it, as it is typed.
    flag: String,
    key: String,
    value: Value,
}

impl Overrides {
    /// Has `read` make something of a table that they are applied to.
    ///
    /// # Errors
    /// Its own. One about a key that the command line sets, or that would not be there, or be
    /// another, without what it sets of some key, names that; for every other, `elsewhere` says where the table is from.
    pub(super) fn applied<T>(
        &self,
        table: &Table,
        read: impl Fn(Table) -> anyhow::Result<T>,
        elsewhere: impl FnOnce(anyhow::Error) -> anyhow::Error,
    ) -> anyhow::Result<T> {
        let settings = self.settings()?;
        let read_without = |left_out: Option<&str>| {
            let mut table = table.clone();
            let kept = settings.iter().filter(|setting| Some(&*setting.key) != left_out);
            kept.into_iter().try_for_each(|setting| setting.apply(&mut table))?;
            read(table)
        };
        let error = match read_without(None) {
            Ok(read) => return Ok(read),
            Err(error) => error,
        };
        let said = format!("{error:#}");
        // From the last on: of several that set a key, that one is in force.
        let named = |setting: &&Setting| {
            let rest = said.strip_prefix(setting.key.as_str());
            rest.is_some_and(|rest| rest.starts_with([' ', ':']))
        };
        let to_blame = settings.iter().rev().find(named).or_else(|| {
            settings.iter().rev().find(|setting| {
                let without = read_without(Some(&setting.key));
                without.map_or_else(|other| format!("{other:#}") != said, |_| true)
            })
        });
        Err(to_blame.map_or_else(|| elsewhere(error), |setting| setting.blamed(&said)))
    }

    /// Everything that is set, what comes last being in force.
    fn settings(&self) -> anyhow::Result<Vec<Setting>> {
        let mut settings: Vec<Setting> = Vec::new();
        for pair in &self.set {
            let setting = Setting::parse(pair)?;
            let is_budget = |key: &str| BUDGETS.contains(&key);
            if is_budget(&setting.key)
                && let Some(other) =
                    settings.iter().find(|other| is_budget(&other.key) && other.key != setting.key)
            {
                bail!("{} and {} both say how long the run is: keep one", other.flag, setting.flag);
            }
            settings.push(setting);
        }
        let mut set = |flag: &str, key: &str, value| {
            settings.push(Setting { flag: flag.into(), key: key.into(), value });
        };
        if !self.data.is_empty() {
            let sources = self.data.iter().cloned().map(Value::String).collect();
            set("--data", "data.sources", Value::Array(sources));
        }
        for (flag, key, text) in [
            ("--backend", "backend.kind", &self.backend),
            ("--device", "backend.device", &self.device),
            ("--init-from", "train.init_from", &self.init_from),
        ] {
            if let Some(text) = text {
                set(flag, key, Value::String(text.clone()));
            }
        }
        Ok(settings)
    }
}

impl Setting {
    /// Reads `KEY=VALUE`.
    fn parse(pair: &str) -> anyhow::Result<Self> {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| anyhow!("--set {pair}: expected KEY=VALUE"))?;
        // A bare word is no TOML value; it is meant as a string.
        let value = format!("value = {value}")
            .parse::<Table>()
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(value.into()));
        let key = key.trim();
        ensure!(!value.is_table(), "--set {pair}: a key has one value; set several one by one");
        ensure!(key.split('.').count() <= MOST_PARTS, "--set {pair}: there is no such key");
        Ok(Self { flag: format!("--set {key}"), key: key.into(), value })
    }

    fn apply(&self, table: &mut Table) -> anyhow::Result<()> {
        if BUDGETS.contains(&&*self.key) {
            BUDGETS.iter().for_each(|other| remove(table, other));
        }
        insert(table, &self.key, self.value.clone())
    }

    /// An error that it is to blame for. Where that begins with the key, what set it takes the
    /// key's place.
    fn blamed(&self, said: &str) -> anyhow::Error {
        let Self { flag, key, .. } = self;
        match said.strip_prefix(key.as_str()) {
            Some(rest) if rest.starts_with([' ', ':']) => anyhow!("{flag}{rest}"),
            _ => anyhow!("{flag}: {said}"),
        }
    }
}
