use crate::{
    chat::ChatTemplate,
    formats::gguf::{Field, Gguf},
    pretrained::{GenerationDefaults, Settings, settings_files::text_of},
    tokenizer::Tokenizer,
};

const BOS: &str = "tokenizer.ggml.bos_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
/// The ends of a text, of a turn, and of a message: each of them ends what is generated.
const ENDS: [&str; 3] =
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
const TEMPLATE: &str = "tokenizer.chat_template";

/// How the model of a file is to be used. GGUF says nothing of how tokens are drawn.
pub(in crate::pretrained) fn settings(file: &Gguf, tokenizer: &dyn Tokenizer) -> Settings {
    let id = |key: &str| file.integer(key).and_then(|id| u32::try_from(id).ok());
    let text = |key: &str| id(key).and_then(|id| text_of(id, tokenizer)).unwrap_or_default();
    let mut ends: Vec<u32> = Vec::new();
    for end in ENDS.into_iter().filter_map(id) {
        if !ends.contains(&end) {
            ends.push(end);
        }
    }
    let chat = file.text(TEMPLATE);
    Settings {
        begin: tokenizer.begin_of_text().to_vec(),
        ends,
        defaults: GenerationDefaults::default(),
        chat: chat.map(|template| ChatTemplate::new(template, text(BOS), text(ENDS[0]))),
    }
}

/// The metadata of settings. Of the tokens that end what is generated, the first three.
pub(in crate::pretrained) fn settings_fields(
    settings: &Settings,
    tokenizer: &dyn Tokenizer,
) -> Vec<(String, Field)> {
    let Settings { begin, ends, defaults: _, chat } = settings;
    let id_of = |text: &str| {
        let token = tokenizer.special_tokens().iter().find(|token| token.text == text);
        token.map(|token| token.id)
    };
    let bos = begin.first().copied().or_else(|| id_of(chat.as_ref()?.bos_token()));
    let mut all = Vec::new();
    let eos = chat.as_ref().and_then(|chat| id_of(chat.eos_token()));
    for end in eos.into_iter().chain(ends.iter().copied()).chain(tokenizer.end_of_text()) {
        if !all.contains(&end) {
            all.push(end);
        }
    }
    let mut fields = vec![(ADD_BOS.into(), Field::Bool(!begin.is_empty()))];
    fields.extend(bos.map(|id| (BOS.into(), Field::U32(id))));
    for (key, end) in ENDS.into_iter().zip(all) {
        fields.push((key.into(), Field::U32(end)));
    }
    fields.extend(chat.iter().map(|chat| (TEMPLATE.into(), Field::Text(chat.source().into()))));
    fields
}
