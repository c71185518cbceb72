//! The normalizer of a `tokenizer.json`, step by step: its steps are checked when it is read, and
//! what they make of a text is bounded when they are run.

use std::cell::Cell;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper, utils::SysRegex};

use super::{charsmap, pattern};

/// Most steps: some tokenizers have one for each mark of punctuation.
const MAX_STEPS: usize = 256;
/// Most steps with an expression.
const MAX_EXPRESSIONS: usize = 16;
/// Most bytes of a text that a step puts in.
const MAX_CONTENT: usize = 256;
/// How many times as long a text may become: the longest replacement in Unicode is eleven times as
/// long as what it replaces.
const MAX_GROWTH: usize = 32;
/// Bytes that even a short text may become.
const MIN_BYTES: usize = 1 << 12;

thread_local! {
    /// Bytes that the text under way may still become; `None` once it became more.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs `encode`, in which texts of `bytes` bytes in all are normalised.
///
/// # Errors
/// If they became too long; what `encode` gave is void then.
pub(super) fn bounded<T>(bytes: usize, encode: impl FnOnce() -> T) -> Result<T, String> {
    LEFT.set(Some(MIN_BYTES.saturating_add(bytes.saturating_mul(MAX_GROWTH))));
    let encoded = encode();
    match LEFT.take() {
        Some(_) => Ok(encoded),
        None => Err(format!("its normalizer makes a text of {bytes} bytes too long")),
    }
}

/// A normalizer's steps in their order.
pub(super) struct Steps(Vec<Step>);

struct Step {
    normalizer: NormalizerWrapper,
    /// What is replaced, and the bytes put in its place: the only step that may make much of a
    /// little. All others at most multiply a text by a small number.
    replace: Option<(Replaced, usize)>,
}

enum Replaced {
    Text(String),
    Expression(SysRegex),
}

impl Steps {
    /// Reads the section of the file.
    ///
    /// # Errors
    /// What cannot be used.
    pub(super) fn new(section: &Value) -> Result<Self, String> {
        let mut steps = Vec::new();
        flatten(section, &mut steps)?;
        if steps.len() > MAX_STEPS {
            return Err(format!("its normalizer has more than {MAX_STEPS} steps"));
        }
        let steps: Vec<Step> = steps.into_iter().map(step).collect::<Result<_, _>>()?;
        let is_expression =
            |step: &&Step| matches!(step.replace, Some((Replaced::Expression(_), _)));
        if steps.iter().filter(is_expression).count() > MAX_EXPRESSIONS {
            return Err(format!("its normalizer has more than {MAX_EXPRESSIONS} expressions"));
        }
        Ok(Self(steps))
    }

    /// What a text becomes.
    ///
    /// # Errors
    /// If that is too long.
    pub(super) fn normalized(&self, text: &str) -> Result<String, String> {
        let mut text = NormalizedString::from(text);
        bounded(text.len(), || self.normalize(&mut text))?.map_err(|error| error.to_string())?;
        Ok(text.get().to_owned())
    }
}

/// The library does not look at what this returns.
impl Normalizer for Steps {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        let Some(left) = LEFT.get() else {
            *text = NormalizedString::default();
            return Ok(());
        };
        for step in &self.0 {
            let mut fits = step.fits(text.get(), left);
            if fits {
                step.normalizer.normalize(text)?;
                fits = text.len() <= left;
            }
            if !fits {
                LEFT.set(None);
                *text = NormalizedString::default();
                return Ok(());
            }
        }
        LEFT.set(Some(left - text.len()));
        Ok(())
    }
}

impl Step {
    /// Whether a text has at most `left` bytes after this step, as far as it can be told before it.
    fn fits(&self, text: &str, left: usize) -> bool {
        let Some((replaced, content)) = &self.replace else { return true };
        let least = match replaced {
            Replaced::Text(text) => text.len(),
            Replaced::Expression(_) => 1,
        };
        // Counted only where all of the text being replaced would be too much.
        text.len() / least * content <= left.saturating_sub(text.len())
            || match replaced {
                Replaced::Text(replaced) => text.matches(replaced).count(),
                Replaced::Expression(regex) => regex.find_iter(text).count(),
            } * content
                <= left.saturating_sub(text.len())
    }
}

/// The steps in sequences of sequences.
fn flatten<'v>(section: &'v Value, steps: &mut Vec<&'v Value>) -> Result<(), String> {
    match &section["type"] {
        Value::String(kind) if kind == "Sequence" => {
            let inner = section["normalizers"].as_array().ok_or("its normalizer is no sequence")?;
            inner.iter().try_for_each(|step| flatten(step, steps))
        }
        Value::String(_) => {
            steps.push(section);
            Ok(())
        }
        _ if section.is_null() => Ok(()),
        _ => Err("a step of its normalizer has no type".into()),
    }
}

