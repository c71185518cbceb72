use std::rc::Rc;

use minijinja::{
    machinery::ast::{BinOpKind, Call, CallArg, CompareOpKind, Expr, Slice, UnaryOpKind},
    value::ValueKind,
};

use super::{
    budget::{Failure, UNITS_PER_STEP},
    builtins::{self, Arguments, FUNCTIONS},
    methods,
    run::Run,
    value::{Loop, Value},
};

impl<'a> Run<'a> {
    /// The value of an expression.
    pub(super) fn value(&mut self, expression: &'a Expr<'a>) -> Result<Value, Failure> {
        self.budget.spend(UNITS_PER_STEP)?;
        match expression {
            Expr::Var(var) => Ok(self.variable(var.id)),
            Expr::Const(constant) => self.constant(&constant.value),
            Expr::Slice(slice) => self.slice(slice),
            Expr::UnaryOp(unary) => match (&unary.op, self.value(&unary.expr)?) {
                (UnaryOpKind::Not, value) => Ok(Value::Bool(!value.is_true())),
                (UnaryOpKind::Neg, Value::Int(number)) => Ok(Value::Int(number.wrapping_neg())),
                (UnaryOpKind::Neg, other) => {
                    Err(Failure::new(format!("{} with a minus", other.kind())))
                }
            },
            Expr::BinOp(binary) => {
                let left = self.value(&binary.left)?;
                match (binary.op, left.is_true()) {
                    (BinOpKind::ScAnd, false) | (BinOpKind::ScOr, true) => Ok(left),
                    (BinOpKind::ScAnd | BinOpKind::ScOr, _) => self.value(&binary.right),
                    (operation, _) => {
                        let right = self.value(&binary.right)?;
                        self.binary(operation, &left, &right)
                    }
                }
            }
            Expr::Compare(chain) => {
                let mut left = self.value(&chain.expr)?;
                for next in &chain.ops {
                    let right = self.value(&next.expr)?;
                    if !self.compare(next.op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::IfExpr(choice) => match (self.value(&choice.test_expr)?, &choice.false_expr) {
                (test, _) if test.is_true() => self.value(&choice.true_expr),
                (_, Some(other)) => self.value(other),
                (_, None) => Ok(Value::Undefined),
            },
            Expr::Filter(filter) => {
                let Some(value) = &filter.expr else {
                    return Err(Failure::new("a filter of nothing"));
                };
                let value = self.value(value)?;
                let arguments = self.arguments(&filter.args)?;
                builtins::filter(filter.name, value, &arguments, &self.budget)
            }
            Expr::Test(test) => {
                let value = self.value(&test.expr)?;
                let arguments = self.arguments(&test.args)?;
                let passes = builtins::test(test.name, &value, &arguments.placed, &self.budget)?;
                Ok(Value::Bool(passes))
            }
            Expr::GetAttr(get) => {
                let value = self.value(&get.expr)?;
                self.field(&value, get.name)
            }
            Expr::GetItem(get) => {
                let value = self.value(&get.expr)?;
                let index = self.value(&get.subscript_expr)?;
                self.item(&value, &index)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.list(&list.items),
            Expr::Tuple(tuple) => self.list(&tuple.items),
            Expr::Map(map) => {
                let mut fields: Vec<(Rc<str>, Value)> = Vec::with_capacity(map.keys.len());
                for (name, value) in map.keys.iter().zip(&map.values) {
                    let Value::Text(name) = self.value(name)? else {
                        return Err(Failure::new("a mapping of what are no texts"));
                    };
                    fields.push((name, self.value(value)?));
                }
                Value::map(fields, &self.budget)
            }
        }
    }

    fn list(&mut self, items: &'a [Expr<'a>]) -> Result<Value, Failure> {
        let items: Result<Vec<Value>, Failure> =
            items.iter().map(|item| self.value(item)).collect();
        Value::list(items?, &self.budget)
    }

    fn constant(&self, constant: &minijinja::Value) -> Result<Value, Failure> {
        if let Some(text) = constant.as_str() {
            return Value::text(text, &self.budget);
        }
        match constant.kind() {
            ValueKind::None => Ok(Value::None),
            ValueKind::Bool => Ok(Value::Bool(constant.is_true())),
            ValueKind::Number => match constant.as_i64() {
                Some(number) => Ok(Value::Int(number)),
                None => Err(Failure::new(format!("{constant} is no whole number of 64 bits"))),
            },
            _ => Err(Failure::new("a constant of an unknown kind")),
        }
    }

    fn binary(&self, operation: BinOpKind, a: &Value, b: &Value) -> Result<Value, Failure> {
        use BinOpKind::{Add, Concat, Div, FloorDiv, Mul, Pow, Rem, ScAnd, ScOr, Sub};
        let budget = &self.budget;
        let no_number = || Failure::new("a number that is too large");
        let compared = match operation {
            BinOpKind::Eq => CompareOpKind::Eq,
            BinOpKind::Ne => CompareOpKind::Ne,
            BinOpKind::Lt => CompareOpKind::Lt,
            BinOpKind::Lte => CompareOpKind::Lte,
            BinOpKind::Gt => CompareOpKind::Gt,
            BinOpKind::Gte => CompareOpKind::Gte,
            BinOpKind::In => CompareOpKind::In,
            Concat => {
                let (a, b) = (a.written(budget)?, b.written(budget)?);
                return self.joined(&a, &b);
            }
            Add | Sub | Mul | Div | FloorDiv | Rem | Pow | ScAnd | ScOr => {
                return match (operation, a, b) {
                    (Add, Value::Text(a), Value::Text(b)) => self.joined(a, b),
                    (Add, Value::List(a), Value::List(b)) => {
                        budget.spend(16 * (a.items().len() + b.items().len()))?;
                        Value::list([a.items(), b.items()].concat(), budget)
                    }
                    (Mul, Value::Text(text), Value::Int(times)) => {
                        let times = usize::try_from(*times).unwrap_or(0);
                        budget.spend(text.len().saturating_mul(times))?;
                        Ok(Value::Text(text.repeat(times).into()))
                    }
                    (Add, Value::Int(a), Value::Int(b)) => {
                        a.checked_add(*b).map(Value::Int).ok_or_else(no_number)
                    }
                    (Sub, Value::Int(a), Value::Int(b)) => {
                        a.checked_sub(*b).map(Value::Int).ok_or_else(no_number)
                    }
                    (Mul, Value::Int(a), Value::Int(b)) => {
                        a.checked_mul(*b).map(Value::Int).ok_or_else(no_number)
                    }
                    // Like Python, towards minus infinity, and the rest has the divisor's sign.
                    (FloorDiv, Value::Int(a), Value::Int(b)) if *b != 0 => {
                        let down = i64::from(a.wrapping_rem(*b) != 0 && (*a < 0) != (*b < 0));
                        a.checked_div(*b).map(|n| Value::Int(n - down)).ok_or_else(no_number)
                    }
                    (Rem, Value::Int(a), Value::Int(b)) if *b != 0 => {
                        let rest = a.wrapping_rem(*b);
                        let other_sign = rest != 0 && (rest < 0) != (*b < 0);
                        Ok(Value::Int(if other_sign { rest + b } else { rest }))
                    }
                    _ => {
                        let (a, b) = (a.kind(), b.kind());
                        Err(Failure::new(format!("{a} and {b} in an operation")))
                    }
                };
            }
        };
        Ok(Value::Bool(self.compare(compared, a, b)?))
    }

    fn joined(&self, a: &str, b: &str) -> Result<Value, Failure> {
        self.budget.spend(a.len() + b.len())?;
        Ok(Value::Text([a, b].concat().into()))
    }

    fn compare(&self, operation: CompareOpKind, a: &Value, b: &Value) -> Result<bool, Failure> {
        let order = || match (a, b) {
            (Value::Int(a), Value::Int(b)) => Ok(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => {
                self.budget.spend(a.len().min(b.len()) / 8)?;
                Ok(a.cmp(b))
            }
            _ => Err(Failure::new(format!("{} and {} have no order", a.kind(), b.kind()))),
        };
        Ok(match operation {
            CompareOpKind::Eq => a.equals(b, &self.budget)?,
            CompareOpKind::Ne => !a.equals(b, &self.budget)?,
            CompareOpKind::Lt => order()?.is_lt(),
            CompareOpKind::Lte => order()?.is_le(),
            CompareOpKind::Gt => order()?.is_gt(),
            CompareOpKind::Gte => order()?.is_ge(),
            CompareOpKind::In => b.contains(a, &self.budget)?,
            CompareOpKind::NotIn => !b.contains(a, &self.budget)?,
        })
    }

    /// A field: what is missing is undefined, but nothing is a field of that.
    fn field(&self, value: &Value, name: &str) -> Result<Value, Failure> {
        let found = match value {
            Value::Undefined => {
                return Err(Failure::new(format!("the field {name:?} of something undefined")));
            }
            Value::Map(map) => map.get(name).cloned(),
            Value::Namespace(fields) => fields.borrow().get(name).cloned(),
            Value::Loop(place) => self.of_loop(place, name),
            _ => None,
        };
        Ok(found.unwrap_or(Value::Undefined))
    }

    fn of_loop(&self, place: &Loop, name: &str) -> Option<Value> {
        let Loop { items, index } = place;
        let (items, index) = (items.items(), *index);
        let size = |number: usize| Some(Value::Int(number as i64));
        match name {
            "index" => size(index + 1),
            "index0" => size(index),
            "revindex" => size(items.len() - index),
            "revindex0" => size(items.len() - index - 1),
            "length" => size(items.len()),
            "first" => Some(Value::Bool(index == 0)),
            "last" => Some(Value::Bool(index + 1 == items.len())),
            "previtem" => index.checked_sub(1).and_then(|index| items.get(index)).cloned(),
            "nextitem" => items.get(index + 1).cloned(),
            _ => None,
        }
    }

    fn item(&self, value: &Value, index: &Value) -> Result<Value, Failure> {
        match (value, index) {
            (_, Value::Text(name)) => self.field(value, name),
            (Value::List(list), &Value::Int(index)) => {
                let place = place(index, list.items().len());
                Ok(place
                    .and_then(|place| list.items().get(place))
                    .cloned()
                    .unwrap_or(Value::Undefined))
            }
            (Value::Text(text), &Value::Int(index)) => {
                self.budget.spend(text.len())?;
                let letter = place(index, text.chars().count()).and_then(|at| text.chars().nth(at));
                Ok(letter.map_or(Value::Undefined, |one| Value::Text(one.to_string().into())))
            }
            (value, index) => {
                let (value, index) = (value.kind(), index.kind());
                Err(Failure::new(format!("{index} as the place of an item in {value}")))
            }
        }
    }

    fn slice(&mut self, slice: &'a Slice<'a>) -> Result<Value, Failure> {
        let value = self.value(&slice.expr)?;
        let mut bound = |bound: &'a Option<Expr<'a>>| match bound {
            None => Ok(None),
            Some(bound) => match self.value(bound)? {
                Value::Int(number) => Ok(Some(number)),
                Value::None => Ok(None),
                other => Err(Failure::new(format!("{} as a bound", other.kind()))),
            },
        };
        let (start, stop, step) = (bound(&slice.start)?, bound(&slice.stop)?, bound(&slice.step)?);
        match &value {
            Value::List(list) => {
                let items = list.items();
                let picked = picked(items.len(), start, stop, step)?;
                self.budget.spend(16 * items.len())?;
                Value::list(picked.map(|at| items[at].clone()).collect(), &self.budget)
            }
            Value::Text(text) => {
                // Four bytes a letter.
                self.budget.spend(4 * text.len())?;
                let letters: Vec<char> = text.chars().collect();
                let picked = picked(letters.len(), start, stop, step)?;
                Value::text(&picked.map(|at| letters[at]).collect::<String>(), &self.budget)
            }
            Value::Undefined => Value::list(Vec::new(), &self.budget),
            other => Err(Failure::new(format!("a part of {}", other.kind()))),
        }
    }

    pub(super) fn arguments(&mut self, args: &'a [CallArg<'a>]) -> Result<Arguments<'a>, Failure> {
        let mut arguments = Arguments::default();
        for arg in args {
            match arg {
                CallArg::Pos(value) => {
                    let value = self.value(value)?;
                    arguments.placed.push(value);
                }
                CallArg::Kwarg(name, value) => {
                    let value = self.value(value)?;
                    arguments.named.push((name, value));
                }
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    return Err(Failure::new("arguments from a list"));
                }
            }
        }
        Ok(arguments)
    }

    fn call(&mut self, call: &'a Call<'a>) -> Result<Value, Failure> {
        match &call.expr {
            Expr::Var(function) => {
                let arguments = self.arguments(&call.args)?;
                if let Some(&declared) = self.macros.get(function.id) {
                    return self.call_macro(declared, &arguments);
                }
                if !FUNCTIONS.contains(&function.id) {
                    return Err(Failure::new(format!(
                        "the function {:?} is not known",
                        function.id
                    )));
                }
                builtins::function(function.id, arguments, &self.budget)
            }
            Expr::GetAttr(method) => {
                let value = self.value(&method.expr)?;
                let arguments = self.arguments(&call.args)?;
                if let Some((name, _)) = arguments.named.first() {
                    return Err(Failure::new(format!("the argument {name:?} of a method")));
                }
                methods::call(&value, method.name, &arguments.placed, &self.budget)
            }
            _ => Err(Failure::new("a call of what is neither a function nor a method")),
        }
    }
}

/// Where an item is, counted from the end if below zero.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok()
}

/// The places that a slice takes of so many, like Python's.
fn picked(
    len: usize,
    start: Option<i64>,
    stop: Option<i64>,
    step: Option<i64>,
) -> Result<impl Iterator<Item = usize>, Failure> {
    let step = match step.unwrap_or(1) {
        0 => return Err(Failure::new("a part in steps of zero")),
        step => step,
    };
    let len = len as i64;
    let (least, most) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let bound = |bound: Option<i64>, or: i64| match bound {
        None => or,
        Some(bound) if bound < 0 => bound.saturating_add(len).clamp(least, most),
        Some(bound) => bound.clamp(least, most),
    };
    let (start, stop) = match step > 0 {
        true => (bound(start, 0), bound(stop, len)),
        false => (bound(start, len - 1), bound(stop, -1)),
    };
    let mut at = Some(start);
    Ok(std::iter::from_fn(move || {
        let now = at.filter(|&at| if step > 0 { at < stop } else { at > stop })?;
        at = now.checked_add(step);
        usize::try_from(now).ok()
    }))
}
