//! The parts of a `tokenizer.json`, checked before the library builds them: it takes their word,
//! and panics or never comes to an end where they lie.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    AddedToken, ModelWrapper, PreTokenizerWrapper,
    models::{bpe::BPE, unigram::Unigram},
};

use super::{normalizer::Steps, pattern};

/// Most bytes of a token: those of published vocabularies have at most some hundreds, and models
/// hold a node for each byte.
const MAX_TOKEN: usize = 1 << 10;
/// Most bytes of a token that is looked for in texts, as it is and as the normalizer makes it.
const MAX_ADDED: usize = 256;
/// Most of those.
const MAX_ADDED_TOKENS: usize = 1 << 16;
/// Most bytes of what a token begins or ends with inside or at the end of a word.
const MAX_AFFIX: usize = 16;
/// Most steps of the pre-tokenizer, and of those with an expression.
const MAX_STEPS: usize = 64;
const MAX_EXPRESSIONS: usize = 16;
/// How many times as long the pre-tokenizer's steps may make a text, all together.
const MAX_GROWTH: usize = 64;

/// Builds the model: a BPE or a unigram model that gives the same tokens each time, and some for
/// each text.
///
/// # Errors
/// What cannot be used.
pub(super) fn model(section: &Value) -> Result<ModelWrapper, String> {
    let is_bpe = match section["type"].as_str() {
        Some("BPE") => true,
        Some("Unigram") => false,
        // Early files do not say.
        None if section["merges"].is_array() => true,
        _ => return Err("its model is neither BPE nor unigram".into()),
    };
    match is_bpe {
        true => bpe(section).map(ModelWrapper::BPE),
        false => unigram(section).map(ModelWrapper::Unigram),
    }
}

fn bpe(section: &Value) -> Result<BPE, String> {
    if section["dropout"].as_f64().is_some_and(|share| share > 0.0) {
        return Err("its BPE drops merges at random".into());
    }
    let vocabulary = section["vocab"].as_object().ok_or("its model has no vocabulary")?;
    vocabulary.keys().try_for_each(|token| check_token(token))?;
    // GPT-2's own file has an empty text where it means none.
    let text = |name: &str| section[name].as_str().unwrap_or_default();
    let unknown = text("unk_token");
    if !unknown.is_empty() && !vocabulary.contains_key(unknown) {
        return Err(format!("its unknown token \"{unknown}\" is not in its vocabulary"));
    }
    let prefix = text("continuing_subword_prefix");
    if prefix.len().max(text("end_of_word_suffix").len()) > MAX_AFFIX {
        return Err(format!("what marks its parts of words has more than {MAX_AFFIX} bytes"));
    }
    let merges = section["merges"].as_array().map_or(&[][..], Vec::as_slice);
    let second = |merge: &'_ Value| match merge {
        Value::String(merge) => merge.split_once(' ').is_some_and(|(_, b)| b.starts_with(prefix)),
        merge => merge[1].as_str().is_some_and(|b| b.starts_with(prefix)),
    };
    if !prefix.is_empty() && !merges.iter().all(second) {
        return Err(format!("a merge is of a part that does not begin with \"{prefix}\""));
    }
    let mut bpe = BPE::deserialize(section).map_err(|error| error.to_string())?;
    for text in
        [&mut bpe.unk_token, &mut bpe.continuing_subword_prefix, &mut bpe.end_of_word_suffix]
    {
        text.take_if(|text| text.is_empty());
    }
    Ok(bpe)
}

fn unigram(section: &Value) -> Result<Unigram, String> {
    if !section["unk_id"].is_u64() {
        return Err("it has no unknown token".into());
    }
    let vocabulary = section["vocab"].as_array().ok_or("its model has no vocabulary")?;
    vocabulary.iter().filter_map(|token| token[0].as_str()).try_for_each(check_token)?;
    Unigram::deserialize(section).map_err(|error| error.to_string())
}

