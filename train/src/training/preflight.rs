use anyhow::{Context, ensure};
use bitnet::{
    backend::{DeviceInfo, Memory},
    self_test::self_test,
};
use command_line::limit_threads;

use crate::config::Config;

/// Bytes of an f32.
const FLOAT: u128 = 4;
/// Tokens of the byte tokenizer; others have more.
const VOCABULARY: u128 = 256;

/// Checks that the backend, the device and the precision are there and compute what the CPU does,
/// and that the run can fit at all, before anything long starts.
///
/// # Errors
/// What to install, to pass or to change.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let section = &config.backend;
    let device = section.kind.device(&section.device)?;
    check_memory(config, &device)?;
    if let Some(threads) = section.threads {
        limit_threads(section.kind, threads).context("backend.threads")?;
    }
    section
        .implementation()
        .scope(|| self_test(section.kind, &section.device, section.precision))?;
    Ok(())
}

/// Backends without memory end in a panic, or in the end of the process. What is far too large is
/// known beforehand.
fn check_memory(config: &Config, device: &DeviceInfo) -> anyhow::Result<()> {
    let (needed, what, available) = match device.memory {
        Memory::Total(bytes) => (least_memory(config), "memory", bytes),
        Memory::LargestBuffer(bytes) => (largest_tensor(config), "memory in one buffer", bytes),
        Memory::Unknown => return Ok(()),
    };
    ensure!(
        needed <= u128::from(available),
        "out of memory: the run needs at least {:.1} GiB of {what}, device {} has {:.1} GiB; \
         lower train.batch or the sizes of the model",
        gib(needed),
        device.id,
        gib(available.into()),
    );
    Ok(())
}

fn gib(bytes: u128) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// Values that a micro-batch has at least: a lower bound, not an estimate.
fn least_memory(config: &Config) -> u128 {
    let model = config.model.transformer(VOCABULARY as usize);
    let [dim, ff_dim, depth] = [model.dim, model.ff_dim, model.depth].map(|size| size as u128);
    let projections = ((2 * model.heads + 2 * model.kv_heads) * model.dim_head) as u128 * dim;
    let parameters = VOCABULARY * dim + depth * (projections + 2 * dim * ff_dim);
    // Weights, gradients, and AdamW's two moments.
    let state = 4 * parameters;
    // Of each block: its two inputs, and the hidden layer. Of the head: the logits and their
    // gradient.
    let tokens = tokens(config);
    FLOAT * (state + tokens * (depth * (2 * dim + ff_dim) + 2 * VOCABULARY))
}

fn largest_tensor(config: &Config) -> u128 {
    let model = config.model.transformer(VOCABULARY as usize);
    let [dim, ff_dim] = [model.dim, model.ff_dim].map(|size| size as u128);
    FLOAT * (dim * ff_dim.max(VOCABULARY)).max(tokens(config) * ff_dim.max(VOCABULARY))
}

fn tokens(config: &Config) -> u128 {
    config.train.batch as u128 * config.model.context as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(config: &Config, memory: Memory) -> Option<String> {
        let device = DeviceInfo { id: "cpu".into(), name: String::new(), memory };
        check_memory(config, &device).err().map(|error| error.to_string())
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        let mut config = Config::default();
        let gib = |count: u64| count << 30;
        assert_eq!(error(&config, Memory::Total(gib(1))), None);
        assert_eq!(error(&config, Memory::LargestBuffer(gib(1))), None);
        // 2^27 tokens of 4 · (2 · 128 + 512) + 2 · 256 values.
        config.train.batch = 1 << 20;
        let reason = error(&config, Memory::Total(gib(200))).unwrap();
        assert!(reason.starts_with("out of memory: the run needs at least 1792.0 GiB"), "{reason}");
        assert!(error(&config, Memory::LargestBuffer(gib(200))).is_some());
        assert_eq!(error(&config, Memory::Total(gib(2000))), None);
        assert_eq!(error(&config, Memory::Unknown), None);
    }
}