fn step(section: &Value) -> Result<Step, String> {
    let mut replace = None;
    match section["type"].as_str() {
        Some("Precompiled") => {
            let table = section["precompiled_charsmap"].as_str();
            charsmap::check(table.ok_or("its normalizer has no table")?)?;
        }
        Some("Replace") => {
            let content = section["content"].as_str().unwrap_or_default();
            check_content(content)?;
            let replaced = match (&section["pattern"]["String"], &section["pattern"]["Regex"]) {
                (Value::String(text), _) if text.is_empty() => {
                    return Err("its normalizer replaces an empty text".into());
                }
                (Value::String(text), _) => Replaced::Text(text.clone()),
                (_, Value::String(expression)) => {
                    pattern::check(expression)?;
                    if pattern::may_be_empty(expression) {
                        return Err("its normalizer replaces an empty text".into());
                    }
                    let regex = SysRegex::new(expression);
                    Replaced::Expression(regex.map_err(|error| error.to_string())?)
                }
                _ => return Err("its normalizer replaces what is no text".into()),
            };
            replace = Some((replaced, content.len()));
        }
        Some("Prepend") => check_content(section["prepend"].as_str().unwrap_or_default())?,
        _ => {}
    }
    let normalizer = NormalizerWrapper::deserialize(section).map_err(|error| error.to_string())?;
    Ok(Step { normalizer, replace })
}

fn check_content(content: &str) -> Result<(), String> {
    match content.len() > MAX_CONTENT {
        true => Err(format!("its normalizer puts in more than {MAX_CONTENT} bytes")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde_json::json;

    use super::*;
    use crate::tokenizer::charsmap::tests::table;

    fn replace(text: &str, content: &str) -> Value {
        json!({"type": "Replace", "pattern": {"String": text}, "content": content})
    }

    fn sequence(steps: &[Value]) -> Value {
        json!({"type": "Sequence", "normalizers": steps})
    }

    fn refused(section: &Value) -> String {
        Steps::new(section).err().unwrap()
    }

    #[test]
    fn steps_are_those_of_the_library() {
        let table = BASE64_STANDARD.encode(table("x\0"));
        let section = sequence(&[
            sequence(&[json!({"type": "NFKC"}), json!({"type": "Lowercase"})]),
            json!({"type": "Precompiled", "precompiled_charsmap": table}),
            json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
            json!({"type": "Prepend", "prepend": "▁"}),
            replace(" ", "▁"),
            json!({"type": "Strip", "strip_left": false, "strip_right": true}),
        ]);
        let steps = Steps::new(&section).unwrap();
        let library = NormalizerWrapper::deserialize(&section).unwrap();
        for text in ["", "The  ﬁne  Señor", "\u{fdfa}\u{fdfa}\u{fdfa}", "  "] {
            let mut expected = NormalizedString::from(text);
            library.normalize(&mut expected).unwrap();
            assert_eq!(steps.normalized(text).unwrap(), expected.get());
        }
        assert_eq!(Steps::new(&Value::Null).unwrap().normalized("a").unwrap(), "a");
    }

    #[test]
    fn what_the_library_cannot_take_is_refused() {
        let empty = "replaces an empty text";
        assert!(refused(&replace("", "a")).contains(empty));
        let regex =
            |regex: &str| json!({"type": "Replace", "pattern": {"Regex": regex}, "content": "a"});
        assert!(refused(&regex("a*")).contains(empty));
        assert!(refused(&sequence(&[regex("(?:a*)*b(?!c)")])).contains("too many ways"));
        assert!(refused(&replace("a", &"a".repeat(257))).contains("more than 256 bytes"));
        assert!(refused(&json!({"type": "Prepend", "prepend": "a".repeat(257)})).contains("256"));
        assert!(refused(&json!({"type": "Precompiled"})).contains("no table"));
        let table = json!({"type": "Precompiled", "precompiled_charsmap": "////"});
        assert!(refused(&table).contains("damaged"));
        assert!(refused(&sequence(&vec![json!({"type": "NFC"}); 257])).contains("256 steps"));
        assert!(refused(&sequence(&vec![regex("a"); 17])).contains("16 expressions"));
        assert!(refused(&json!({"normalizers": []})).contains("no type"));
        assert!(!refused(&json!({"type": "Other"})).is_empty());
    }

    #[test]
    fn texts_do_not_grow_without_bound() {
        let tenfold = Steps::new(&sequence(&vec![replace("a", &"a".repeat(10)); 8])).unwrap();
        assert!(tenfold.normalized("aa").unwrap_err().contains("too long"));
        assert_eq!(tenfold.normalized("bb").unwrap(), "bb");
        // Once for a text in all, not for each of its parts.
        let hundredfold = Steps::new(&sequence(&vec![replace("a", &"a".repeat(10)); 2])).unwrap();
        let parts = |count| {
            bounded(count, || {
                (0..count).for_each(|_| {
                    hundredfold.normalize(&mut NormalizedString::from("a")).unwrap();
                });
            })
        };
        assert!(parts(40).is_ok() && parts(4000).is_err());
        // For each mark of punctuation one step, as some have it.
        let marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".chars().map(String::from);
        let spaced = marks.map(|mark| replace(&mark, &format!(" {mark} "))).collect::<Vec<_>>();
        let spaced = Steps::new(&sequence(&spaced)).unwrap();
        assert_eq!(spaced.normalized("a.b!").unwrap(), "a . b ! ");
        assert_eq!(spaced.normalized(&".".repeat(100_000)).unwrap().len(), 300_000);
    }
}
