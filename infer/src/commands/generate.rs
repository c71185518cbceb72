//! `infer generate`: continues a prompt, or answers in a chat.

use std::{
    borrow::Cow,
    io::{self, Read},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context, ensure};
use bitnet::{
    backend::BackendVisitor,
    engine::{Engine, Footprint},
    generate::{CausalLm, GenerationConfig},
    pretrained::TextModel,
    progress::Bar,
    tokenizer::TokenizerError,
};
use burn::tensor::backend::Backend;
use command_line::thousands;
use infer::{Chat, LoadOptions, Loaded, load, model_name};

use super::{
    chat,
    speak::{self, Notes, without_line_break},
};
use crate::{
    args::{BackendArgs, PackArgs, SamplingArgs},
    output,
};

/// The longest prompt that is read from standard input: more than any context holds.
const MAX_PROMPT_BYTES: u64 = 64 << 20;

/// What to generate, and how.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// Model folder or GGUF file
    #[arg(short, long, value_name = "PATH")]
    model: PathBuf,
    /// Text to continue, or with --chat to answer; "-" reads it from standard input; a
    /// trailing newline is removed
    #[arg(
        short,
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        required_unless_present = "chat"
    )]
    prompt: Option<String>,
    /// Answer --prompt as the user of a chat, by the model's chat template; without --prompt, each
    /// line of standard input, one after the other
    #[arg(long)]
    chat: bool,
    /// With --chat, the system message
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, requires = "chat")]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// End before this text (repeatable)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    #[command(flatten)]
    packing: PackArgs,
    /// Compute with the latent weights, as in training, instead of packing them
    #[arg(long, conflicts_with_all = ["head", "kv"])]
    float: bool,
    #[command(flatten)]
    backend: BackendArgs,
    /// Print the text alone: neither seed nor speed on standard error
    #[arg(short, long)]
    quiet: bool,
}

impl GenerateArgs {
    /// Prints prompt and continuation, the latter as it is made, then its speed on standard error.
    ///
    /// # Errors
    /// If prompt, model or a sampling parameter cannot be used.
    pub fn run(self) -> anyhow::Result<()> {
        self.backend.clone().visit(self)
    }

    fn prompt(&self) -> anyhow::Result<Option<Cow<'_, str>>> {
        if self.prompt.as_deref() != Some("-") {
            return Ok(self.prompt.as_deref().map(Cow::Borrowed));
        }
        let input = io::stdin().lock().take(MAX_PROMPT_BYTES + 1);
        let text =
            io::read_to_string(input).context("cannot read the prompt from standard input")?;
        ensure!(
            text.len() as u64 <= MAX_PROMPT_BYTES,
            "the prompt on standard input is longer than {} MiB",
            MAX_PROMPT_BYTES >> 20,
        );
        Ok(Some(Cow::Owned(without_line_break(&text).into())))
    }

    /// Prints what a model says.
    fn speak<M: CausalLm>(
        &self,
        prompt: Option<&str>,
        model: &TextModel<M>,
        note: Option<String>,
    ) -> anyhow::Result<()> {
        let options = self.sampling.options();
        let sampling = options.sampling(&model.settings.defaults)?;
        self.sampling.check(sampling)?;
        let mut notes = Notes::new(note, &sampling, self.quiet);
        let config = GenerationConfig {
            max_tokens: options.max_tokens(&model.settings.defaults),
            sampling,
            stop: self.stop.clone(),
            stop_tokens: Vec::new(),
        };
        if self.chat {
            return Chat::new(model, self.system.as_deref(), config)
                .map_err(anyhow::Error::from)
                .and_then(|chat| chat::run(chat, prompt, notes))
                .with_context(|| model_name(&self.model));
        }
        let prompt = prompt.unwrap_or_default();
        let mut generation = model.stream(prompt, &config)?;
        let start = Instant::now();
        speak::print(prompt, &mut generation)?;
        notes.say(generation.generated(), start);
        if !self.quiet {
            note_overflow(prompt, model, generation.generated())?;
        }
        Ok(())
    }
}

impl BackendVisitor for GenerateArgs {
    type Output = anyhow::Result<()>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        let prompt = self.prompt()?;
        let prompt = prompt.as_deref();
        let start = Instant::now();
        let options = LoadOptions {
            float: self.float,
            off_cpu: !self.backend.is_cpu(),
            packing: self.packing.options(),
        };
        let loaded = load::<B>(&self.model, &device, options, &Bar::default())?;
        let held = |what, engine| Some(held(what, engine, start.elapsed().as_secs_f64()));
        match loaded {
            Loaded::Packed(packed) => self.speak(prompt, &packed, held("loaded", &packed.model)),
            Loaded::NewlyPacked(packed) => {
                self.speak(prompt, &packed, held("packed", &packed.model))
            }
            Loaded::Float(model, reason) => {
                self.speak(prompt, &model, reason.map(|error| format!("not packed: {error}")))
            }
        }
    }
}

/// Says so if a prompt and as many tokens after it did not fit the model's context.
fn note_overflow<M: CausalLm>(
    prompt: &str,
    model: &TextModel<M>,
    tokens: usize,
) -> Result<(), TokenizerError> {
    let context = model.model.config().max_seq_len;
    let bos = model.settings.bos_tokens.len();
    let read = bos + model.tokenizer.encode(prompt.as_bytes())?.len();
    if read.saturating_add(tokens) > context {
        output::note(&format!(
            "the prompt's {read} tokens and the text's {tokens} do not fit the model's context of \
             {context}: each time it was full, its older half was dropped"
        ));
    }
    Ok(())
}

/// What a packed model holds, and how long it took.
fn held(what: &str, engine: &Engine, seconds: f64) -> String {
    let Footprint { ternary, tables, norms, .. } = engine.footprint();
    let [ternary, tables, norms] = [ternary, tables, norms].map(thousands);
    let format = engine.table_format().name();
    format!(
        "{what} in {seconds:.2} s: {ternary} bytes ternary, {tables} bytes {format} tables, {norms} \
         bytes f32 norms"
    )
}
