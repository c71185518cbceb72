//! `infer bench`: how fast a model reads and writes, and how near that is to what memory allows.

use std::{num::NonZeroUsize, path::PathBuf, time::Instant};

use anyhow::{Context, bail, ensure};
use bitnet::{
    BitNetTransformerConfig,
    backend::BackendKind,
    engine::{CacheFormat, Engine},
    generate::{Sampler, Sampling},
    memory::{ReadRate, peak_resident_bytes},
    packed::{Isa, TableFormat},
    progress::Bar,
};
use command_line::{Align, table, thousands};
use infer::load_packed;
use serde_json::json;

use crate::{
    args::{PackArgs, ThreadArgs},
    output,
};

/// Seed of random weights and of the prompt.
const SEED: u64 = 1;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Model folder or GGUF file
    #[arg(short, long, value_name = "PATH", conflicts_with = "shape")]
    model: Option<PathBuf>,
    /// Random weights of a shape, which need no file
    #[arg(long, value_name = "NAME")]
    shape: Option<Shape>,
    /// Keep the random weights in this file: it is made if it is not there, else mapped
    #[arg(long, value_name = "FILE", requires = "shape")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Tokens of the prompt [default: 128, or what the model's context has room for]
    #[arg(short, long, value_name = "N")]
    prompt: Option<NonZeroUsize>,
    /// Tokens to generate after it [default: 64, or what the model's context has room for]
    #[arg(short = 'n', long, value_name = "N")]
    generate: Option<NonZeroUsize>,
    /// Rounds, in turns with the measurement of the memory; the medians are printed
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    #[command(flatten)]
    packing: PackArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shapes of published models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// BitNet b1.58 2B4T: 2560 wide, 30 blocks, 20 heads on 5, vocabulary 128,256
    #[value(name = "2b4t")]
    B2T4,
    /// b1.58 700M: 1536 wide, 24 blocks, 16 heads, vocabulary 32,002
    Large,
    /// 512 wide, 6 blocks, 8 heads, vocabulary 32,002
    Tiny,
}

impl Shape {
    fn config(self) -> BitNetTransformerConfig {
        let new = |vocabulary, dim, depth, heads| {
            BitNetTransformerConfig::new(vocabulary, dim, depth)
                .with_heads(heads)
                .with_dim_head(dim / heads)
        };
        match self {
            Self::B2T4 => BitNetTransformerConfig {
                ff_dim: 6912,
                max_seq_len: 4096,
                rope_theta: 5e5,
                ..new(128_256, 2560, 30, 20).with_kv_heads(5)
            },
            Self::Large => BitNetTransformerConfig { ff_dim: 4096, ..new(32_002, 1536, 24, 16) },
            Self::Tiny => new(32_002, 512, 6, 8),
        }
    }
}

impl BenchArgs {
    /// Prints speed, bytes and memory.
    ///
    /// # Errors
    /// If the model cannot be read or packed, or prompt and text do not fit its context.
    pub fn run(self) -> anyhow::Result<()> {
        self.threads.limit(BackendKind::Flex)?;
        let start = Instant::now();
        let options = self.packing.options();
        let engine = match (self.shape, &self.model) {
            (Some(shape), _) => self.of_shape(shape)?.with_cache_format(options.cache),
            (None, Some(path)) => load_packed(path, options, &Bar::default())?.model,
            (None, None) => bail!("--model PATH or --shape NAME is needed; see --help"),
        };
        self.measure(&engine, start.elapsed().as_secs_f64())
    }

