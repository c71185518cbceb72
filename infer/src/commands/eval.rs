//! `infer eval`: the loss over a text.

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::ensure;
use bitnet::{
    backend::BackendVisitor,
    data::{self, Split, TokenFile, Tokens},
    evaluate::{Evaluation, WindowBatch},
    generate::CausalLm,
    pretrained::{PackedModel, TextModel},
    progress::Bar,
    tokenizer::Tokenizer,
};
use burn::tensor::backend::Backend;
use command_line::{Align, DataArgs, table, thousands};
use indicatif::{ProgressBar, ProgressStyle};
use infer::{PackOptions, load_float, load_packed};
use serde_json::json;

use crate::{
    args::{BackendArgs, PackArgs},
    output,
};

/// Longest window unless a longer one is asked for: the logits of a window are held at once.
const MAX_CONTEXT: usize = 4096;

/// What to evaluate, and how.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// Model folder or GGUF file
    #[arg(short, long, value_name = "PATH")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Evaluate this share at the end of the data alone: 0.05 of enwik8 is its test part
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    last: f64,
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
        ensure!(last > 0.0 && last <= 1.0, "--last is {last}, must be above 0, at most 1");
        let bar = Bar::default();
        let corpus = self.data.open(&bar)?;
        let TokenFile { tokens, .. } =
            corpus.tokens(tokenizer, &self.data.options().cache, &bar)?;
        let part = Split::new(&tokens, tokenizer, last, 0.0).validation;
        Ok(tokens.slice(part))
    }

    /// Prints the loss of a model.
    fn report<M: CausalLm>(&self, model: &TextModel<M>) -> anyhow::Result<()> {
        let longest = model.model.config().max_seq_len;
        let context = self.context.unwrap_or(longest.min(MAX_CONTEXT));
        ensure!(
            (1..=longest).contains(&context),
            "--context is {context}, must be between 1 and the model's context of {longest}"
        );
        let stride = self.stride.unwrap_or(context);
        ensure!(
            (1..=context).contains(&stride),
            "--stride is {stride}, must be between 1 and the context of {context}"
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
        table(
            &[
                ["nats/token".into(), format!("{:.4}", sum.loss())],
                ["bits/byte".into(), format!("{:.4}", sum.bits_per_byte())],
                ["perplexity".into(), format!("{:.4}", sum.perplexity())],
                ["tokens predicted".into(), thousands(sum.tokens)],
                ["bytes predicted".into(), thousands(sum.bytes)],
                ["context".into(), thousands(context)],
                ["stride".into(), thousands(stride)],
            ],
            Align::Right,
        )
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
