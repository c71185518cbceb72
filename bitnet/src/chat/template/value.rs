use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use super::budget::{Budget, Failure, UNITS_PER_ITEM};

/// Deepest nesting of lists.
const MAX_DEPTH: usize = 8;

/// A value of a template.
///
/// No value can hold itself: lists and mappings are made of what is there, and a namespace holds no
/// namespace. Nor can a small one be written as a large text: lists are not written at all.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A name or a field that is not there.
    Undefined,
    None,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    List(List),
    Map(Rc<Map>),
    Namespace(Rc<RefCell<BTreeMap<Box<str>, Value>>>),
    /// What a loop says about itself.
    Loop(Rc<Loop>),
}

/// Items, and how deep lists in them are nested.
#[derive(Debug, Clone)]
pub(super) struct List {
    items: Rc<Vec<Value>>,
    depth: usize,
}

/// Fields in their order.
#[derive(Debug)]
pub(super) struct Map {
    fields: Vec<(Rc<str>, Value)>,
    depth: usize,
}

/// Where a loop is.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) items: List,
    pub(super) index: usize,
}

impl List {
    pub(super) fn items(&self) -> &[Value] {
        &self.items
    }
}

impl Map {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| &**field == name).map(|(_, value)| value)
    }

    pub(super) fn fields(&self) -> &[(Rc<str>, Value)] {
        &self.fields
    }
}

impl Value {
    /// A text, which is paid for.
    pub(super) fn text(text: &str, budget: &Budget) -> Result<Self, Failure> {
        budget.spend(text.len())?;
        Ok(Self::Text(text.into()))
    }

    /// A list, which is paid for.
    pub(super) fn list(items: Vec<Self>, budget: &Budget) -> Result<Self, Failure> {
        budget.spend(UNITS_PER_ITEM * items.len())?;
        let depth = nested(items.iter())?;
        Ok(Self::List(List { items: items.into(), depth }))
    }

    /// A mapping, which is paid for.
    pub(super) fn map(fields: Vec<(Rc<str>, Self)>, budget: &Budget) -> Result<Self, Failure> {
        budget.spend(2 * UNITS_PER_ITEM * fields.len())?;
        let depth = nested(fields.iter().map(|(_, value)| value))?;
        Ok(Self::Map(Rc::new(Map { fields, depth })))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::None => "none",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Namespace(_) => "a namespace",
            Self::Loop(_) => "a loop",
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.fields.is_empty(),
            Self::Namespace(_) | Self::Loop(_) => true,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As it is written, like Python does; paid for.
    pub(super) fn written(&self, budget: &Budget) -> Result<Rc<str>, Failure> {
        let text: Rc<str> = match self {
            Self::Undefined => "".into(),
            Self::None => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Int(number) => number.to_string().into(),
            Self::Text(text) => text.clone(),
            other => return Err(Failure::new(format!("{} cannot be written", other.kind()))),
        };
        budget.spend(text.len())?;
        Ok(text)
    }

    /// What is iterated over: items, names of fields, or characters.
    pub(super) fn iterated(&self, budget: &Budget) -> Result<List, Failure> {
        let items = match self {
            Self::List(list) => return Ok(list.clone()),
            Self::Undefined => Vec::new(),
            Self::Map(map) => map.fields.iter().map(|(name, _)| Self::Text(name.clone())).collect(),
            Self::Text(text) => {
                budget.spend(UNITS_PER_ITEM * text.len())?;
                text.chars().map(|letter| Self::Text(letter.to_string().into())).collect()
            }
            other => {
                return Err(Failure::new(format!("{} has no items to go through", other.kind())));
            }
        };
        budget.spend(UNITS_PER_ITEM * items.len())?;
        Ok(List { items: items.into(), depth: 1 })
    }

    /// Whether both are the same.
    pub(super) fn equals(&self, other: &Self, budget: &Budget) -> Result<bool, Failure> {
        Ok(match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Bool(a), Self::Int(b)) | (Self::Int(b), Self::Bool(a)) => i64::from(*a) == *b,
            (Self::Text(a), Self::Text(b)) => {
                budget.spend(a.len().min(b.len()) / 8)?;
                a == b
            }
            (Self::List(a), Self::List(b)) => {
                if a.items.len() != b.items.len() {
                    return Ok(false);
                }
                for (a, b) in a.items.iter().zip(b.items.iter()) {
                    budget.spend(UNITS_PER_ITEM)?;
                    if !a.equals(b, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(a), Self::Map(b)) => Rc::ptr_eq(a, b),
            (Self::Namespace(a), Self::Namespace(b)) => Rc::ptr_eq(a, b),
            _ => false,
        })
    }

    /// Whether `item` is in it.
    pub(super) fn contains(&self, item: &Self, budget: &Budget) -> Result<bool, Failure> {
        match (self, item) {
            (Self::Text(text), Self::Text(part)) => {
                budget.spend(text.len())?;
                Ok(text.contains(&**part))
            }
            (Self::Text(_), other) => {
                Err(Failure::new(format!("{} is looked for in a text", other.kind())))
            }
            (Self::List(list), item) => {
                for other in list.items.iter() {
                    budget.spend(UNITS_PER_ITEM)?;
                    if other.equals(item, budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Self::Map(map), Self::Text(name)) => Ok(map.get(name).is_some()),
            (Self::Map(_) | Self::Undefined, _) => Ok(false),
            (other, _) => Err(Failure::new(format!("something is looked for in {}", other.kind()))),
        }
    }
}

/// The depth of what holds these values.
fn nested<'v>(values: impl Iterator<Item = &'v Value>) -> Result<usize, Failure> {
    let mut depth = 1;
    for value in values {
        depth = depth.max(match value {
            Value::List(list) => list.depth + 1,
            Value::Map(map) => map.depth + 1,
            Value::Namespace(_) | Value::Loop(_) => {
                return Err(Failure::new(format!("{} in a list or mapping", value.kind())));
            }
            _ => 1,
        });
    }
    match depth <= MAX_DEPTH {
        true => Ok(depth),
        false => Err(Failure::new("its lists are nested too deeply")),
    }
}
