use std::{path::Path, sync::Arc};

use anyhow::{Context, anyhow, ensure};
use bitnet::{
    data::{Corpus, DataError, Split, TokenFile, Tokens, TrainBatches, windows},
    evaluate::WindowBatch,
    generate::Sampler,
    progress::Bar,
    tokenizer::{self, ByteTokenizer, Tokenizer},
};

use crate::{
    config::{BYTES, Config},
    training::hex::hex,
};

/// The text of a run, as tokens.
pub struct Text {
    /// All tokens.
    tokens: Tokens,
    /// What made them.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// What is trained on, and what is held out.
    split: Split,
    /// Names tokens and parts: SHA-256 of the tokens, then the lengths of the parts.
    pub fingerprint: String,
}

/// How large the parts of a text are, in tokens.
#[derive(Debug, Clone, Copy)]
pub struct TextSize {
    /// Of what is trained on.
    pub training: u64,
    /// The same in bytes.
    pub training_bytes: u64,
    /// Of what is held out to watch the training.
    pub validation: u64,
    /// Of what the run never sees.
    pub test: u64,
}

impl Text {
    /// Reads and tokenises the sources, or finds their tokens in the cache. Returns the
    /// configuration with its budget as steps, too.
    ///
    /// # Errors
    /// If a source or the tokenizer cannot be read, or a part is shorter than a window.
    pub fn load(config: Config) -> anyhow::Result<(Self, Config)> {
        let section = &config.data;
        let tokenizer = load_tokenizer(&section.tokenizer)?;
        let (options, bar) = (section.options(), Bar::default());
        let corpus = Corpus::open(&section.sources, &options, &bar)?;
        let TokenFile { tokens, sha256, .. } =
            corpus.tokens(tokenizer.as_ref(), &options.cache, &bar)?;
        let split = Split::new(&tokens, tokenizer.as_ref(), section.validation, section.test);
        let parameters = config.model.transformer(tokenizer.vocab_size()).parameter_count();
        let config = config.with_steps(parameters, split.training.len())?;
        let (training, validation) = (split.training.len(), split.validation.len());
        let fingerprint = format!("{} {training}+{validation}", hex(&sha256));
        let text = Self { fingerprint, tokens, tokenizer, split };
        text.batches(&config)?;
        text.check_samples(&config)?;
        if validation < 2 {
            let part = "validation";
            return Err(DataError::TooShort { part, actual: validation, needed: 2 }.into());
        }
        Ok((text, config))
    }

    /// How large it is.
    pub fn size(&self) -> TextSize {
        let Split { training, validation, test, training_bytes } = &self.split;
        TextSize {
            training: training.len() as u64,
            training_bytes: *training_bytes as u64,
            validation: validation.len() as u64,
            test: test.len() as u64,
        }
    }

    /// The training batches.
    ///
    /// # Errors
    /// If the training part is shorter than a window.
    pub fn batches(&self, config: &Config) -> Result<TrainBatches, DataError> {
        TrainBatches::new(
            self.tokens.clone(),
            self.split.training.clone(),
            config.train.batch,
            config.model.context,
            config.seed,
        )
    }

    /// Checks that the tokens are still those of the text.
    ///
    /// # Errors
    /// [`DataError::Changed`].
    pub fn check(&self) -> Result<(), DataError> {
        self.tokens.check()
    }

    /// The tokens that are held out for validation.
    pub fn held_out(&self) -> Tokens {
        self.tokens.slice(self.split.validation.clone())
    }

    /// Bits per byte of the training part that a loss in nats per token comes to, on average.
    pub fn bits_per_byte(&self, loss: f64) -> f64 {
        let tokens = self.split.training.len() as f64;
        loss / std::f64::consts::LN_2 * tokens / self.split.training_bytes as f64
    }

    /// The windows of a validation: at most `limit`, evenly spread (0: all). They cover the part
    /// without overlap.
    pub fn validation_windows(&self, config: &Config, limit: usize) -> Vec<WindowBatch> {
        let context = config.model.context;
        let mut windows = windows(self.split.validation.len(), context, context);
        if limit > 0 && limit < windows.len() {
            let all = windows.len();
            windows = (0..limit).map(|i| windows[i * all / limit]).collect();
        }
        WindowBatch::group(&windows, config.eval.batch)
    }

    /// Checks that samples can be generated, which would else fail in the middle of the run.
    fn check_samples(&self, config: &Config) -> anyhow::Result<()> {
        let sample = &config.sample;
        let tokens =
            self.tokenizer.encode(sample.prompt.as_bytes()).context("sample.prompt")?.len();
        ensure!(
            sample.tokens == 0 || (1..=config.model.context).contains(&tokens),
            "sample.prompt has {tokens} tokens, must have 1 to {}",
            config.model.context
        );
        Sampler::new(sample.generation(config.seed).sampling).context("[sample]")?;
        Ok(())
    }
}

fn load_tokenizer(name: &str) -> anyhow::Result<Arc<dyn Tokenizer>> {
    if name == BYTES {
        return Ok(Arc::new(ByteTokenizer));
    }
    let path = Path::new(name);
    // Its message has those of its causes in it.
    let tokenizer = tokenizer::load(path)
        .map_err(|error| anyhow!("data.tokenizer: {name} cannot be used: {error}"))?;
    Ok(tokenizer.into())
}
