//! Values in a TOML table by their dotted keys.

use anyhow::anyhow;
use toml::{Table, Value};

/// Sets a value, in sections that are made where they are missing.
///
/// # Errors
/// If a part of the key but the last is a plain value.
pub(super) fn insert(table: &mut Table, key: &str, value: Value) -> anyhow::Result<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.into(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let section =
                section.as_table_mut().ok_or_else(|| anyhow!("{key} is in no section"))?;
            insert(section, rest, value)
        }
    }
}

/// The value of a key.
pub(super) fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((section, rest)) => get(table.get(section)?.as_table()?, rest),
    }
}

/// Takes a key away, if it is there.
pub(super) fn remove(table: &mut Table, key: &str) {
    match key.split_once('.') {
        None => _ = table.remove(key),
        Some((section, rest)) => {
            if let Some(section) = table.get_mut(section).and_then(Value::as_table_mut) {
                remove(section, rest);
            }
        }
    }
}

/// Dotted keys of all values that are not tables.
pub(super) fn leaves(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(section) => {
                keys.extend(leaves(section).into_iter().map(|rest| format!("{key}.{rest}")));
            }
            _ => keys.push(key.clone()),
        }
    }
    keys
}