    /// A model of random weights.
    fn of_shape(&self, shape: Shape) -> anyhow::Result<Engine> {
        let config = shape.config();
        if let Some(path) = self.weights.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
            return Engine::map(path, &config).with_context(|| format!("{}", path.display()));
        }
        let engine = Engine::random(&config, SEED, self.packing.options().tables())?;
        if let Some(path) = &self.weights {
            let write = || format!("cannot write {}", path.display());
            engine.write(path).with_context(write)?;
        }
        Ok(engine)
    }

    fn measure(&self, engine: &Engine, load_seconds: f64) -> anyhow::Result<()> {
        let lengths = Lengths::of(
            self.prompt.map(NonZeroUsize::get),
            self.generate.map(NonZeroUsize::get),
            engine.config().max_seq_len,
        )?;
        // The first round warms up.
        lengths.round(engine)?;
        let peak = peak_resident_bytes().map(|bytes| bytes as usize);
        let footprint = engine.footprint();
        let reading = ReadRate::new(engine.arrays());
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            let ceiling = reading.measure();
            rounds.push((lengths.round(engine)?, ceiling));
        }
        let median = |value: fn(&(Round, f64)) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let generated = median(|(round, _)| round.generated);
        // In the middle of the generation.
        let seen = lengths.prompt + lengths.generate / 2;
        let cache_bytes = seen * engine.new_cache().token_bytes();
        let result = BenchResult {
            lengths,
            rounds: rounds.len(),
            prompt: median(|(round, _)| round.prompt),
            generated,
            token_bytes: footprint.token,
            cache_bytes,
            bandwidth: generated * (footprint.token + cache_bytes) as f64,
            ceiling: median(|(_, ceiling)| *ceiling),
            footprint,
            peak,
            load_seconds,
            threads: rayon::current_num_threads(),
            head: engine.table_format(),
            cache: self.packing.options().cache,
        };
        output::print(&if self.json { result.json() } else { result.text() })
    }
}

/// Tokens of a round.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Lengths {
    prompt: usize,
    generate: usize,
}

impl Lengths {
    /// Those that are asked for; of others 128 of prompt and 64 after it, or in a context that is
    /// too short for these, two thirds and one.
    fn of(prompt: Option<usize>, generate: Option<usize>, context: usize) -> anyhow::Result<Self> {
        let rest = |asked: Option<usize>| context.saturating_sub(asked.unwrap_or(0));
        let part = match prompt {
            Some(_) => rest(prompt),
            None => context / 3,
        };
        let generate = generate.unwrap_or_else(|| part.clamp(1, 64));
        let prompt = prompt.unwrap_or_else(|| rest(Some(generate)).clamp(1, 128));
        ensure!(
            prompt.checked_add(generate).is_some_and(|all| all <= context),
            "{prompt} and {generate} tokens are more than the model's context of {context}"
        );
        Ok(Self { prompt, generate })
    }

    /// Reads a prompt and goes on from it.
    fn round(self, engine: &Engine) -> anyhow::Result<Round> {
        let Self { prompt: length, generate } = self;
        let vocabulary = engine.config().num_tokens;
        let prompt: Vec<u32> = (0..length).map(|i| (i * 7919 % vocabulary) as u32).collect();
        let mut cache = engine.new_cache();
        cache.reserve(length + generate);
        let mut sampler = Sampler::new(Sampling::greedy())?;

        let start = Instant::now();
        let mut logits = engine.forward_next(&mut [(&mut cache, &prompt)])?;
        let prompt_seconds = start.elapsed().as_secs_f64();

        let start = Instant::now();
        for _ in 0..generate {
            let token = sampler.sample(logits, &[])?;
            logits = engine.forward_next(&mut [(&mut cache, &[token])])?;
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(Round { prompt: length as f64 / prompt_seconds, generated: generate as f64 / seconds })
    }
}

/// Tokens a second.
struct Round {
    prompt: f64,
    generated: f64,
}

struct BenchResult {
    lengths: Lengths,
    rounds: usize,
    /// Tokens a second.
    prompt: f64,
    generated: f64,
    /// Bytes of weights that a generated token reads.
    token_bytes: usize,
    /// Bytes that it reads of the keys and values before it, in the mean.
    cache_bytes: usize,
    /// Of both, bytes per second.
    bandwidth: f64,
    /// Bytes a second of a loop that does nothing but read as many.
    ceiling: f64,
    footprint: bitnet::engine::Footprint,
    /// Most memory that was resident, in bytes, where the system tells.
    peak: Option<usize>,
    load_seconds: f64,
    threads: usize,
    head: TableFormat,
    cache: CacheFormat,
}

impl BenchResult {
    fn share(&self) -> f64 {
        self.bandwidth / self.ceiling
    }

