//! `train bench`: how fast a configuration trains.

use std::path::PathBuf;

use command_line::{Align, table, thousands};

use crate::{
    config::{self, Overrides},
    training::{Measured, bench},
};

/// What to measure, and how long.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Configuration of the model and of a step
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override a key, e.g. --set model.quant=none (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Compute on this backend instead
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Compute on this device of the backend, by number or name; `train backends` lists them
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Steps that are measured
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    steps: u64,
    /// Steps before those
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u64).range(0..=100_000))]
    warmup: u64,
    /// Compute with Burn's operations alone, without the fused ones
    #[arg(long)]
    composed: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    /// Measures, and prints a table.
    ///
    /// # Errors
    /// If configuration, backend or device cannot be used.
    pub fn run(self) -> anyhow::Result<()> {
        let Self { config, set, backend, device, .. } = self;
        let overrides = Overrides { set, backend, device, ..Overrides::default() };
        let mut config = config::load(&config, &overrides)?;
        config.backend.fused &= !self.composed;
        let measured = bench(config, self.warmup as usize, self.steps as usize)?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&measured)?);
        } else {
            say!("{}", format(&measured).trim_end());
        }
        Ok(())
    }
}

fn format(measured: &Measured) -> String {
    let part = |name: &str, seconds: f64| {
        let share = 100.0 * seconds / measured.step_in_parts;
        vec![format!("  {name}"), format!("{:.1} ms", 1e3 * seconds), format!("{share:.0} %")]
    };
    let unknown = || "unknown".to_owned();
    let mut rows = vec![
        vec!["tokens/s".into(), thousands(format!("{:.0}", measured.tokens_per_second))],
        vec![
            "step".into(),
            format!("{:.1} ms", 1e3 * measured.step),
            format!("{} tokens", thousands(measured.tokens_per_step)),
        ],
        vec!["step in parts".into(), format!("{:.1} ms", 1e3 * measured.step_in_parts)],
        part("data", measured.data),
        part("forward", measured.forward),
        part("backward", measured.backward),
        part("optimizer", measured.optimizer),
        vec!["parameters".into(), thousands(measured.parameters)],
        vec![
            "peak resident".into(),
            measured
                .peak_resident_bytes
                .map_or_else(unknown, |bytes| format!("{} bytes", thousands(bytes))),
        ],
    ];
    if let Some(peak) = measured.matmul_peak {
        rows.push(vec!["matrix products".into(), format!("{:.1} GFLOP/s", peak / 1e9)]);
    }
    if let Some(share) = measured.model_flops_utilization {
        rows.push(vec!["utilization".into(), format!("{:.0} %", 100.0 * share)]);
    }
    table(&rows, Align::Right)
}
