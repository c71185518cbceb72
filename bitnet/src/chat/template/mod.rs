//! Jinja templates as far as chats need them, from files that are not trusted.
//!
//! `minijinja` reads the text of a template. What it then says is followed here, not there: a
//! list that holds another twice, again and again, is written as a text without an end, and a
//! namespace in itself overflows the stack, whatever fuel `minijinja` is given.

mod budget;
mod builtins;
mod expression;
mod methods;
mod run;
mod value;

use std::{collections::HashMap, thread};

use minijinja::{machinery, syntax::SyntaxConfig};

use budget::{Budget, Failure};
use run::Run;
use value::Value;

/// Longest template in bytes; those of released models have less than half of that.
const MAX_TEMPLATE_BYTES: usize = 1 << 16;
/// A long expression is a deep tree, and is walked on a stack of its own: memory is only taken
/// where it is deep.
const STACK_BYTES: usize = 256 << 20;

/// What a template is about.
pub(super) struct Variables<'a> {
    /// Roles and texts.
    pub(super) messages: &'a [(&'static str, String)],
    pub(super) bos_token: &'a str,
    pub(super) eos_token: &'a str,
    pub(super) add_generation_prompt: bool,
}

/// The text that a template makes, as `transformers` has it made; or in words why there is none.
pub(super) fn render(source: &str, variables: &Variables<'_>) -> Result<String, String> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(format!("it has more than {MAX_TEMPLATE_BYTES} bytes"));
    }
    let rendered = thread::scope(|scope| {
        let builder = thread::Builder::new().name("template".into()).stack_size(STACK_BYTES);
        let render = builder.spawn_scoped(scope, || follow(source, variables));
        Ok(render?.join())
    });
    match rendered {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => Err("it cannot be followed".into()),
        Err::<_, std::io::Error>(error) => Err(error.to_string()),
    }
}

fn follow(source: &str, variables: &Variables<'_>) -> Result<String, String> {
    let mut syntax = SyntaxConfig::builder();
    let syntax = syntax.trim_blocks(true).lstrip_blocks(true).build();
    let template =
        syntax.and_then(|syntax| machinery::parse(source, "line", syntax)).map_err(|error| {
            let what = error.detail().map(ToString::to_string);
            format!(
                "line {}: {}",
                error.line().unwrap_or(1),
                what.unwrap_or_else(|| error.kind().to_string())
            )
        })?;
    let budget = Budget::new();
    let variables = variables.values(&budget).map_err(|Failure(reason)| reason)?;
    let mut run = Run::new(variables, budget);
    run.text(&template).map_err(|Failure(reason)| format!("line {}: {reason}", run.line))
}

impl<'a> Variables<'a> {
    fn values(&self, budget: &Budget) -> Result<HashMap<&'a str, Value>, Failure> {
        let text = |text: &str| Value::text(text, budget);
        let mut messages = Vec::new();
        for (role, content) in self.messages {
            let fields = vec![("role".into(), text(role)?), ("content".into(), text(content)?)];
            messages.push(Value::map(fields, budget)?);
        }
        Ok(HashMap::from([
            ("messages", Value::list(messages, budget)?),
            ("bos_token", text(self.bos_token)?),
            ("eos_token", text(self.eos_token)?),
            ("add_generation_prompt", Value::Bool(self.add_generation_prompt)),
            ("tools", Value::None),
            ("documents", Value::None),
        ]))
    }
}
