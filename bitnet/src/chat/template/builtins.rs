//! Functions, filters and tests that templates of released models use.

use std::{cell::RefCell, rc::Rc};

use super::{
    budget::{Budget, Failure, UNITS_PER_ITEM},
    methods,
    value::Value,
};

/// Arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a> {
    pub(super) placed: Vec<Value>,
    pub(super) named: Vec<(&'a str, Value)>,
}

impl Arguments<'_> {
    /// An argument by its name, or else its place.
    pub(super) fn get(&self, name: &str, place: usize) -> Option<&Value> {
        let named = self.named.iter().find(|(other, _)| *other == name).map(|(_, value)| value);
        named.or_else(|| self.placed.get(place))
    }
}

/// Names of functions, which are defined.
pub(super) const FUNCTIONS: [&str; 4] = ["namespace", "raise_exception", "range", "dict"];

/// Calls a function.
pub(super) fn function(
    name: &str,
    arguments: Arguments<'_>,
    budget: &Budget,
) -> Result<Value, Failure> {
    match (name, &arguments.placed[..]) {
        ("raise_exception", [message]) => {
            Err(Failure::new(format!("it says: {}", message.written(budget)?)))
        }
        ("namespace", []) => {
            let value = Value::Namespace(Rc::new(RefCell::default()));
            for (name, field) in arguments.named {
                assign(&value, name, field)?;
            }
            Ok(value)
        }
        ("dict", []) => {
            let fields = arguments.named.into_iter().map(|(name, value)| (name.into(), value));
            Value::map(fields.collect(), budget)
        }
        ("range", &[Value::Int(end)]) => range(0, end, 1, budget),
        ("range", &[Value::Int(start), Value::Int(end)]) => range(start, end, 1, budget),
        ("range", &[Value::Int(start), Value::Int(end), Value::Int(step)]) if step != 0 => {
            range(start, end, step, budget)
        }
        _ => Err(Failure::new(format!("there is no function {name:?} of such arguments"))),
    }
}

fn range(start: i64, end: i64, step: i64, budget: &Budget) -> Result<Value, Failure> {
    let mut items = Vec::new();
    let mut number = start;
    while if step > 0 { number < end } else { number > end } {
        budget.spend(UNITS_PER_ITEM)?;
        items.push(Value::Int(number));
        let Some(next) = number.checked_add(step) else { break };
        number = next;
    }
    Value::list(items, budget)
}

/// Sets a field of a namespace.
pub(super) fn assign(target: &Value, name: &str, value: Value) -> Result<(), Failure> {
    match (target, value) {
        (Value::Namespace(_), Value::Namespace(_) | Value::Loop(_)) => {
            Err(Failure::new("a namespace in a namespace"))
        }
        (Value::Namespace(fields), value) => {
            fields.borrow_mut().insert(name.into(), value);
            Ok(())
        }
        (other, _) => Err(Failure::new(format!("a field of {} cannot be set", other.kind()))),
    }
}

