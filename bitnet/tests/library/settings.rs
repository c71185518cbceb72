//! How a model is to be used: what its files say, what comes of it, and that it travels.

use std::{fs, path::Path};

use bitnet::{
    BitNetTransformerConfig,
    chat::{ChatTemplate, Message, Role},
    formats::Encoding,
    generate::{FinishReason, Generation, GenerationConfig, Prompt, Sampling},
    packed::TableFormat,
    pretrained::{
        CheckpointReader, ExportFormat, FloatModel, GenerationDefaults, PackedModel,
        PretrainedError, Settings, WeightDtype, export, save,
    },
    progress::Silent,
    tokenizer,
};
use serde_json::{Value, json};
use tempfile::TempDir;

type B = burn_flex::Flex;

const TOKENIZER: &str = include_str!("../golden/chat/tokenizer.json");
const BEGIN: u32 = 320;
const END: u32 = 321;
const TURN: u32 = 324;

/// A folder with a model of the tokenizer's 325 tokens and nothing that says how to use it.
fn folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let config = BitNetTransformerConfig {
        num_tokens: 325,
        ff_dim: 256,
        init_std: 0.5,
        ..BitNetTransformerConfig::new(325, 256, 1).with_heads(4).with_max_seq_len(64)
    };
    let tokenizer = tokenizer::from_json(TOKENIZER).unwrap();
    let model = config.init_seeded::<B>(1, &Default::default()).unwrap();
    save(&root.path().join("model"), &model, tokenizer.as_ref(), WeightDtype::F32).unwrap();
    root
}

fn write(root: &TempDir, name: &str, value: &Value) {
    fs::write(root.path().join("model").join(name), value.to_string()).unwrap();
}

fn settings(root: &TempDir) -> Settings {
    CheckpointReader::open(&root.path().join("model")).unwrap().settings().clone()
}

#[test]
fn what_the_files_say() {
    let root = folder();
    let nothing = Settings { bos_tokens: vec![BEGIN], ..Settings::default() };
    assert_eq!(settings(&root), nothing);

    write(&root, "tokenizer_config.json", &json!({"eos_token": "<|eot_id|>", "bos_token": null}));
    assert_eq!(settings(&root).stop_tokens, [TURN]);
    let config = root.path().join("model/config.json");
    let mut value: Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    value["eos_token_id"] = json!([END]);
    fs::write(&config, value.to_string()).unwrap();
    assert_eq!(settings(&root).stop_tokens, [END]);

    let generation = json!({
        "bos_token_id": BEGIN, "eos_token_id": [END, TURN], "do_sample": true, "temperature": 1,
        "top_k": 50, "top_p": 0.9, "min_p": null, "repetition_penalty": 1.1, "max_new_tokens": 99,
        "transformers_version": "4.57.1",
    });
    write(&root, "generation_config.json", &generation);
    let expected = GenerationDefaults {
        do_sample: Some(true),
        temperature: Some(1.0),
        top_k: Some(50),
        top_p: Some(0.9),
        min_p: None,
        repetition_penalty: Some(1.1),
        max_new_tokens: Some(99),
        rest: [("bos_token_id", json!(BEGIN)), ("transformers_version", json!("4.57.1"))]
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect(),
    };
    assert_eq!(settings(&root).defaults, expected);
    assert_eq!(settings(&root).stop_tokens, [END, TURN]);
    write(&root, "generation_config.json", &json!({"eos_token_id": TURN}));
    assert_eq!(settings(&root).stop_tokens, [TURN]);

    for (adds, bos_tokens) in
        [(json!(true), vec![END]), (json!(false), vec![]), (json!(null), vec![BEGIN])]
    {
        let bos = json!({"content": "<|end_of_text|>", "special": true});
        let file = json!({"bos_token": bos, "add_bos_token": adds});
        write(&root, "tokenizer_config.json", &file);
        assert_eq!(settings(&root).bos_tokens, bos_tokens);
    }
}

