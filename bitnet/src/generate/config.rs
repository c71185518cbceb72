use super::Sampling;

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Texts that end the generation; they are not part of it.
    pub stop: Vec<String>,
    /// Stop tokens: they end the generation, besides the tokenizer's
    /// [`end_of_text`](crate::tokenizer::Tokenizer::end_of_text); they are not part of it.
    pub stop_tokens: Vec<u32>,
}

impl Default for GenerationConfig {
    /// 256 tokens at temperature 1, nothing else that ends them.
    fn default() -> Self {
        let sampling = Sampling::default();
        Self { max_tokens: 256, sampling, stop: Vec::new(), stop_tokens: Vec::new() }
    }
}