fn check_token(token: &str) -> Result<(), String> {
    match token.len() > MAX_TOKEN {
        true => Err(format!("a token has more than {MAX_TOKEN} bytes")),
        false => Ok(()),
    }
}

/// Builds the pre-tokenizer, if there is one.
///
/// # Errors
/// What cannot be used.
pub(super) fn pre_tokenizer(section: &Value) -> Result<Option<PreTokenizerWrapper>, String> {
    if section.is_null() {
        return Ok(None);
    }
    let mut steps = Vec::new();
    flatten(section, &mut steps)?;
    if steps.len() > MAX_STEPS {
        return Err(format!("its pre-tokenizer has more than {MAX_STEPS} steps"));
    }
    let (mut growth, mut expressions) = (1_usize, 0);
    for step in steps {
        match step["type"].as_str() {
            Some("Split") => {
                if let Some(expression) = step["pattern"]["Regex"].as_str() {
                    pattern::check(expression)?;
                    expressions += 1;
                }
            }
            Some("FixedLength") if step["length"] == 0 => {
                return Err("its pre-tokenizer cuts texts into parts of no length".into());
            }
            // Each byte becomes a character of up to two, and a space may come before each part.
            Some("ByteLevel") => {
                growth *= if step["add_prefix_space"] == true { 4 } else { 2 };
            }
            Some("Metaspace") => {
                growth *= 1 + step["replacement"].as_str().map_or(0, str::len).clamp(1, 4);
            }
            _ => {}
        }
        if growth > MAX_GROWTH {
            return Err("its pre-tokenizer makes texts too long".into());
        }
    }
    if expressions > MAX_EXPRESSIONS {
        return Err(format!("its pre-tokenizer has more than {MAX_EXPRESSIONS} expressions"));
    }
    PreTokenizerWrapper::deserialize(section).map(Some).map_err(|error| error.to_string())
}

/// The steps in sequences of sequences.
fn flatten<'v>(section: &'v Value, steps: &mut Vec<&'v Value>) -> Result<(), String> {
    match &section["type"] {
        Value::String(kind) if kind == "Sequence" => {
            let inner = section["pretokenizers"].as_array();
            let inner = inner.ok_or("its pre-tokenizer is no sequence")?;
            inner.iter().try_for_each(|step| flatten(step, steps))
        }
        Value::String(_) => {
            steps.push(section);
            Ok(())
        }
        _ => Err("a step of its pre-tokenizer has no type".into()),
    }
}

/// The tokens that are looked for in texts before anything else is done with them.
///
/// # Errors
/// What cannot be used.
pub(super) fn added_tokens(section: &Value, normalizer: &Steps) -> Result<Vec<AddedToken>, String> {
    let section = section.as_array().map_or(&[][..], Vec::as_slice);
    if section.len() > MAX_ADDED_TOKENS {
        return Err(format!("it has more than {MAX_ADDED_TOKENS} added tokens"));
    }
    section.iter().map(|token| added_token(token, normalizer)).collect()
}

