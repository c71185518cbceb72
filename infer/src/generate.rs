//! `infer generate`: continues a prompt.

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
    generate::{GenerateError, Generation, GenerationConfig, Sampling},
    pretrained::Packed,
};
use burn::tensor::backend::Backend;

use crate::{
    backend::BackendArgs,
    model,
    output::{self, thousands},
    packing::PackArgs,
};

/// What to generate, and how.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// Model folder or GGUF file
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// Text to continue; "-" reads it from standard input, less one line break at its end
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// Most tokens to generate
    #[arg(long, value_name = "N", default_value_t = 200)]
    tokens: usize,
    /// Below 1 more predictable, above 1 less; 0 takes the most probable token always
    #[arg(long, value_name = "T", default_value_t = 0.8, allow_negative_numbers = true)]
    temperature: f64,
    /// Draw from the K most probable tokens only; 0 is off
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draw from the most probable tokens that together reach P only; 1 is off
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    top_p: f64,
    /// Draw from tokens at least P times as probable as the most probable one only; 0 is off
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    min_p: f64,
    /// Above 1, makes tokens that have occurred less probable; 1 is off
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    repetition_penalty: f64,
    /// Seed of the random draws: the same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
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
}

impl GenerateArgs {
    /// Prints prompt and continuation, the latter as it is made, then its speed on standard error.
    ///
    /// # Errors
    /// If prompt, model or a sampling parameter cannot be used.
    pub fn run(self) -> anyhow::Result<()> {
        self.backend.clone().visit(self)
    }

    fn prompt(&self) -> anyhow::Result<Cow<'_, str>> {
        if self.prompt != "-" {
            return Ok(Cow::Borrowed(&self.prompt));
        }
        let mut text = io::read_to_string(io::stdin())
            .context("cannot read the prompt from standard input")?;
        if text.ends_with('\n') {
            text.pop();
        }
        Ok(Cow::Owned(text))
    }

    fn config(&self) -> GenerationConfig {
        GenerationConfig {
            max_tokens: self.tokens,
            sampling: Sampling {
                repetition_penalty: self.repetition_penalty,
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                seed: self.seed,
            },
            stop: self.stop.clone(),
        }
    }
}

impl BackendVisitor for GenerateArgs {
    type Output = anyhow::Result<()>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        let prompt = self.prompt()?;
        let config = self.config();
        let start = Instant::now();
        if Packed::is_at(&self.model) && !self.float {
            ensure!(self.backend.is_cpu(), "a packed model runs on the CPU, by flex or ndarray");
            let packed = self.packing.load(&self.model)?;
            let note = held("loaded", &packed.engine, start.elapsed().as_secs_f64());
            return write_all(&prompt, packed.stream(&prompt, &config)?, Some(note));
        }
        let stored = model::open(&self.model)?;
        let unpacked = match Engine::supports(stored.config()) {
            _ if self.float || !self.backend.is_cpu() => Some(None),
            Err(error) => Some(Some(format!("not packed: {error}"))),
            Ok(()) => None,
        };
        if let Some(note) = unpacked {
            let model = stored.load::<B>(&device).with_context(|| model::of(&self.model))?;
            return write_all(&prompt, model.stream(&prompt, &config)?, note);
        }
        let packed = self.packing.pack(stored, &self.model)?;
        let note = held("packed", &packed.engine, start.elapsed().as_secs_f64());
        write_all(&prompt, packed.stream(&prompt, &config)?, Some(note))
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

/// Prints prompt and continuation, then on standard error a note and the speed.
fn write_all(
    prompt: &str,
    mut generation: Generation<'_>,
    note: Option<String>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    write_text(&mut io::stdout().lock(), prompt, &mut generation)?;
    let seconds = start.elapsed().as_secs_f64();
    let tokens = generation.generated();
    let speed = tokens as f64 / seconds.max(f64::MIN_POSITIVE);
    let speed = format!("{tokens} tokens in {seconds:.2} s ({speed:.1} tokens/s)");
    for line in note.iter().chain([&speed]) {
        // The text is out: a closed standard error is no reason to fail.
        let _ = writeln!(io::stderr(), "{line}");
    }
    Ok(())
}

/// Writes the prompt, each piece of text once it is there, and a line break.
fn write_text(
    out: &mut impl Write,
    prompt: &str,
    mut pieces: impl Iterator<Item = Result<String, GenerateError>>,
) -> anyhow::Result<()> {
    output::write(out, prompt)?;
    let generated = pieces.try_for_each(|piece| output::write(out, &piece?));
    // In case of an error, too: its message begins on a line of its own.
    output::write(out, "\n")?;
    generated
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
    fn every_piece_is_flushed() {
        let mut out = Recorder(String::new());
        let pieces = ["b", "cd"].map(|piece| Ok(piece.to_string()));
        write_text(&mut out, "a", pieces.into_iter()).unwrap();
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
