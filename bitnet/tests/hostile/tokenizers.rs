//! Tokenizers that are not meant well: refused when they are read, or bounded in what they do.

use bitnet::tokenizer::{self, Tokenizer};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{CONSTANT, cases, memory};

/// A byte-level BPE with a merge and an added token, to be made worse.
fn whole() -> Value {
    let bytes: Value = serde_json::from_str(&tokenizer::ByteTokenizer.to_json()).unwrap();
    let mut value = bytes;
    value["model"]["vocab"]["ab"] = json!(256);
    value["model"]["merges"] = json!([["a", "b"]]);
    value["added_tokens"] = json!([added("<x>", true), added("xyz", false)]);
    value
}

fn added(content: &str, special: bool) -> Value {
    json!({"id": 257, "content": content, "special": special, "single_word": false,
           "lstrip": false, "rstrip": false, "normalized": !special})
}

fn replace(pattern: &Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

fn sequence(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "normalizers": steps})
}

/// Reads a tokenizer and encodes some texts: within bounds whatever it is. Returns what it says
/// where it cannot be used.
#[track_caller]
fn try_to_use(value: &Value) -> Result<(), String> {
    let json = value.to_string();
    let texts = ["", "a", "ab <x> xyz\n", "\u{fdfa}Señor  語\u{301}", &"a b".repeat(200)];
    let (result, peak) = memory::peak(|| {
        let tokenizer = tokenizer::from_json(&json).map_err(|error| error.to_string())?;
        for text in texts {
            let tokens = tokenizer.encode(text.as_bytes()).map_err(|error| error.to_string())?;
            drop(tokenizer.decode(&tokens));
        }
        tokenizer.encode(b"\xff\xc3").map_err(|error| error.to_string()).map(drop)
    });
    // What JSON becomes in memory is some times as large.
    assert!(peak <= 64 * json.len() + CONSTANT, "{peak} bytes for {} of JSON", json.len());
    result
}

