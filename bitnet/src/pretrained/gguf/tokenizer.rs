use serde_json::{Map, Value, json};

use super::settings::{ADD_BOS_KEY, BOS_KEY};
use crate::{
    formats::gguf::{Field, Gguf},
    pretrained::PretrainedError,
    tokenizer::{self, Tokenizer, bos},
};

/// Types of tokens, as llama.cpp numbers them.
const NORMAL_TOKEN: i32 = 1;
const CONTROL_TOKEN: i32 = 3;
const USER_DEFINED_TOKEN: i32 = 4;
const UNUSED_TOKEN: i32 = 5;

/// How Llama 3 cuts a text into words.
const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// How llama.cpp does where a file does not say how.
const DEFAULT_PATTERNS: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

/// Builds the tokenizer of a file.
pub(in crate::pretrained) fn tokenizer(file: &Gguf) -> Result<Box<dyn Tokenizer>, PretrainedError> {
    let wrong = |reason: String| PretrainedError::Gguf(format!("its tokenizer {reason}"));
    match file.text("tokenizer.ggml.model") {
        Some("gpt2") => {}
        model => {
            let model = model.unwrap_or("none");
            return Err(wrong(format!("is \"{model}\", only \"gpt2\" can be read")));
        }
    }
    let missing = |key: &str| wrong(format!("has no usable \"tokenizer.ggml.{key}\""));
    let (pre_tokenizer, is_llama3) = match file.text("tokenizer.ggml.pre") {
        Some("gpt-2") => (byte_level(true), false),
        Some("llama-bpe" | "llama3" | "llama-v3") => (sequence(&[LLAMA3_PATTERN]), true),
        Some("default") | None => (sequence(&DEFAULT_PATTERNS), false),
        Some(other) => {
            let known = "\"gpt-2\", \"llama-bpe\" and \"default\"";
            return Err(wrong(format!("cuts texts as \"{other}\", only {known} can be read")));
        }
    };
    // llama.cpp puts one before texts of such tokenizers, if the file does not say so.
    let adds_bos = file.bool(ADD_BOS_KEY).unwrap_or(is_llama3);
    let bos_id = file.integer(BOS_KEY).filter(|_| adds_bos);
    let mut bos_token = None;
    let mut types = file.integers("tokenizer.ggml.token_type").into_iter().flatten();
    let mut vocabulary = Map::new();
    let mut added = Vec::new();
    for (id, token) in file.texts("tokenizer.ggml.tokens").ok_or(missing("tokens"))?.enumerate() {
        let kind = types.next().unwrap_or(NORMAL_TOKEN.into());
        if bos_id == Some(id as i128) {
            bos_token = Some((token, id as u32));
        }
        if kind == i128::from(CONTROL_TOKEN) || kind == i128::from(USER_DEFINED_TOKEN) {
            let special = kind == i128::from(CONTROL_TOKEN);
            added.push(json!({
                "id": id, "content": token, "special": special, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
        if vocabulary.insert(token.into(), id.into()).is_some() {
            return Err(wrong(format!("has the token \"{token}\" twice")));
        }
    }
    let merges: Vec<&str> = file.texts("tokenizer.ggml.merges").ok_or(missing("merges"))?.collect();
    let value = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": bos::processor(bos_token.as_slice()),
        "decoder": byte_level(true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": is_llama3,
            "vocab": vocabulary,
            "merges": merges,
        },
    });
    tokenizer::from_json(&value.to_string()).map_err(|error| wrong(format!("is no use: {error}")))
}

fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
        "use_regex": use_regex,
    })
}

/// Cuts at each expression in turn.
fn sequence(expressions: &[&str]) -> Value {
    let splits = expressions.iter().map(|expression| {
        let pattern = json!({"Regex": expression});
        json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false})
    });
    let steps: Vec<Value> = splits.chain([byte_level(false)]).collect();
    json!({"type": "Sequence", "pretokenizers": steps})
}

/// The metadata of a tokenizer, for a vocabulary of `size` tokens.
pub(in crate::pretrained) fn tokenizer_fields(
    tokenizer: &dyn Tokenizer,
    size: usize,
) -> Result<Vec<(String, Field)>, PretrainedError> {
    let wrong = |reason: &str| PretrainedError::NotExportable(format!("a tokenizer {reason}"));
    let json: Value = serde_json::from_str(&tokenizer.to_json())?;
    let model = &json["model"];
    let merges = merges(&model["merges"]).ok_or(wrong("whose merges are no pairs of texts"))?;
    let is_byte_level = model["type"] == "BPE" && json["decoder"]["type"] == "ByteLevel";
    if !is_byte_level || !json["normalizer"].is_null() {
        return Err(wrong("that is no byte-level BPE"));
    }
    let pre_tokenizer = &json["pre_tokenizer"];
    let is_llama3 = || {
        let steps = pre_tokenizer["pretokenizers"].as_array().map_or(&[][..], Vec::as_slice);
        steps.len() == 2
            && steps[0]["pattern"]["Regex"] == LLAMA3_PATTERN
            && steps[1]["type"] == "ByteLevel"
            && steps[1]["use_regex"] == false
    };
    let pre = match &pre_tokenizer["type"] {
        // Where nothing is merged, it does not matter how texts are cut.
        Value::String(kind)
            if kind == "ByteLevel"
                && pre_tokenizer["add_prefix_space"] != true
                && (pre_tokenizer["use_regex"] != false || merges.is_empty()) =>
        {
            "gpt-2"
        }
        Value::String(kind) if kind == "Sequence" && is_llama3() => "llama-bpe",
        _ => return Err(wrong("that cuts texts in a way which GGUF has no name for")),
    };
    let mut tokens: Vec<Option<(String, i32)>> = vec![None; size];
    let mut put = |id: &Value, token: &str, kind| {
        let place = id.as_u64().and_then(|id| tokens.get_mut(id as usize));
        place.map(|place| *place = Some((token.into(), kind)))
    };
    for (token, id) in model["vocab"].as_object().into_iter().flatten() {
        put(id, token, NORMAL_TOKEN).ok_or(wrong("of more tokens than the model"))?;
    }
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let kind = if token["special"] == true { CONTROL_TOKEN } else { USER_DEFINED_TOKEN };
        let content = token["content"].as_str().unwrap_or_default();
        put(&token["id"], content, kind).ok_or(wrong("of more tokens than the model"))?;
    }
    let (tokens, types) = tokens
        .into_iter()
        .enumerate()
        .map(|(id, token)| token.unwrap_or_else(|| (format!("[PAD{id}]"), UNUSED_TOKEN)))
        .unzip();
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    Ok(vec![
        (key("model"), Field::Text("gpt2".into())),
        (key("pre"), Field::Text(pre.into())),
        (key("tokens"), Field::Texts(tokens)),
        (key("token_type"), Field::I32s(types)),
        (key("merges"), Field::Texts(merges)),
    ])
}

/// Merges as GGUF has them, a space between both parts; older files have them so, too.
fn merges(value: &Value) -> Option<Vec<String>> {
    let merge = |merge: &Value| match merge {
        Value::String(merge) => Some(merge.clone()),
        Value::Array(parts) => match &parts[..] {
            [Value::String(first), Value::String(second)] => Some(format!("{first} {second}")),
            _ => None,
        },
        _ => None,
    };
    value.as_array()?.iter().map(merge).collect()
}
