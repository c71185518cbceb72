//! The regular expressions of a `tokenizer.json`, before the library runs them.

use fancy_regex::{Expr, RegexBuilder};

/// Most bytes of an expression: those of published models have a few hundred.
const MAX_BYTES: usize = 1 << 12;
/// Characters in a row of the texts that an expression is tried on.
const CHARACTERS_PER_RUN: usize = 64;
/// Steps back of one match in such a text. Good expressions take as many as there are characters,
/// bad ones twice as many for each character more.
const MAX_STEPS: usize = 10_000;
/// What runs are made of, besides the characters of the expression itself.
const RUN_CHARACTERS: &str = "aA0 \n\r\t_'.é中";

/// Checks that an expression can be matched in reasonable time, as far as trying tells.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(expression: &str) -> Result<(), String> {
    if expression.len() > MAX_BYTES {
        return Err(format!("an expression has more than {MAX_BYTES} bytes"));
    }
    let tree = Expr::parse_tree(expression).map_err(|error| format!("an expression: {error}"))?;
    if !is_hard(&tree.expr) {
        // Matched without a step back.
        return Ok(());
    }
    let regex = RegexBuilder::new(expression)
        .backtrack_limit(MAX_STEPS)
        .build()
        .map_err(|error| format!("an expression: {error}"))?;
    let mut letters: Vec<char> =
        RUN_CHARACTERS.chars().chain(expression.chars().take(CHARACTERS_PER_RUN)).collect();
    letters.sort_unstable();
    letters.dedup();
    for letter in letters {
        let text = letter.to_string().repeat(CHARACTERS_PER_RUN) + "\u{1}";
        if regex.find_iter(&text).any(|found| found.is_err()) {
            return Err("an expression tries too many ways to match a text".into());
        }
    }
    Ok(())
}

/// Whether an expression may match no character at all.
pub(super) fn may_be_empty(expression: &str) -> bool {
    // `\K` gives up what was matched so far.
    let gives_up = expression.contains(r"\K");
    gives_up || Expr::parse_tree(expression).is_ok_and(|tree| is_empty(&tree.expr))
}

fn is_empty(expr: &Expr) -> bool {
    match expr {
        Expr::Any { .. } => false,
        Expr::Literal { val, .. } => val.is_empty(),
        Expr::Delegate { size, .. } => *size == 0,
        Expr::Concat(parts) => parts.iter().all(is_empty),
        Expr::Alt(ways) => ways.iter().any(is_empty),
        Expr::Group(inner) | Expr::AtomicGroup(inner) => is_empty(inner),
        Expr::Repeat { child, lo, .. } => *lo == 0 || is_empty(child),
        // Assertions, and what may stand for nothing.
        _ => true,
    }
}

/// Whether an expression needs the engine that steps back.
fn is_hard(expr: &Expr) -> bool {
    match expr {
        Expr::Empty
        | Expr::Any { .. }
        | Expr::Assertion(_)
        | Expr::Literal { .. }
        | Expr::Delegate { .. } => false,
        Expr::Concat(parts) | Expr::Alt(parts) => parts.iter().any(is_hard),
        Expr::Group(inner) | Expr::Repeat { child: inner, .. } => is_hard(inner),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const DEEPSEEK: &str = r"[!\x22#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    #[test]
    fn those_of_published_models_are_good() {
        for expression in [GPT2, LLAMA3, O200K, DEEPSEEK, " {2,}", r"\s+", "[一-龥]+", "^ "] {
            assert_eq!(check(expression), Ok(()), "{expression}");
            assert!(!may_be_empty(expression), "{expression}");
        }
    }

    #[test]
    fn those_that_take_forever_are_refused() {
        for expression in [r"(?:a*)*b(?!c)", r"(?:\p{L}|\p{L}\p{L})+(?<=1)", &"a".repeat(5000)] {
            assert!(check(expression).is_err(), "{expression}");
        }
        assert!(check("(").unwrap_err().starts_with("an expression: "));
        assert!(check(&"(".repeat(4000)).is_err());
    }

    #[test]
    fn what_may_match_nothing_is_known() {
        for expression in ["", "a*", "^", r"\b", "(?=a)", "a|", "(?:a?){3}", r"a\K", r"(?<!\n)^"] {
            assert!(may_be_empty(expression), "{expression}");
        }
        for expression in ["a", "a+", "^a", "(?=a)a", "a|b", "(?:a?b){2}", r"\p{L}", "(?i:ab)"] {
            assert!(!may_be_empty(expression), "{expression}");
        }
    }
}