#[test]
fn where_templates_are() {
    let root = folder();
    let source = |root: &TempDir| settings(root).chat.map(|chat| chat.source().to_owned());
    assert_eq!(source(&root), None);
    let named = |name: &str| json!({"name": name, "template": name});
    write(&root, "tokenizer_config.json", &json!({"chat_template": [named("tool_use")]}));
    assert_eq!(source(&root), None);
    let both = json!({"chat_template": [named("rag"), named("default")]});
    write(&root, "tokenizer_config.json", &both);
    assert_eq!(source(&root).unwrap(), "default");
    let file =
        json!({"chat_template": "one", "bos_token": "<s>", "eos_token": {"content": "</s>"}});
    write(&root, "tokenizer_config.json", &file);
    assert_eq!(settings(&root).chat, Some(ChatTemplate::new("one", "<s>", "</s>")));
    fs::write(root.path().join("model/chat_template.jinja"), "another").unwrap();
    assert_eq!(settings(&root).chat, Some(ChatTemplate::new("another", "<s>", "</s>")));
}

#[test]
fn damaged_files_are_named() {
    let root = folder();
    for (name, text) in [
        ("generation_config.json", "{"),
        ("generation_config.json", r#"{"eos_token_id": -1}"#),
        ("generation_config.json", r#"{"temperature": "hot"}"#),
        ("tokenizer_config.json", "[1]"),
        ("tokenizer_config.json", r#"{"chat_template": 7}"#),
        ("tokenizer_config.json", r#"{"bos_token": {"text": "<s>"}}"#),
    ] {
        let path = root.path().join("model").join(name);
        fs::write(&path, text).unwrap();
        let error = CheckpointReader::open(&root.path().join("model")).err().unwrap();
        assert!(
            matches!(&error, PretrainedError::Settings { file, .. } if *file == name),
            "{error}"
        );
        assert!(error.to_string().starts_with(name));
        fs::remove_file(path).unwrap();
    }
}

/// A folder with all there is to say.
fn chatting() -> TempDir {
    let root = folder();
    let generation = json!({
        "bos_token_id": BEGIN, "eos_token_id": [TURN, END], "do_sample": true, "temperature": 0.6,
        "top_p": 0.9, "pad_token_id": 2,
    });
    write(&root, "generation_config.json", &generation);
    let template = include_str!("../golden/chat/2b4t.jinja");
    let file = json!({
        "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "chat_template": template,
    });
    write(&root, "tokenizer_config.json", &file);
    root
}

#[test]
fn settings_travel() {
    let root = chatting();
    let expected = settings(&root);
    assert_eq!(expected.bos_tokens, [BEGIN]);
    let open = |path: &Path| CheckpointReader::open(path).unwrap().settings().clone();
    let model = || CheckpointReader::open(&root.path().join("model")).unwrap();
    let out = |name: &str| root.path().join(name);
    for (name, format) in [("bf16", ExportFormat::HfBf16), ("hf", ExportFormat::HfPacked)] {
        export(&model(), format, &out(name), &Silent).unwrap();
        assert_eq!(open(&out(name)), expected);
    }
    let gguf = ExportFormat::Gguf { linears: Encoding::Tq2_0, embedding: None };
    export(&model(), gguf, &out("model.gguf"), &Silent).unwrap();
    let without = Settings { defaults: GenerationDefaults::default(), ..expected.clone() };
    assert_eq!(open(&out("model.gguf")), without);
    // And back, with what a folder says of a draw left out.
    let stored = CheckpointReader::open(&out("model.gguf")).unwrap();
    export(&stored, ExportFormat::HfPacked, &out("back"), &Silent).unwrap();
    let back = open(&out("back"));
    assert_eq!(
        (&back.bos_tokens, &back.stop_tokens, &back.chat),
        (&expected.bos_tokens, &expected.stop_tokens, &expected.chat)
    );

    let packed = model().pack(TableFormat::Int8, &Silent).unwrap();
    assert_eq!(packed.settings, expected);
    packed.save(&out("packed")).unwrap();
    assert_eq!(PackedModel::load(&out("packed")).unwrap().settings, expected);
    let loaded = FloatModel::<B>::load(&root.path().join("model"), &Default::default()).unwrap();
    assert_eq!(loaded.settings, expected);
    assert_eq!(loaded.pack(TableFormat::Int8).unwrap().settings, expected);
}

/// What a folder says against its own tokenizer is in the tokenizer that is written.
#[test]
fn a_bos_token_that_is_switched_off_stays_off() {
    let root = chatting();
    write(&root, "tokenizer_config.json", &json!({"add_bos_token": false}));
    let out = root.path().join("out");
    let model = CheckpointReader::open(&root.path().join("model")).unwrap();
    export(&model, ExportFormat::HfPacked, &out, &Silent).unwrap();
    assert!(CheckpointReader::open(&out).unwrap().tokenizer().bos_tokens().is_empty());
    assert!(CheckpointReader::open(&out).unwrap().settings().bos_tokens.is_empty());
    let out = root.path().join("out.gguf");
    let gguf = ExportFormat::Gguf { linears: Encoding::Tq2_0, embedding: None };
    export(&model, gguf, &out, &Silent).unwrap();
    assert!(CheckpointReader::open(&out).unwrap().settings().bos_tokens.is_empty());
}

#[test]
fn a_text_begins_and_ends_as_the_model_says() {
    let root = chatting();
    let path = root.path().join("model");
    let mut model = FloatModel::<B>::load(&path, &Default::default()).unwrap();
    let greedy =
        GenerationConfig { max_tokens: 20, sampling: Sampling::greedy(), ..Default::default() };
    let tokens = |prompt: Vec<u32>, stop_tokens: Vec<u32>| {
        let config = GenerationConfig { stop_tokens, ..greedy.clone() };
        let tokenizer = model.tokenizer.as_ref();
        let mut text = String::new();
        let mut stream =
            Generation::new(&model.model, tokenizer, Prompt::Tokens(prompt), &config).unwrap();
        for piece in stream.by_ref() {
            text.push_str(&piece.unwrap());
        }
        (text, stream.finish_reason().unwrap(), stream.generated())
    };
    let hello = model.tokenizer.encode(b"Hello").unwrap();
    let with_bos = [&[BEGIN], &hello[..]].concat();
    let (with, _, _) = tokens(with_bos.clone(), vec![TURN, END]);
    let (without, _, _) = tokens(hello, vec![TURN, END]);
    assert_ne!(with, without, "the BOS token changes nothing");
    assert_eq!(model.generate("Hello", &greedy).unwrap(), with);
    let prompt = Prompt::Tokens(with_bos.clone());
    assert_eq!(model.generate(prompt, &greedy).unwrap(), with);

    // Any token of a list ends a text, and is not in it: here the third that is generated.
    let (long, reason, count) = tokens(with_bos.clone(), vec![]);
    assert_eq!((reason, count), (FinishReason::Length, 20));
    let mut at = Vec::new();
    for end in 0..325 {
        let (text, reason, count) = tokens(with_bos.clone(), vec![325, end]);
        if reason == FinishReason::EndOfText {
            assert!(long.starts_with(&text) && count <= 20, "{text} {long}");
            at.push((count, end));
        }
    }
    at.sort_unstable();
    assert!(at.len() > 1, "all tokens are the same");
    let (count, end) = at[1];
    model.settings.stop_tokens = vec![7, end];
    let mut stream = model.stream("Hello", &greedy).unwrap();
    stream.by_ref().for_each(drop);
    assert_eq!(
        (stream.generated(), stream.finish_reason()),
        (count, Some(FinishReason::EndOfText))
    );
    // What ends a chat's turn here is no text.
    let messages = [Message::new(Role::User, "Hello")];
    let prompt = model.settings.chat_prompt(&messages, model.tokenizer.as_ref()).unwrap();
    assert_eq!(prompt[0], BEGIN);
    assert_eq!(prompt.iter().filter(|&&token| token == TURN).count(), 1);
}
