//! The post-processor of a `tokenizer.json`, as far as it says what is put before a text.

use serde_json::{Value, json};

/// The ids of the tokens that a post-processor puts before a text.
pub(super) fn tokens(processor: &Value) -> Vec<u32> {
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    match processor["type"].as_str() {
        Some("Sequence") => {
            let processors = processor["processors"].as_array().map_or(&[][..], Vec::as_slice);
            let is_sequence = |processor: &&Value| processor["type"] != "Sequence";
            processors.iter().filter(is_sequence).flat_map(tokens).collect()
        }
        Some("TemplateProcessing") => {
            let parts = processor["single"].as_array().map_or(&[][..], Vec::as_slice);
            let names = parts.iter().map_while(|part| part["SpecialToken"]["id"].as_str());
            let ids = names.map(|name| &processor["special_tokens"][name]["ids"]);
            ids.filter_map(Value::as_array).flatten().filter_map(id).collect()
        }
        Some("BertProcessing" | "RobertaProcessing") => {
            id(&processor["cls"][1]).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// A post-processor that puts tokens, by how they are written and their ids, before a text.
pub(crate) fn processor(tokens: &[(&str, u32)]) -> Value {
    if tokens.is_empty() {
        return Value::Null;
    }
    let special = |&(name, _): &(&str, u32)| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let sequence = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
    let before: Vec<Value> = tokens.iter().map(special).collect();
    let single: Vec<Value> = before.iter().cloned().chain([sequence("A", 0)]).collect();
    let pair: Vec<Value> = single.iter().cloned().chain([sequence("B", 1)]).collect();
    let named = tokens
        .iter()
        .map(|&(name, id)| (name.to_owned(), json!({"id": name, "ids": [id], "tokens": [name]})));
    json!({
        "type": "TemplateProcessing",
        "single": single,
        "pair": pair,
        "special_tokens": named.collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_before_a_text() {
        let own = processor(&[("<s>", 1), ("[INST]", 3)]);
        assert_eq!(tokens(&own), [1, 3]);
        assert!(tokens(&processor(&[])).is_empty());
        let after = json!({
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}},
        });
        assert!(tokens(&after).is_empty());
        let level = json!({"type": "ByteLevel", "trim_offsets": false});
        assert_eq!(tokens(&json!({"type": "Sequence", "processors": [level, own]})), [1, 3]);
        assert_eq!(
            tokens(&json!({"type": "BertProcessing", "sep": ["b", 5], "cls": ["a", 4]})),
            [4]
        );
        for damaged in [json!(null), json!({"type": "TemplateProcessing", "single": 1})] {
            assert!(tokens(&damaged).is_empty());
        }
    }
}