    fn json(&self) -> String {
        let value = json!({
            "prompt_tokens": self.lengths.prompt,
            "generated_tokens": self.lengths.generate,
            "rounds": self.rounds,
            "threads": self.threads,
            "instructions": Isa::best().name(),
            "head": self.head.name(),
            "kv": self.cache.name(),
            "prompt_tokens_per_second": self.prompt,
            "generated_tokens_per_second": self.generated,
            "bytes_per_token": self.token_bytes,
            "cache_bytes_per_token": self.cache_bytes,
            "bytes_per_second": self.bandwidth,
            "read_ceiling_bytes_per_second": self.ceiling,
            "share_of_ceiling": self.share(),
            "ternary_bytes": self.footprint.ternary,
            "table_bytes": self.footprint.tables,
            "norm_bytes": self.footprint.norms,
            "peak_resident_bytes": self.peak,
            "load_seconds": self.load_seconds,
        });
        format!("{value:#}\n")
    }

    fn text(&self) -> String {
        let gigabytes = |bytes: f64| format!("{:.2} GB/s", bytes / 1e9);
        let bytes = |bytes: usize| format!("{} bytes", thousands(bytes));
        let speed = |tokens: f64, digits: usize| format!("{tokens:.digits$} tokens/s");
        table(
            &[
                [format!("prompt of {}", self.lengths.prompt), speed(self.prompt, 1)],
                [format!("generation of {}", self.lengths.generate), speed(self.generated, 2)],
                ["read per token".into(), bytes(self.token_bytes)],
                ["achieved".into(), gigabytes(self.bandwidth)],
                ["plain reading".into(), gigabytes(self.ceiling)],
                ["share of it".into(), format!("{:.1}%", 100.0 * self.share())],
                ["ternary weights".into(), bytes(self.footprint.ternary)],
                [format!("{} tables", self.head.name()), bytes(self.footprint.tables)],
                ["norms".into(), bytes(self.footprint.norms)],
                [format!("{} keys and values", self.cache.name()), bytes(self.cache_bytes)],
                ["peak resident".into(), self.peak.map_or("unknown".into(), bytes)],
                ["loaded in".into(), format!("{:.2} s", self.load_seconds)],
                ["threads".into(), self.threads.to_string()],
                ["instructions".into(), Isa::best().name().into()],
            ],
            Align::Right,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fit_the_context() {
        let of = |prompt, generate, context| {
            let lengths = Lengths::of(prompt, generate, context);
            lengths.map(|Lengths { prompt, generate }| (prompt, generate)).ok()
        };
        assert_eq!(of(None, None, 4096), Some((128, 64)));
        assert_eq!(of(None, None, 192), Some((128, 64)));
        assert_eq!(of(None, None, 128), Some((86, 42)));
        assert_eq!(of(None, None, 2), Some((1, 1)));
        assert_eq!(of(Some(100), None, 128), Some((100, 28)));
        assert_eq!(of(None, Some(100), 128), Some((28, 100)));
        assert_eq!(of(Some(100), Some(28), 128), Some((100, 28)));
        assert_eq!(of(Some(100), Some(29), 128), None);
        assert_eq!(of(Some(128), None, 128), None);
        assert_eq!(of(Some(usize::MAX), None, 128), None);
        assert_eq!(of(Some(usize::MAX), Some(usize::MAX), 128), None);
        assert_eq!(of(None, None, 1), None);
    }
}