#[test]
fn what_would_break_the_library_is_refused() {
    let _turn = memory::turn();
    let changed = |path: &str, change: Value| {
        let mut value = whole();
        *value.pointer_mut(path).unwrap() = change;
        value
    };
    let normalizer = |normalizer: Value| changed("/normalizer", normalizer);
    assert_eq!(try_to_use(&whole()), Ok(()));
    let empty = json!({"String": ""});
    let tenfold = replace(&json!({"String": "a"}), &"a".repeat(10));
    let mut prefixed = changed("/model/continuing_subword_prefix", json!("##"));
    prefixed["model"]["vocab"]["##b"] = json!(258);
    for (what, value, says) in [
        ("an empty pattern", normalizer(replace(&empty, "b")), "replaces an empty text"),
        (
            "an empty pattern before a step that changes each character",
            normalizer(sequence(&[replace(&empty, "b"), json!({"type": "NFD"})])),
            "replaces an empty text",
        ),
        (
            "an expression of nothing",
            normalizer(replace(&json!({"Regex": "x*"}), "b")),
            "replaces an empty text",
        ),
        (
            "a damaged table",
            normalizer(json!({"type": "Precompiled", "precompiled_charsmap": "/////wAA"})),
            "table of normalisations is damaged",
        ),
        (
            "a table that is no text",
            normalizer(json!({"type": "Precompiled", "precompiled_charsmap": [1]})),
            "no table",
        ),
        ("merges without the prefix", prefixed, "does not begin with \"##\""),
        ("eight times tenfold", normalizer(sequence(&vec![tenfold; 8])), "too long"),
        (
            "a long added token",
            changed("/added_tokens", json!([added(&"a".repeat(300_000), false)])),
            "more than 256 bytes",
        ),
        (
            "parts of no length",
            changed("/pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
            "no length",
        ),
        ("a far id", changed("/model/vocab/ab", json!((1 << 24) - 1)), "go up to 16777216"),
        ("the last id", changed("/model/vocab/ab", json!(u32::MAX)), "go up to 4294967296"),
        ("a decoder of nothing", changed("/decoder", json!([1])), "decoder"),
    ] {
        let said = try_to_use(&value).expect_err(what);
        assert!(said.contains(says), "{what}: {said}");
        assert!(said.len() < 400 && !said.contains(['\n', '\r']), "{what}: {said}");
    }
    // Not used, so not looked at.
    for (path, change) in [
        ("/truncation", json!({"max_length": 0, "stride": 9, "strategy": "x", "direction": 1})),
        ("/padding", json!(1)),
        ("/post_processor", json!({"type": "TemplateProcessing", "single": 1})),
    ] {
        assert_eq!(try_to_use(&changed(path, change)), Ok(()), "{path}");
    }
}

/// A text of one step of a normalizer or pre-tokenizer, right or wrong.
fn step() -> impl Strategy<Value = Value> {
    let text =
        select(vec!["", " ", "a", "b", "▁", "aaaa", "ab", "\u{301}", "\u{fdfa}", "é", "x y"]);
    let expression = select(vec![
        "",
        "a",
        "a+",
        "a*",
        r"\s+",
        r"\s+(?!\S)",
        " {2,}",
        "(?:a*)*b(?!c)",
        "[",
        r"(?<!\n)^",
        r"\b",
        "(?=a)",
        r"(a)\1",
        ".",
        r"\p{L}{1,3}",
        "^",
        "$",
    ]);
    let pattern = prop_oneof![
        text.clone().prop_map(|text| json!({"String": text})),
        expression.prop_map(|text| json!({"Regex": text})),
    ];
    let behavior =
        select(vec!["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]);
    let plain = select(vec![
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Lowercase",
        "Nmt",
        "StripAccents",
        "ByteLevel",
        "Bert",
        "BertPreTokenizer",
        "Whitespace",
        "WhitespaceSplit",
        "UnicodeScripts",
        "Punctuation",
        "None",
    ]);
    prop_oneof![
        plain.prop_map(|kind| json!({"type": kind})),
        any::<bool>().prop_map(|space| json!({
            "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": true,
        })),
        any::<[bool; 4]>().prop_map(|[a, b, c, d]| json!({
            "type": "BertNormalizer", "clean_text": a, "handle_chinese_chars": b,
            "strip_accents": c, "lowercase": d,
        })),
        any::<[bool; 2]>().prop_map(|[left, right]| json!({
            "type": "Strip", "strip_left": left, "strip_right": right,
        })),
        (pattern.clone(), text.clone()).prop_map(|(pattern, text)| replace(&pattern, text)),
        (pattern, behavior.clone(), any::<bool>()).prop_map(|(pattern, behavior, invert)| json!({
            "type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert,
        })),
        text.clone().prop_map(|text| json!({"type": "Prepend", "prepend": text})),
        (text, select(vec!["first", "always", "never"]), any::<bool>()).prop_map(
            |(text, scheme, split)| json!({
                "type": "Metaspace", "replacement": text, "prepend_scheme": scheme, "split": split,
            })
        ),
        (0usize..4).prop_map(|length| json!({"type": "FixedLength", "length": length})),
        any::<bool>().prop_map(|each| json!({"type": "Digits", "individual_digits": each})),
        "[ -~]".prop_map(|text| json!({"type": "CharDelimiterSplit", "delimiter": text})),
    ]
}

/// Tokenizers of right and wrong parts in any order.
#[test]
fn any_parts_make_a_tokenizer_or_none() {
    let _turn = memory::turn();
    let text = select(vec!["", " ", "a", "ab", "  ", "<x>", "é", "\u{301}", "▁a", "##b"]);
    let token = (text.clone(), any::<[bool; 5]>()).prop_map(|(content, [a, b, c, d, e])| {
        json!({"id": 300, "content": content, "special": a, "single_word": b, "lstrip": c,
               "rstrip": d, "normalized": e})
    });
    let unigram = prop::collection::vec((text.clone(), -9.0..0.0), 1..6).prop_map(
        |vocab| json!({"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": vocab}),
    );
    let bpe =
        (text.clone(), text.clone(), prop::option::of(text)).prop_map(|(prefix, suffix, unk)| {
            let mut model = whole()["model"].clone();
            model["continuing_subword_prefix"] = json!(prefix);
            model["end_of_word_suffix"] = json!(suffix);
            model["unk_token"] = json!(unk);
            model
        });
    let steps = || prop::collection::vec(step(), 0..5);
    let parts = (
        steps(),
        steps(),
        prop::collection::vec(token, 0..4),
        prop_oneof![Just(whole()["model"].clone()), bpe, unigram],
    );
    proptest!(cases(1500), |((normalizers, pretokenizers, added, model) in parts)| {
        let mut value = whole();
        value["normalizer"] = sequence(&normalizers);
        value["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": pretokenizers});
        value["added_tokens"] = json!(added);
        value["model"] = model;
        let _ = try_to_use(&value);
    });
}

/// Values of the file that are something else.
#[test]
fn any_value_may_be_wrong() {
    let _turn = memory::turn();
    fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
        all.push(at.into());
        match value {
            Value::Object(fields) if fields.len() < 64 => {
                fields.iter().for_each(|(key, value)| paths(value, &format!("{at}/{key}"), all));
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.for_each(|(index, value)| paths(value, &format!("{at}/{index}"), all));
            }
            _ => {}
        }
    }
    let mut whole = whole();
    whole["normalizer"] =
        sequence(&[json!({"type": "NFC"}), replace(&json!({"String": " "}), "▁")]);
    let mut all = Vec::new();
    paths(&whole, "", &mut all);
    let wrong = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!(1e308)),
        Just(json!([])),
        Just(json!([["a"]])),
        Just(json!({})),
        Just(json!({"type": "Sequence"})),
        Just(json!("")),
        Just(json!("a".repeat(2000))),
        ".*".prop_map(|text| json!(text)),
    ];
    proptest!(cases(800), |(changes in prop::collection::vec((select(all), wrong), 1..3))| {
        let mut value = whole.clone();
        for (path, change) in changes {
            if let Some(place) = value.pointer_mut(&path) {
                *place = change;
            }
        }
        let _ = try_to_use(&value);
    });
}

/// What is added to texts is bounded by their length, in the number of steps too.
#[test]
fn work_grows_with_the_text() {
    let _turn = memory::turn();
    let mut value = whole();
    let threefold = replace(&json!({"String": "a"}), "aaa");
    value["normalizer"] = sequence(&[threefold.clone(), threefold]);
    let tokenizer = tokenizer::from_json(&value.to_string()).unwrap();
    let tokens = |count: usize| tokenizer.encode("ac".repeat(count).as_bytes()).unwrap().len();
    assert_eq!((tokens(10), tokens(10_000)), (100, 100_000));
    let peaks = [1_000, 10_000, 100_000].map(|count| memory::peak(|| tokens(count)).1);
    assert!(peaks[1] < 12 * peaks[0] && peaks[2] < 12 * peaks[1], "{peaks:?}");
}
