use std::{collections::HashMap, rc::Rc};

use minijinja::machinery::ast::{Expr, ForLoop, Macro, Stmt};

use super::{
    budget::{Budget, Failure, UNITS_PER_ITEM, UNITS_PER_STEP},
    builtins::{self, Arguments},
    value::{Loop, Value},
};

/// How deep macros may call each other.
const MAX_CALLS: usize = 16;

/// A template that is being run.
pub(super) struct Run<'a> {
    pub(super) budget: Budget,
    /// Variables, those of the innermost block last.
    scopes: Vec<HashMap<&'a str, Value>>,
    pub(super) macros: HashMap<&'a str, &'a Macro<'a>>,
    calls: usize,
    out: String,
    /// Line of the statement that was begun last.
    pub(super) line: u16,
}

/// How a block ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    pub(super) fn new(variables: HashMap<&'a str, Value>, budget: Budget) -> Self {
        Self {
            budget,
            scopes: vec![variables],
            macros: HashMap::new(),
            calls: 0,
            out: String::new(),
            line: 1,
        }
    }

    /// Runs a template and returns its text.
    pub(super) fn text(&mut self, template: &'a Stmt<'a>) -> Result<String, Failure> {
        self.statement(template)?;
        Ok(std::mem::take(&mut self.out))
    }

    pub(super) fn variable(&self, name: &str) -> Value {
        let scopes = self.scopes.iter().rev();
        scopes.filter_map(|scope| scope.get(name)).next().cloned().unwrap_or(Value::Undefined)
    }

    fn set(&mut self, name: &'a str, value: Value) -> Result<(), Failure> {
        self.budget.spend(2 * UNITS_PER_ITEM)?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, value);
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.budget.spend(text.len())?;
        self.out.push_str(text);
        Ok(())
    }

    fn statements(&mut self, statements: &'a [Stmt<'a>]) -> Result<Flow, Failure> {
        for statement in statements {
            match self.statement(statement)? {
                Flow::On => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::On)
    }

    /// As [`statements`](Self::statements), with variables of its own.
    fn block(&mut self, statements: &'a [Stmt<'a>]) -> Result<Flow, Failure> {
        self.scopes.push(HashMap::new());
        let flow = self.statements(statements);
        self.scopes.pop();
        flow
    }

    fn statement(&mut self, statement: &'a Stmt<'a>) -> Result<Flow, Failure> {
        self.budget.spend(UNITS_PER_STEP)?;
        let mut at = |line: u16| self.line = line;
        match statement {
            Stmt::Template(template) => return self.statements(&template.children),
            Stmt::EmitRaw(raw) => self.write(raw.raw)?,
            Stmt::EmitExpr(emit) => {
                at(emit.span().start_line);
                let value = self.value(&emit.expr)?;
                let text = value.written(&self.budget)?;
                self.write(&text)?;
            }
            Stmt::ForLoop(each) => {
                at(each.span().start_line);
                return self.repeat(each);
            }
            Stmt::IfCond(choice) => {
                at(choice.span().start_line);
                return match self.value(&choice.expr)?.is_true() {
                    true => self.statements(&choice.true_body),
                    false => self.statements(&choice.false_body),
                };
            }
            Stmt::Set(set) => {
                at(set.span().start_line);
                let value = self.value(&set.expr)?;
                self.assign(&set.target, value)?;
            }
            Stmt::SetBlock(set) => {
                at(set.span().start_line);
                if set.filter.is_some() {
                    return Err(Failure::new("a filter of a block"));
                }
                let outside = std::mem::take(&mut self.out);
                let flow = self.block(&set.body)?;
                let text = std::mem::replace(&mut self.out, outside);
                self.assign(&set.target, Value::Text(text.into()))?;
                return Ok(flow);
            }
            Stmt::WithBlock(with) => {
                at(with.span().start_line);
                let mut values = Vec::new();
                for (target, value) in &with.assignments {
                    values.push((target, self.value(value)?));
                }
                self.scopes.push(HashMap::new());
                for (target, value) in values {
                    self.assign(target, value)?;
                }
                let flow = self.statements(&with.body);
                self.scopes.pop();
                return flow;
            }
            Stmt::Macro(declared) => {
                self.macros.insert(declared.name, declared);
            }
            Stmt::Do(call) => {
                at(call.span().start_line);
                return Err(Failure::new("the statement \"do\" is not known"));
            }
            Stmt::Break(_) => return Ok(Flow::Break),
            Stmt::Continue(_) => return Ok(Flow::Continue),
            Stmt::AutoEscape(_) | Stmt::FilterBlock(_) | Stmt::CallBlock(_) => {
                return Err(Failure::new("a block that escapes, filters, or calls"));
            }
        }
        Ok(Flow::On)
    }

    fn repeat(&mut self, each: &'a ForLoop<'a>) -> Result<Flow, Failure> {
        if each.recursive {
            return Err(Failure::new("a loop that calls itself"));
        }
        let mut items = self.value(&each.iter)?.iterated(&self.budget)?;
        if let Some(filter) = &each.filter_expr {
            let mut kept = Vec::new();
            for item in items.items() {
                self.budget.spend(UNITS_PER_ITEM)?;
                self.scopes.push(HashMap::new());
                self.assign(&each.target, item.clone())?;
                if self.value(filter)?.is_true() {
                    kept.push(item.clone());
                }
                self.scopes.pop();
            }
            items = Value::list(kept, &self.budget)?.iterated(&self.budget)?;
        }
        if items.items().is_empty() {
            return self.statements(&each.else_body);
        }
        for (index, item) in items.items().iter().enumerate() {
            self.budget.spend(8 * UNITS_PER_ITEM)?;
            self.scopes.push(HashMap::new());
            let place = Value::Loop(Rc::new(Loop { items: items.clone(), index }));
            self.set("loop", place)?;
            self.assign(&each.target, item.clone())?;
            let flow = self.statements(&each.body)?;
            self.scopes.pop();
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Assigns a value to a name, to a field of a namespace, or to several names at once.
    fn assign(&mut self, target: &'a Expr<'a>, value: Value) -> Result<(), Failure> {
        match target {
            Expr::Var(var) => self.set(var.id, value),
            Expr::GetAttr(field) => {
                self.budget.spend(2 * UNITS_PER_ITEM)?;
                let target = self.value(&field.expr)?;
                builtins::assign(&target, field.name, value)
            }
            Expr::List(list) => {
                let values = value.iterated(&self.budget)?;
                if values.items().len() != list.items.len() {
                    return Err(Failure::new("a list of another length than its names"));
                }
                let mut pairs = list.items.iter().zip(values.items());
                pairs.try_for_each(|(target, value)| self.assign(target, value.clone()))
            }
            _ => Err(Failure::new("a value for what is no name")),
        }
    }

    /// The text of a macro. It sees its arguments and what is set outside of all blocks.
    pub(super) fn call_macro(
        &mut self,
        declared: &'a Macro<'a>,
        arguments: &Arguments<'_>,
    ) -> Result<Value, Failure> {
        if self.calls == MAX_CALLS {
            return Err(Failure::new("its macros call each other too deeply"));
        }
        // Those with a default are the last ones.
        let required = declared.args.len().saturating_sub(declared.defaults.len());
        let mut values = Vec::new();
        for (place, target) in declared.args.iter().enumerate() {
            let Expr::Var(name) = target else {
                return Err(Failure::new("an argument that is no name"));
            };
            let value = match (arguments.get(name.id, place), place.checked_sub(required)) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => match declared.defaults.get(default) {
                    Some(default) => self.value(default)?,
                    None => Value::Undefined,
                },
                (None, None) => Value::Undefined,
            };
            values.push((name.id, value));
        }
        let inner = self.scopes.split_off(1);
        let outside = std::mem::take(&mut self.out);
        self.scopes.push(HashMap::new());
        self.calls += 1;
        for (name, value) in values {
            self.set(name, value)?;
        }
        self.statements(&declared.body)?;
        self.calls -= 1;
        self.scopes.truncate(1);
        self.scopes.extend(inner);
        let text = std::mem::replace(&mut self.out, outside);
        Ok(Value::Text(text.into()))
    }
}
