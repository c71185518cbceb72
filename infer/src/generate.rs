//! `infer generate`: continues a prompt, or answers in a chat.

use std::{
    borrow::Cow,
    io::{self, Write},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context, ensure};
use bitnet::{
    backend::BackendVisitor,
    engine::{Engine, Footprint},
    generate::{GenerateError, Generation, GenerationConfig, Prompt, Sampling},
    pretrained::{Packed, Pretrained, Settings},
    tokenizer::Tokenizer,
};
use burn::tensor::backend::Backend;

use crate::{
    backend::BackendArgs,
    chat, model,
    output::{self, thousands},
    packing::PackArgs,
    sampling::SamplingArgs,
};

/// What to generate, and how.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// Model folder or GGUF file
    #[arg(short, long, value_name = "PATH")]
    model: PathBuf,
    /// Text to continue, or with --chat to answer; "-" reads it from standard input, less one line
    /// break at its end
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
    /// With --chat, what the model is to keep to
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
        let text = io::read_to_string(io::stdin())
            .context("cannot read the prompt from standard input")?;
        Ok(Some(Cow::Owned(without_line_break(&text).into())))
    }

    /// Says what a model has to say.
    fn say(
        &self,
        prompt: Option<&str>,
        model: &Model<'_>,
        note: Option<String>,
    ) -> anyhow::Result<()> {
        let sampling = self.sampling.sampling(&model.settings.defaults)?;
        let mut notes = Notes { quiet: self.quiet, ..Notes::new(note, &sampling) };
        let config = GenerationConfig {
            max_tokens: self.sampling.tokens(&model.settings.defaults),
            sampling,
            stop: self.stop.clone(),
            ends: Vec::new(),
        };
        if self.chat {
            let system = self.system.as_deref();
            return chat::run(model, system, prompt, config, notes)
                .with_context(|| model::of(&self.model));
        }
        let prompt = prompt.unwrap_or_default();
        write_all(prompt, (model.stream)(prompt.into(), &config)?, &mut notes).map(|_| ())
    }
}

/// A model of any kind, loaded.
pub struct Model<'m> {
    pub settings: &'m Settings,
    pub tokenizer: &'m dyn Tokenizer,
    /// Begins a generation.
    pub stream: Box<Stream<'m>>,
}

type Stream<'m> =
    dyn Fn(Prompt<'_>, &GenerationConfig) -> Result<Generation<'m>, GenerateError> + 'm;

impl<'m> Model<'m> {
    fn packed(packed: &'m Packed) -> Self {
        let Packed { tokenizer, settings, .. } = packed;
        let stream = Box::new(|prompt: Prompt<'_>, config: &_| packed.stream(prompt, config));
        Self { settings, tokenizer: tokenizer.as_ref(), stream }
    }

    fn float<B: Backend>(model: &'m Pretrained<B>) -> Self {
        let Pretrained { tokenizer, settings, .. } = model;
        let stream = Box::new(|prompt: Prompt<'_>, config: &_| model.stream(prompt, config));
        Self { settings, tokenizer: tokenizer.as_ref(), stream }
    }
}

impl BackendVisitor for GenerateArgs {
    type Output = anyhow::Result<()>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        let prompt = self.prompt()?;
        let prompt = prompt.as_deref();
        let start = Instant::now();
        if Packed::is_at(&self.model) && !self.float {
            ensure!(self.backend.is_cpu(), "a packed model runs on the CPU, by flex or ndarray");
            let packed = self.packing.load(&self.model)?;
            let note = held("loaded", &packed.engine, start.elapsed().as_secs_f64());
            return self.say(prompt, &Model::packed(&packed), Some(note));
        }
        let stored = model::open(&self.model)?;
        let unpacked = match Engine::supports(stored.config()) {
            _ if self.float || !self.backend.is_cpu() => Some(None),
            Err(error) => Some(Some(format!("not packed: {error}"))),
            Ok(()) => None,
        };
        if let Some(note) = unpacked {
            let model = stored.load::<B>(&device).with_context(|| model::of(&self.model))?;
            return self.say(prompt, &Model::float(&model), note);
        }
        let packed = self.packing.pack(stored, &self.model)?;
        let note = held("packed", &packed.engine, start.elapsed().as_secs_f64());
        self.say(prompt, &Model::packed(&packed), Some(note))
    }
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

/// A line less the line break at its end.
pub fn without_line_break(line: &str) -> &str {
    let before = line.strip_suffix("\r\n").or_else(|| line.strip_suffix('\n'));
    before.unwrap_or(line)
}

/// What is said on standard error after a text.
pub struct Notes {
    /// Said once.
    once: Vec<String>,
    /// Nothing is said.
    quiet: bool,
}

impl Notes {
    /// Says a note and the seed, where that matters.
    fn new(note: Option<String>, sampling: &Sampling) -> Self {
        let seed = (sampling.temperature > 0.0).then(|| format!("seed {}", sampling.seed));
        Self { once: note.into_iter().chain(seed).collect(), quiet: false }
    }

    fn say(&mut self, line: String) {
        let lines = self.once.drain(..).chain([line]);
        lines.filter(|_| !self.quiet).for_each(|line| output::note(&line));
    }
}

/// Prints prompt and continuation, then on standard error the notes and the speed. Gives the
/// continuation.
///
/// # Errors
/// If the text cannot be generated or printed.
pub fn write_all(
    prompt: &str,
    mut generation: Generation<'_>,
    notes: &mut Notes,
) -> anyhow::Result<String> {
    let start = Instant::now();
    let text = write_text(&mut io::stdout().lock(), prompt, &mut generation)?;
    let seconds = start.elapsed().as_secs_f64();
    let tokens = generation.generated();
    let speed = tokens as f64 / seconds.max(f64::MIN_POSITIVE);
    notes.say(format!("{tokens} tokens in {seconds:.2} s ({speed:.1} tokens/s)"));
    Ok(text)
}

/// Writes the prompt, each piece of text once it is there, and a line break.
fn write_text(
    out: &mut impl Write,
    prompt: &str,
    mut pieces: impl Iterator<Item = Result<String, GenerateError>>,
) -> anyhow::Result<String> {
    output::write(out, prompt)?;
    let mut text = String::new();
    let generated = pieces.try_for_each(|piece| {
        let piece = piece?;
        text.push_str(&piece);
        output::write(out, &piece)
    });
    // In case of an error, too: its message begins on a line of its own.
    output::write(out, "\n")?;
    generated.map(|()| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks flushes with a bar.
    struct Recorder(String);

    impl Write for Recorder {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.push('|');
            Ok(())
        }
    }

    #[test]
    fn one_line_break_is_cut_off() {
        for (line, cut) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r\n\r\n", "a\r\n"),
            ("\r\n", ""),
            ("", ""),
        ] {
            assert_eq!(without_line_break(line), cut);
        }
    }

    #[test]
    fn every_piece_is_flushed() {
        let mut out = Recorder(String::new());
        let pieces = ["b", "cd"].map(|piece| Ok(piece.to_string()));
        assert_eq!(write_text(&mut out, "a", pieces.into_iter()).unwrap(), "bcd");
        assert_eq!(out.0, "a|b|cd|\n|");
    }

    #[test]
    fn text_before_an_error_is_a_line_of_its_own() {
        let mut out = Recorder(String::new());
        let pieces = [Ok("b".to_string()), Err(GenerateError::NonFinite), Ok("c".to_string())];
        let error = write_text(&mut out, "a", pieces.into_iter()).unwrap_err();
        assert!(error.downcast_ref::<GenerateError>().is_some());
        assert_eq!(out.0, "a|b|\n|");
    }
}
