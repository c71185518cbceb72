//! The settings of a model in the files of a folder.

use std::{fs, io, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    GenerationDefaults, PretrainedError, Settings,
    files::{GENERATION, TOKENIZER, TOKENIZER_CONFIG},
};
use crate::{
    chat::ChatTemplate,
    formats::read_text,
    tokenizer::{Tokenizer, bos},
};

/// Where newer versions of `transformers` keep the template.
const TEMPLATE_FILE: &str = "chat_template.jinja";
/// Largest of these files: `tokenizer_config.json` may name thousands of tokens.
const MAX_BYTES: u64 = 1 << 24;

/// What `generation_config.json` says. `null` is as good as nothing.
#[derive(Deserialize, Default)]
#[serde(default)]
struct GenerationFile {
    eos_token_id: Option<Ids>,
    #[serde(flatten)]
    defaults: GenerationDefaults,
}

/// What `config.json` says where there is no `generation_config.json`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ConfigFile {
    eos_token_id: Option<Ids>,
}

/// One id, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a token id or a list of them")]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

impl Ids {
    fn all(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Several(ids) => ids,
        }
    }
}

/// What `tokenizer_config.json` says.
#[derive(Deserialize, Default)]
#[serde(default)]
struct TokenizerFile {
    add_bos_token: Option<bool>,
    bos_token: Option<TokenText>,
    eos_token: Option<TokenText>,
    chat_template: Option<Templates>,
}

/// A token by how it is written.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a text or a token with its content")]
enum TokenText {
    Text(String),
    Token { content: String },
}

impl TokenText {
    fn text(self) -> String {
        match self {
            Self::Text(text) | Self::Token { content: text } => text,
        }
    }
}

/// A template, or several by their names.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a chat template or a list of named ones")]
enum Templates {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

impl Templates {
    /// The only one, or that named "default".
    fn default_one(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Named(all) => {
                all.into_iter().find(|one| one.name == "default").map(|one| one.template)
            }
        }
    }
}

/// Reads the settings in a model's folder, whose `config.json` holds `config`.
pub(super) fn read(
    folder: &Path,
    config: &str,
    tokenizer: &dyn Tokenizer,
) -> Result<Settings, PretrainedError> {
    let wrong = |file| move |error| PretrainedError::Settings { file, error };
    let generation: GenerationFile = match optional(&folder.join(GENERATION))? {
        Some(text) => serde_json::from_str(&text).map_err(wrong(GENERATION))?,
        None => {
            let ConfigFile { eos_token_id } = serde_json::from_str(config)?;
            GenerationFile { eos_token_id, ..GenerationFile::default() }
        }
    };
    let file: TokenizerFile = match optional(&folder.join(TOKENIZER_CONFIG))? {
        Some(text) => serde_json::from_str(&text).map_err(wrong(TOKENIZER_CONFIG))?,
        None => TokenizerFile::default(),
    };
    let TokenizerFile { add_bos_token, bos_token, eos_token, chat_template } = file;
    let [bos_token, eos_token] =
        [bos_token, eos_token].map(|token| token.map(TokenText::text).unwrap_or_default());
    let bos_tokens = match add_bos_token {
        Some(true) => id_of(&bos_token, tokenizer).into_iter().collect(),
        Some(false) => Vec::new(),
        None => tokenizer.bos_tokens().to_vec(),
    };
    let stop_tokens = match generation.eos_token_id {
        Some(ids) => ids.all(),
        None => id_of(&eos_token, tokenizer).into_iter().collect(),
    };
    let template = match optional(&folder.join(TEMPLATE_FILE))? {
        Some(template) => Some(template),
        None => chat_template.and_then(Templates::default_one),
    };
    let chat = template.map(|template| ChatTemplate::new(template, bos_token, eos_token));
    Ok(Settings { bos_tokens, stop_tokens, defaults: generation.defaults, chat })
}

fn optional(path: &Path) -> Result<Option<String>, PretrainedError> {
    match path.exists() {
        true => Ok(Some(read_text(path, MAX_BYTES)?)),
        false => Ok(None),
    }
}

/// The special token that is written so.
fn id_of(text: &str, tokenizer: &dyn Tokenizer) -> Option<u32> {
    tokenizer.special_tokens().iter().find(|token| token.text == text).map(|token| token.id)
}

/// How a special token is written.
pub(super) fn text_of(id: u32, tokenizer: &dyn Tokenizer) -> Option<&str> {
    let mut tokens = tokenizer.special_tokens().iter();
    tokens.find(|token| token.id == id).map(|token| &token.text[..])
}

/// Writes `tokenizer.json`, and what `AutoTokenizer` and `generate` of `transformers` read beside
/// it.
pub(super) fn write(
    folder: &Path,
    settings: &Settings,
    tokenizer: &dyn Tokenizer,
    max_seq_len: usize,
) -> io::Result<()> {
    let write = |name: &str, value: &Value| fs::write(folder.join(name), format!("{value:#}\n"));
    fs::write(folder.join(TOKENIZER), tokenizer_json(settings, tokenizer))?;
    write(GENERATION, &generation_config(settings, tokenizer))?;
    write(TOKENIZER_CONFIG, &tokenizer_config(settings, tokenizer, max_seq_len))
}

/// The tokenizer, which says itself what is put before a text: the class of tokenizers that the
/// files name does not look elsewhere.
fn tokenizer_json(settings: &Settings, tokenizer: &dyn Tokenizer) -> String {
    let json = tokenizer.to_json();
    if settings.bos_tokens == tokenizer.bos_tokens() {
        return json;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(&json) else { return json };
    let name = |&id: &u32| text_of(id, tokenizer).map(|text| (text, id));
    let bos_tokens: Vec<(&str, u32)> = settings.bos_tokens.iter().filter_map(name).collect();
    value["post_processor"] = bos::processor(&bos_tokens);
    format!("{value:#}\n")
}

fn generation_config(settings: &Settings, tokenizer: &dyn Tokenizer) -> Value {
    let mut value = json!(settings.defaults);
    let mut stop_tokens = settings.stop_tokens.clone();
    stop_tokens.extend(tokenizer.end_of_text().filter(|_| settings.stop_tokens.is_empty()));
    if let Some(&first) = stop_tokens.first() {
        value["eos_token_id"] =
            if stop_tokens.len() == 1 { json!(first) } else { json!(stop_tokens) };
        if value["pad_token_id"].is_null() {
            value["pad_token_id"] = json!(first);
        }
    }
    if let Some(first) = settings.bos_tokens.first() {
        value["bos_token_id"] = json!(first);
    }
    value
}

fn tokenizer_config(settings: &Settings, tokenizer: &dyn Tokenizer, max_seq_len: usize) -> Value {
    let mut value = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_seq_len,
        "clean_up_tokenization_spaces": false,
    });
    let text_of = |id: Option<u32>| id.and_then(|id| text_of(id, tokenizer));
    let chat = |text: fn(&ChatTemplate) -> &str| {
        settings.chat.as_ref().map(text).filter(|text| !text.is_empty())
    };
    let bos = chat(ChatTemplate::bos_token).or(text_of(settings.bos_tokens.first().copied()));
    let end = settings.stop_tokens.first().copied().or(tokenizer.end_of_text());
    let eos = chat(ChatTemplate::eos_token).or(text_of(end));
    for (key, text) in
        [("bos_token", bos), ("eos_token", eos), ("chat_template", chat(ChatTemplate::source))]
    {
        if let Some(text) = text {
            value[key] = json!(text);
        }
    }
    if !settings.bos_tokens.is_empty() {
        value["add_bos_token"] = json!(true);
    }
    value
}
