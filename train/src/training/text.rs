use std::{ops::Range, sync::Arc};

use anyhow::{Context, ensure};
use bitnet::{
    data::{self, DataError, TrainBatches, windows},
    evaluate::WindowBatch,
    generate::Sampler,
    tokenizer::{ByteTokenizer, Tokenizer},
};

use sha2::{Digest, Sha256};

use super::manifest::hex;
use crate::config::Config;

/// The text of a run, as tokens.
pub struct Text {
    /// All tokens.
    pub tokens: Arc<Vec<u32>>,
    /// What made them.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// The part that is trained on.
    pub training: Range<usize>,
    /// The part that is held out.
    pub validation: Range<usize>,
    /// Names tokens and parts: SHA-256 of the tokens, then the lengths of the parts.
    pub fingerprint: String,
}

impl Text {
    /// Reads and tokenises the sources. Gives the configuration with its budget as steps, too.
    ///
    /// # Errors
    /// If a source cannot be read, or a part is shorter than a window.
    pub fn load(config: Config) -> anyhow::Result<(Self, Config)> {
        let tokenizer = ByteTokenizer;
        let tokens = tokenizer.encode(&data::load(&config.data.sources)?);
        let (training, validation) = data::split(tokens.len(), config.data.validation);
        let parameters = config.model.transformer(tokenizer.vocab_size()).parameter_count();
        let config = config.with_steps(parameters, training.len())?;
        let text = Self {
            fingerprint: fingerprint(&tokens, &training, &validation),
            tokens: Arc::new(tokens),
            tokenizer: Arc::new(tokenizer),
            training,
            validation,
        };
        text.batches(&config)?;
        text.check_samples(&config)?;
        if text.validation.len() < 2 {
            let actual = text.validation.len();
            return Err(DataError::TooShort { part: "validation", actual, needed: 2 }.into());
        }
        Ok((text, config))
    }

    /// The training batches.
    ///
    /// # Errors
    /// If the training part is shorter than a window.
    pub fn batches(&self, config: &Config) -> Result<TrainBatches, DataError> {
        TrainBatches::new(
            self.tokens.clone(),
            self.training.clone(),
            config.train.batch,
            config.model.context,
            config.seed,
        )
    }

    /// The tokens that are held out.
    pub fn held_out(&self) -> &[u32] {
        &self.tokens[self.validation.clone()]
    }

    /// The windows of a validation: at most `limit`, evenly spread (0: all). They cover the part
    /// without overlap.
    pub fn validation_windows(&self, config: &Config, limit: usize) -> Vec<WindowBatch> {
        let context = config.model.context;
        let mut windows = windows(self.validation.len(), context, context);
        if limit > 0 && limit < windows.len() {
            let all = windows.len();
            windows = (0..limit).map(|i| windows[i * all / limit]).collect();
        }
        WindowBatch::group(&windows, config.eval.batch)
    }

    /// Checks that samples can be generated, which would else fail in the middle of the run.
    fn check_samples(&self, config: &Config) -> anyhow::Result<()> {
        let sample = &config.sample;
        let tokens = self.tokenizer.encode(sample.prompt.as_bytes()).len();
        ensure!(
            sample.tokens == 0 || (1..=config.model.context).contains(&tokens),
            "sample.prompt has {tokens} tokens, must have 1 to {}",
            config.model.context
        );
        Sampler::new(sample.generation(config.seed).sampling).context("[sample]")?;
        Ok(())
    }
}

fn fingerprint(tokens: &[u32], training: &Range<usize>, validation: &Range<usize>) -> String {
    let mut hash = Sha256::new();
    for chunk in tokens.chunks(1 << 14) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|token| token.to_le_bytes()).collect();
        hash.update(bytes);
    }
    format!("{} {}+{}", hex(&hash.finalize()), training.len(), validation.len())
}