fn added_token(section: &Value, normalizer: &Steps) -> Result<AddedToken, String> {
    let long = || format!("an added token has more than {MAX_ADDED} bytes");
    let content = section["content"].as_str().ok_or("an added token has no content")?;
    if content.len() > MAX_ADDED {
        return Err(long());
    }
    let token = AddedToken::deserialize(section).map_err(|error| error.to_string())?;
    let text = match token.normalized {
        true => normalizer.normalized(content)?,
        false => content.into(),
    };
    if text.len() > MAX_ADDED {
        return Err(long());
    }
    // White space that takes the white space after it along is found again in there.
    if token.rstrip && !token.special && text.trim().is_empty() {
        return Err("an added token of white space takes more of it along".into());
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn none() -> Steps {
        Steps::new(&Value::Null).unwrap()
    }

    #[test]
    fn models_that_the_library_cannot_take_are_refused() {
        let refused = |section: Value| model(&section).err().unwrap();
        let bpe = |key: &str, value: Value| {
            let mut section = json!({
                "type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]],
            });
            section[key] = value;
            section
        };
        assert!(model(&bpe("version", Value::Null)).is_ok());
        let mut early = bpe("dropout", Value::Null);
        early.as_object_mut().unwrap().remove("type");
        assert!(model(&early).is_ok());
        assert!(refused(bpe("type", json!("WordPiece"))).contains("neither BPE nor unigram"));
        assert!(refused(bpe("dropout", json!(0.1))).contains("at random"));
        assert!(refused(bpe("unk_token", json!("c"))).contains("unknown token \"c\""));
        assert!(model(&bpe("unk_token", json!(""))).is_ok());
        assert!(model(&bpe("continuing_subword_prefix", json!(""))).is_ok());
        for merges in [json!([["a", "b"]]), json!(["a b"]), json!([["a", "ñ"]])] {
            let mut section = bpe("merges", merges);
            section["continuing_subword_prefix"] = json!("##");
            assert!(refused(section).contains("does not begin with \"##\""));
        }
        assert!(refused(bpe("end_of_word_suffix", json!("a".repeat(17)))).contains("16 bytes"));
        assert!(refused(bpe("vocab", json!({"a".repeat(1025): 0}))).contains("1024 bytes"));
        assert!(refused(bpe("merges", json!([["a", "c"]]))).contains("out of vocabulary"));
        assert!(refused(bpe("vocab", json!([]))).contains("no vocabulary"));

        let unigram = |vocab: Value| json!({"type": "Unigram", "unk_id": 0, "vocab": vocab});
        assert!(model(&unigram(json!([["a", 0.0]]))).is_ok());
        assert!(refused(unigram(json!([["a".repeat(300_000), 0.0]]))).contains("1024 bytes"));
        assert!(refused(unigram(json!([]))).contains("Empty"));
    }

    #[test]
    fn pre_tokenizers_that_the_library_cannot_take_are_refused() {
        let refused = |section: Value| pre_tokenizer(&section).err().unwrap();
        let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "pretokenizers": steps});
        let level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false});
        assert!(pre_tokenizer(&sequence(vec![level.clone(); 3])).is_ok());
        assert!(refused(sequence(vec![level; 4])).contains("too long"));
        assert!(refused(json!({"type": "FixedLength", "length": 0})).contains("no length"));
        assert!(refused(json!({"add_prefix_space": true})).contains("no type"));
        let split = json!({
            "type": "Split", "pattern": {"Regex": "(?:a*)*b(?!c)"}, "behavior": "Isolated",
            "invert": false,
        });
        assert!(refused(sequence(vec![split])).contains("too many ways"));
        let digits = json!({"type": "Digits", "individual_digits": true});
        assert!(refused(sequence(vec![digits; 65])).contains("64 steps"));
        assert!(pre_tokenizer(&Value::Null).unwrap().is_none());
    }

    #[test]
    fn added_tokens_are_short() {
        let token = |content: &str, rstrip: bool| {
            json!([{"id": 0, "content": content, "special": false, "single_word": false,
                    "lstrip": false, "rstrip": rstrip, "normalized": true}])
        };
        let long = "a".repeat(300_000);
        let none = none();
        let refused = |section: &Value, normalizer| added_tokens(section, normalizer).unwrap_err();
        assert!(refused(&token(&long, false), &none).contains("256 bytes"));
        assert!(refused(&token(" ", true), &none).contains("white space"));
        assert_eq!(added_tokens(&token("  ", false), &none).unwrap().len(), 1);
        let longer =
            json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(30)});
        let longer = Steps::new(&longer).unwrap();
        assert!(refused(&token(&"a".repeat(30), false), &longer).contains("256 bytes"));
        assert!(added_tokens(&Value::Null, &none).unwrap().is_empty());
    }
}
