//! `infer eval`: the loss over a text.

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::ensure;
use bitnet::{
    backend::BackendVisitor,
    data::{self, Corpus, DataOptions, Split, TokenFile, Tokens},
    evaluate::{Evaluation, WindowBatch},
    generate::CausalLm,
    pretrained::{PackedModel, TextModel},
    progress::Bar,
    tokenizer::Tokenizer,
};
use burn::tensor::backend::Backend;
use indicatif::{ProgressBar, ProgressStyle};
use infer::{PackOptions, load_float, load_packed};
use serde_json::json;

use crate::{
    args::{BackendArgs, PackArgs},
    output::{self, thousands},
};

/// Longest window unless a longer one is asked for: the logits of a window are held at once.
const MAX_CONTEXT: usize = 4096;

/// What to evaluate, and how.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// Model folder or GGUF file
    #[arg(short, long, value_name = "PATH")]
    model: PathBuf,
    /// Files, folders, patterns and named datasets, read one after the other
    #[arg(long, value_name = "SOURCE", required = true, num_args = 1..)]
    data: Vec<String>,
    /// Evaluate this share at the end of the data alone: 0.05 of enwik8 is its test part
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    last: f64,
    /// Field or column of .jsonl, .json and .parquet files that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    text_field: String,
    /// Take files that are no text as the bytes they are (data.binary)
    #[arg(long)]
    binary: bool,
    /// Rows of .jsonl, .json and .parquet files that may be bad (data.skip_bad)
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip_bad: u64,
    /// Most memory that a piece of a file takes, in MiB (data.piece_mib)
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    piece_mib: u64,
    /// Tokens of a window [default: the model's context, at most 4096: a model may claim one that
    /// no machine holds]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Tokens from one window to the next: fewer give more context and take longer [default: those
    /// of a window]
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Windows evaluated together
    #[arg(long, value_name = "N", default_value = "16")]
    batch: NonZeroUsize,
    /// Evaluate with packed weights, as text is generated; a packed model always is
    #[arg(long)]
    packed: bool,
    #[command(flatten)]
    packing: PackArgs,
    #[command(flatten)]
    backend: BackendArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    /// Prints the loss of the model over the whole text.
    ///
    /// # Errors
    /// If model, data, context or stride cannot be used.
    pub fn run(self) -> anyhow::Result<()> {
        self.backend.clone().visit(self)
    }

    /// The tokens of the text, or of its end.
    fn tokens(&self, tokenizer: &dyn Tokenizer) -> anyhow::Result<Tokens> {
        let last = self.last;
        ensure!(last > 0.0 && last <= 1.0, "last is {last}, must be above 0, at most 1");
        let options = DataOptions {
            text_field: self.text_field.clone(),
            binary: self.binary,
            skip_bad: self.skip_bad,
            piece_mib: self.piece_mib,
            ..DataOptions::default()
        };
        let bar = Bar::default();
        let corpus = Corpus::open(&self.data, &options, &bar)?;
        let TokenFile { tokens, .. } = corpus.tokens(tokenizer, &options.cache, &bar)?;
        let part = Split::new(&tokens, tokenizer, last, 0.0).validation;
        Ok(tokens.slice(part))
    }

    /// Prints the loss of a model.
    fn report<M: CausalLm>(&self, model: &TextModel<M>) -> anyhow::Result<()> {
        let longest = model.model.config().max_seq_len;
        let context = self.context.unwrap_or(longest.min(MAX_CONTEXT));
        ensure!(
            (1..=longest).contains(&context),
            "context is {context}, must be between 1 and the model's context of {longest}"
        );
        let stride = self.stride.unwrap_or(context);
        ensure!(
            (1..=context).contains(&stride),
            "stride is {stride}, must be between 1 and the context of {context}"
        );
        let tokens = self.tokens(model.tokenizer.as_ref())?;
        ensure!(
            tokens.len() >= 2,
            "the data is too short: {} token, at least 2 are needed",
            tokens.len()
        );
        let sum = self.evaluate(model, context, &tokens, stride)?;
        ensure!(sum.nats.is_finite(), "the model's loss is not finite; its weights are damaged");
        output::print(&self.format(&sum, context, stride))
    }

    /// The sum over all windows.
    fn evaluate<M: CausalLm>(
        &self,
        model: &TextModel<M>,
        context: usize,
        tokens: &Tokens,
        stride: usize,
    ) -> anyhow::Result<Evaluation> {
        let windows = data::windows(tokens.len(), context, stride);
        let batches = WindowBatch::group(&windows, self.batch.get());
        // Drawn on standard error, and only where that is a terminal.
        let bar = ProgressBar::new(batches.len() as u64)
            .with_style(ProgressStyle::with_template("{bar:40} {percent}% eta {eta}")?);
        let mut sum = Evaluation::default();
        for batch in &batches {
            sum.add(batch.evaluate(&model.model, model.tokenizer.as_ref(), tokens)?);
            tokens.check()?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(sum)
    }

    fn format(&self, sum: &Evaluation, context: usize, stride: usize) -> String {
        if self.json {
            let value = json!({
                "nats_per_token": sum.loss(),
                "bits_per_byte": sum.bits_per_byte(),
                "perplexity": sum.perplexity(),
                "tokens": sum.tokens,
                "bytes": sum.bytes,
                "context": context,
                "stride": stride,
            });
            return format!("{value:#}\n");
        }
        output::table(&[
            ["nats/token".into(), format!("{:.4}", sum.loss())],
            ["bits/byte".into(), format!("{:.4}", sum.bits_per_byte())],
            ["perplexity".into(), format!("{:.4}", sum.perplexity())],
            ["tokens predicted".into(), thousands(sum.tokens)],
            ["bytes predicted".into(), thousands(sum.bytes)],
            ["context".into(), thousands(context)],
            ["stride".into(), thousands(stride)],
        ])
    }
}

impl BackendVisitor for EvalArgs {
    type Output = anyhow::Result<()>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        let options = self.packing.options();
        if self.packed || PackedModel::is_at(&self.model) {
            return self.report(&load_packed(&self.model, options, &Bar::default())?);
        }
        ensure!(options == PackOptions::default(), "--head and --kv need --packed");
        self.report(&load_float::<B>(&self.model, &device)?)
    }
}