/// Applies a filter.
pub(super) fn filter(
    name: &str,
    value: Value,
    arguments: &Arguments<'_>,
    budget: &Budget,
) -> Result<Value, Failure> {
    let text = |value: &Value| value.written(budget);
    let items = |value: &Value| Ok::<_, Failure>(value.iterated(budget)?.items().to_vec());
    match name {
        "trim" => match arguments.get("chars", 0) {
            None => methods::call(&Value::Text(text(&value)?), "strip", &[], budget),
            Some(letters) => {
                let letters = std::slice::from_ref(letters);
                methods::call(&Value::Text(text(&value)?), "strip", letters, budget)
            }
        },
        "upper" => methods::upper(&text(&value)?, budget),
        "lower" => methods::lower(&text(&value)?, budget),
        "title" => methods::title(&text(&value)?, budget),
        "capitalize" => methods::capitalize(&text(&value)?, budget),
        "string" => Ok(Value::Text(text(&value)?)),
        "safe" => Ok(value),
        "int" => Ok(match &value {
            Value::Int(number) => Value::Int(*number),
            Value::Bool(value) => Value::Int((*value).into()),
            Value::Text(text) => Value::Int(text.trim().parse().unwrap_or(0)),
            _ => Value::Int(0),
        }),
        "default" | "d" => {
            let even_false = arguments.get("boolean", 1).is_some_and(Value::is_true);
            let is_there = !matches!(value, Value::Undefined) && (value.is_true() || !even_false);
            match (is_there, arguments.get("default_value", 0)) {
                (true, _) => Ok(value),
                (false, default) => Ok(default.cloned().unwrap_or(Value::Text("".into()))),
            }
        }
        "length" | "count" => match &value {
            Value::Text(text) => {
                budget.spend(text.len())?;
                Ok(Value::Int(text.chars().count() as i64))
            }
            other => Ok(Value::Int(other.iterated(budget)?.items().len() as i64)),
        },
        "first" => Ok(value.iterated(budget)?.items().first().cloned().unwrap_or(Value::Undefined)),
        "last" => Ok(value.iterated(budget)?.items().last().cloned().unwrap_or(Value::Undefined)),
        "list" => Value::list(items(&value)?, budget),
        "reverse" => {
            let mut items = items(&value)?;
            items.reverse();
            Value::list(items, budget)
        }
        "items" => methods::call(&value, "items", &[], budget),
        "join" => {
            let by = arguments.get("d", 0).map(text).transpose()?;
            methods::join(&value, by.as_deref().unwrap_or(""), budget)
        }
        "replace" => match (arguments.get("old", 0), arguments.get("new", 1)) {
            (Some(from), Some(to)) => {
                methods::replace(&text(&value)?, &text(from)?, &text(to)?, budget)
            }
            _ => Err(Failure::new("the filter \"replace\" of fewer than two arguments")),
        },
        "selectattr" | "rejectattr" => select(name == "selectattr", &value, arguments, budget),
        "map" => match arguments.named.as_slice() {
            [("attribute", Value::Text(field))] => {
                let values = items(&value)?;
                let fields = values.iter().map(|item| self::field(item, field));
                Value::list(fields.collect(), budget)
            }
            _ => Err(Failure::new("the filter \"map\" without an attribute")),
        },
        _ => Err(Failure::new(format!("the filter {name:?} is not known"))),
    }
}

/// The items of a list whose field passes a test, or those for which it does not.
fn select(
    passes: bool,
    list: &Value,
    arguments: &Arguments<'_>,
    budget: &Budget,
) -> Result<Value, Failure> {
    let [Value::Text(name), rest @ ..] = &arguments.placed[..] else {
        return Err(Failure::new("a selection without the name of a field"));
    };
    let mut kept = Vec::new();
    for item in list.iterated(budget)?.items() {
        budget.spend(UNITS_PER_ITEM)?;
        let value = field(item, name);
        let does = match rest {
            [] => value.is_true(),
            [Value::Text(name), rest @ ..] => test(name, &value, rest, budget)?,
            _ => return Err(Failure::new("a selection by what is no test")),
        };
        if does == passes {
            kept.push(item.clone());
        }
    }
    Value::list(kept, budget)
}

/// A field of a mapping, where it is there.
fn field(value: &Value, name: &str) -> Value {
    match value {
        Value::Map(map) => map.get(name).cloned().unwrap_or(Value::Undefined),
        _ => Value::Undefined,
    }
}

/// Whether a value passes a test.
pub(super) fn test(
    name: &str,
    value: &Value,
    args: &[Value],
    budget: &Budget,
) -> Result<bool, Failure> {
    Ok(match (name, args) {
        ("defined", []) => !matches!(value, Value::Undefined),
        ("undefined", []) => matches!(value, Value::Undefined),
        ("none", []) => matches!(value, Value::None),
        ("string", []) => matches!(value, Value::Text(_)),
        ("number" | "integer", []) => matches!(value, Value::Int(_)),
        ("boolean", []) => matches!(value, Value::Bool(_)),
        ("true", []) => matches!(value, Value::Bool(true)),
        ("false", []) => matches!(value, Value::Bool(false)),
        ("mapping", []) => matches!(value, Value::Map(_)),
        ("sequence" | "iterable", []) => {
            matches!(value, Value::List(_) | Value::Text(_) | Value::Map(_))
        }
        ("odd", []) => matches!(value, Value::Int(number) if number % 2 != 0),
        ("even", []) => matches!(value, Value::Int(number) if number % 2 == 0),
        ("divisibleby", [Value::Int(by)]) if *by != 0 => {
            matches!(value, Value::Int(number) if number.wrapping_rem(*by) == 0)
        }
        ("equalto" | "eq" | "==", [other]) => value.equals(other, budget)?,
        ("ne" | "!=", [other]) => !value.equals(other, budget)?,
        ("in", [list]) => list.contains(value, budget)?,
        _ => return Err(Failure::new(format!("the test {name:?} is not known"))),
    })
}
