use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    chat::{ChatError, ChatTemplate, Message},
    generate::{GenerationConfig, Prompt},
    tokenizer::{Tokenizer, TokenizerError},
};

/// How a model is to be used, as the files beside its weights say: `generation_config.json` and
/// `tokenizer_config.json`, or the metadata of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The tokens that are put before a text (BOS).
    pub bos_tokens: Vec<u32>,
    /// The stop tokens: they end what is generated, besides the tokenizer's
    /// [`end_of_text`](Tokenizer::end_of_text).
    pub stop_tokens: Vec<u32>,
    /// How tokens are to be drawn.
    pub defaults: GenerationDefaults,
    /// How chats are written.
    pub chat: Option<ChatTemplate>,
}

/// What `generation_config.json` says of the drawing of tokens; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GenerationDefaults {
    /// Whether tokens are drawn at all: else the most probable one is taken always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub do_sample: Option<bool>,
    /// [`Sampling::temperature`](crate::generate::Sampling::temperature).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// [`Sampling::top_k`](crate::generate::Sampling::top_k).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// [`Sampling::top_p`](crate::generate::Sampling::top_p).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// [`Sampling::min_p`](crate::generate::Sampling::min_p).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f64>,
    /// [`Sampling::repetition_penalty`](crate::generate::Sampling::repetition_penalty).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Most tokens to generate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<usize>,
    /// What else the file says, which means nothing here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Settings {
    /// The tokens that ask for an answer to `messages`.
    ///
    /// # Errors
    /// [`ChatError::Missing`] if the model has no chat template, others if it cannot be followed.
    pub fn chat_prompt(
        &self,
        messages: &[Message],
        tokenizer: &dyn Tokenizer,
    ) -> Result<Vec<u32>, ChatError> {
        self.chat.as_ref().ok_or(ChatError::Missing)?.encode(messages, tokenizer)
    }

    /// A prompt with the tokens that are put before a text.
    pub(super) fn with_bos<'p>(
        &self,
        prompt: Prompt<'p>,
        tokenizer: &dyn Tokenizer,
    ) -> Result<Prompt<'p>, TokenizerError> {
        match prompt {
            Prompt::Text(text) if !self.bos_tokens.is_empty() => {
                let tokens = tokenizer.encode(text.as_bytes())?;
                Ok(Prompt::Tokens([&self.bos_tokens[..], &tokens].concat()))
            }
            prompt => Ok(prompt),
        }
    }

    /// A configuration with the stop tokens of these settings.
    pub(super) fn with_stop_tokens(&self, config: &GenerationConfig) -> GenerationConfig {
        let mut config = config.clone();
        config.stop_tokens.extend(&self.stop_tokens);
        config
    }
}
