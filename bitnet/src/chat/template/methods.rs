//! Methods of texts and mappings, as Python has them.

use std::rc::Rc;

use super::{
    budget::{Budget, Failure, UNITS_PER_ITEM},
    value::Value,
};

/// Calls a method of a value.
pub(super) fn call(
    value: &Value,
    name: &str,
    args: &[Value],
    budget: &Budget,
) -> Result<Value, Failure> {
    match value {
        Value::Text(text) => of_text(text, name, args, budget),
        Value::Map(map) => {
            let pair = |(name, value): &(Rc<str>, Value)| {
                Value::list(vec![Value::Text(name.clone()), value.clone()], budget)
            };
            match (name, args) {
                ("get", [Value::Text(field)]) => Ok(map.get(field).cloned().unwrap_or(Value::None)),
                ("get", [Value::Text(field), default]) => {
                    Ok(map.get(field).unwrap_or(default).clone())
                }
                ("keys", []) => {
                    let names = map.fields().iter().map(|(name, _)| Value::Text(name.clone()));
                    Value::list(names.collect(), budget)
                }
                ("values", []) => {
                    let values = map.fields().iter().map(|(_, value)| value.clone());
                    Value::list(values.collect(), budget)
                }
                ("items", []) => {
                    let pairs: Result<Vec<Value>, Failure> =
                        map.fields().iter().map(pair).collect();
                    Value::list(pairs?, budget)
                }
                _ => Err(unknown(value, name)),
            }
        }
        _ => Err(unknown(value, name)),
    }
}

fn unknown(value: &Value, name: &str) -> Failure {
    Failure::new(format!("{} has no method {name:?} of such arguments", value.kind()))
}

fn of_text(text: &str, name: &str, args: &[Value], budget: &Budget) -> Result<Value, Failure> {
    budget.spend(text.len())?;
    let made = |text: &str| Value::text(text, budget);
    match (name, args) {
        ("strip" | "lstrip" | "rstrip", [] | [Value::None]) => made(match name {
            "strip" => text.trim(),
            "lstrip" => text.trim_start(),
            _ => text.trim_end(),
        }),
        ("strip" | "lstrip" | "rstrip", [Value::Text(letters)]) => {
            budget.spend(text.len().saturating_mul(letters.len()))?;
            let is_one = |letter: char| letters.contains(letter);
            made(match name {
                "strip" => text.trim_matches(is_one),
                "lstrip" => text.trim_start_matches(is_one),
                _ => text.trim_end_matches(is_one),
            })
        }
        ("startswith" | "endswith", [ends]) => {
            let ends = match ends {
                Value::List(list) => list.items(),
                one => std::slice::from_ref(one),
            };
            budget.spend(UNITS_PER_ITEM * ends.len())?;
            let is_end = |end: &str| match name {
                "startswith" => text.starts_with(end),
                _ => text.ends_with(end),
            };
            Ok(Value::Bool(ends.iter().filter_map(Value::as_text).any(is_end)))
        }
        ("removeprefix", [Value::Text(end)]) => made(text.strip_prefix(&**end).unwrap_or(text)),
        ("removesuffix", [Value::Text(end)]) => made(text.strip_suffix(&**end).unwrap_or(text)),
        ("upper", []) => upper(text, budget),
        ("lower", []) => lower(text, budget),
        ("title", []) => title(text, budget),
        ("capitalize", []) => capitalize(text, budget),
        ("replace", [Value::Text(from), Value::Text(to)]) => replace(text, from, to, budget),
        ("find", [Value::Text(part)]) => {
            let at = text.find(&**part).map(|at| text[..at].chars().count() as i64);
            Ok(Value::Int(at.unwrap_or(-1)))
        }
        ("count", [Value::Text(part)]) => Ok(Value::Int(text.matches(&**part).count() as i64)),
        ("split", [] | [Value::None]) => texts(text.split_whitespace(), budget),
        ("split", [Value::Text(by)]) if !by.is_empty() => texts(text.split(&**by), budget),
        ("split", [Value::Text(by), Value::Int(most @ 0..)]) if !by.is_empty() => {
            texts(text.splitn((*most as usize).saturating_add(1), &**by), budget)
        }
        ("splitlines", []) => texts(text.lines(), budget),
        ("join", [list]) => join(list, text, budget),
        ("isdigit", []) => Ok(Value::Bool(!text.is_empty() && text.chars().all(char::is_numeric))),
        _ => Err(unknown(&Value::Text("".into()), name)),
    }
}

/// A list of texts, each paid for before it is made.
fn texts<'t>(texts: impl Iterator<Item = &'t str>, budget: &Budget) -> Result<Value, Failure> {
    let mut items = Vec::new();
    for text in texts {
        budget.spend(UNITS_PER_ITEM)?;
        items.push(Value::text(text, budget)?);
    }
    Value::list(items, budget)
}

/// In capitals. Some letters become up to three.
pub(super) fn upper(text: &str, budget: &Budget) -> Result<Value, Failure> {
    budget.spend(3 * text.len())?;
    Ok(Value::Text(text.to_uppercase().into()))
}

pub(super) fn lower(text: &str, budget: &Budget) -> Result<Value, Failure> {
    budget.spend(3 * text.len())?;
    Ok(Value::Text(text.to_lowercase().into()))
}

/// Its first letter as a capital, no other.
pub(super) fn capitalize(text: &str, budget: &Budget) -> Result<Value, Failure> {
    budget.spend(3 * text.len())?;
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let text: String = first.chain(letters.flat_map(char::to_lowercase)).collect();
    Ok(Value::Text(text.into()))
}

/// The first letter of each word as a capital, no other.
pub(super) fn title(text: &str, budget: &Budget) -> Result<Value, Failure> {
    budget.spend(3 * text.len())?;
    let mut made = String::new();
    let mut is_inside = false;
    for letter in text.chars() {
        match is_inside {
            true => made.extend(letter.to_lowercase()),
            false => made.extend(letter.to_uppercase()),
        }
        is_inside = letter.is_alphabetic();
    }
    Ok(Value::Text(made.into()))
}

pub(super) fn replace(text: &str, from: &str, to: &str, budget: &Budget) -> Result<Value, Failure> {
    budget.spend(text.len())?;
    let count = text.matches(from).count();
    budget.spend(text.len() + count.saturating_mul(to.len()))?;
    Ok(Value::Text(text.replace(from, to).into()))
}

/// The items of a list as one text.
pub(super) fn join(list: &Value, by: &str, budget: &Budget) -> Result<Value, Failure> {
    let mut text = String::new();
    for (index, item) in list.iterated(budget)?.items().iter().enumerate() {
        budget.spend(UNITS_PER_ITEM + by.len())?;
        if index > 0 {
            text.push_str(by);
        }
        text.push_str(&item.written(budget)?);
    }
    Ok(Value::Text(text.into()))
}
