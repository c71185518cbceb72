use crate::{
    chat::ChatTemplate,
    formats::gguf::{Field, Gguf},
    pretrained::{GenerationDefaults, Settings, settings_files::text_of},
    tokenizer::Tokenizer,
};

pub(super) const BOS_KEY: &str = "tokenizer.ggml.bos_token_id";
pub(super) const ADD_BOS_KEY: &str = "tokenizer.ggml.add_bos_token";
/// The ends of a text, of a turn, and of a message: each of them ends what is generated.
const STOP_TOKEN_KEYS: [&str; 3] =
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
const TEMPLATE_KEY: &str = "tokenizer.chat_template";

/// How the model of a file is to be used. GGUF says nothing of how tokens are drawn.
pub(in crate::pretrained) fn settings(file: &Gguf, tokenizer: &dyn Tokenizer) -> Settings {
    let id = |key: &str| file.integer(key).and_then(|id| u32::try_from(id).ok());
    let text = |key: &str| id(key).and_then(|id| text_of(id, tokenizer)).unwrap_or_default();
    let mut stop_tokens: Vec<u32> = Vec::new();
    for end in STOP_TOKEN_KEYS.into_iter().filter_map(id) {
        if !stop_tokens.contains(&end) {
            stop_tokens.push(end);
        }
    }
    let chat = file.text(TEMPLATE_KEY);
    Settings {
        bos_tokens: tokenizer.bos_tokens().to_vec(),
        stop_tokens,
        defaults: GenerationDefaults::default(),
        chat: chat
            .map(|template| ChatTemplate::new(template, text(BOS_KEY), text(STOP_TOKEN_KEYS[0]))),
    }
}

/// The metadata of settings. Of the stop tokens, the first three.
pub(in crate::pretrained) fn settings_fields(
    settings: &Settings,
    tokenizer: &dyn Tokenizer,
) -> Vec<(String, Field)> {
    let Settings { bos_tokens, stop_tokens, defaults: _, chat } = settings;
    let id_of = |text: &str| {
        let token = tokenizer.special_tokens().iter().find(|token| token.text == text);
        token.map(|token| token.id)
    };
    let bos = bos_tokens.first().copied().or_else(|| id_of(chat.as_ref()?.bos_token()));
    let mut all = Vec::new();
    let eos = chat.as_ref().and_then(|chat| id_of(chat.eos_token()));
    for end in eos.into_iter().chain(stop_tokens.iter().copied()).chain(tokenizer.end_of_text()) {
        if !all.contains(&end) {
            all.push(end);
        }
    }
    let mut fields = vec![(ADD_BOS_KEY.into(), Field::Bool(!bos_tokens.is_empty()))];
    fields.extend(bos.map(|id| (BOS_KEY.into(), Field::U32(id))));
    for (key, end) in STOP_TOKEN_KEYS.into_iter().zip(all) {
        fields.push((key.into(), Field::U32(end)));
    }
    fields.extend(chat.iter().map(|chat| (TEMPLATE_KEY.into(), Field::Text(chat.source().into()))));
    fields
}
