//! `infer info`: what a model holds.

use std::path::PathBuf;

use anyhow::Context;
use bitnet::{
    BitNetTransformerConfig,
    engine::{Engine, Footprint},
    pretrained::{CheckpointLayer, PackedModel},
    progress::Bar,
    quant::WeightQuant,
};
use command_line::{Align, table, thousands};
use infer::{PackOptions, load_packed, model_name, open};
use serde_json::{Map, Value, json};

use super::footprint;
use crate::output;

/// What to describe.
#[derive(Debug, clap::Args)]
pub struct InfoArgs {
    /// Model folder or GGUF file
    #[arg(short, long, value_name = "PATH")]
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl InfoArgs {
    /// Prints architecture, parameters, sizes and quantised layers.
    ///
    /// # Errors
    /// If the model cannot be read.
    pub fn run(self) -> anyhow::Result<()> {
        let info = match PackedModel::is_at(&self.model) {
            true => self.packed()?,
            false => self.stored()?,
        };
        output::print(&if self.json { info.json() } else { info.text() })
    }

    /// Of a model whose weights are tensors.
    fn stored(&self) -> anyhow::Result<Info> {
        let stored = open(&self.model)?;
        stored.check_floats().with_context(|| model_name(&self.model))?;
        let layers: Result<Vec<CheckpointLayer>, _> = stored.layers().collect();
        let layers = layers.with_context(|| model_name(&self.model))?;
        Info::new(stored.config(), stored.file_bytes(), Weights::Layers(layers))
    }

    /// Of a folder of packed weights.
    fn packed(&self) -> anyhow::Result<Info> {
        let name = || model_name(&self.model);
        let on_disk = PackedModel::file_bytes(&self.model).with_context(name)?;
        let PackedModel { model, .. } =
            load_packed(&self.model, PackOptions::default(), &Bar::default())?;
        Info::new(&model.config().clone(), on_disk as usize, Weights::Packed(model))
    }
}

/// The fields of a configuration, in its order.
fn architecture(config: &BitNetTransformerConfig) -> anyhow::Result<Vec<(&'static str, Value)>> {
    macro_rules! fields {
        ($($field:ident),+) => {{
            // Names all fields: a new one does not compile until it is shown.
            let BitNetTransformerConfig { $($field),+ } = config;
            vec![$((stringify!($field), serde_json::to_value($field)?)),+]
        }};
    }
    Ok(fields! {
        num_tokens, dim, depth, heads, kv_heads, dim_head, ff_dim, max_seq_len, rope_theta,
        norm_eps, feed_forward, norms, quant, activation, group_size, tie_embeddings, qk_norm,
        bias, init_std
    })
}

struct Info {
    architecture: Vec<(&'static str, Value)>,
    quant: WeightQuant,
    parameters: usize,
    quantized: usize,
    on_disk: usize,
    weights: Weights,
}

/// What the weights' file holds.
#[allow(clippy::large_enum_variant, reason = "there is one of them")]
enum Weights {
    /// The quantised layers.
    Layers(Vec<CheckpointLayer>),
    /// Packed matrices, of several layers each.
    Packed(Engine),
}

impl Info {
    fn new(
        config: &BitNetTransformerConfig,
        on_disk: usize,
        weights: Weights,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            architecture: architecture(config)?,
            quant: config.quant,
            // Of a model that was opened: they fit into memory.
            parameters: config.parameter_count() as usize,
            quantized: config.quantized_count() as usize,
            on_disk,
            weights,
        })
    }

    fn full_precision(&self) -> usize {
        self.parameters - self.quantized
    }

    fn packed(&self) -> usize {
        match &self.weights {
            Weights::Layers(layers) => {
                let matrices = layers.iter().map(CheckpointLayer::packed_bytes);
                matrices.sum::<usize>() + 4 * self.full_precision()
            }
            Weights::Packed(engine) => {
                let Footprint { ternary, tables, norms, .. } = engine.footprint();
                ternary + tables + norms
            }
        }
    }

    /// What a quantised weight is called.
    fn kind(&self) -> &'static str {
        match self.quant {
            WeightQuant::Ternary => "ternary",
            WeightQuant::Binary | WeightQuant::BinaryPaper => "binary",
            WeightQuant::None => "quantised",
        }
    }

    /// How [`packed`](Self::packed) counts.
    fn packing(&self) -> String {
        let others = match &self.weights {
            Weights::Layers(_) => "an f32 for any other parameter".into(),
            Weights::Packed(engine) => {
                format!("an f32 per gain, embedding and head in {}", engine.table_format().name())
            }
        };
        format!("2 bits per {} weight, f32 scales, {others}", self.kind())
    }

    fn json(&self) -> String {
        let config: Map<String, Value> =
            self.architecture.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        let value = json!({
            "config": config,
            "parameters": {
                "total": self.parameters,
                "quantised": self.quantized,
                "full_precision": self.full_precision(),
            },
            "bytes": {
                "on_disk": self.on_disk,
                "packed": self.packed(),
                "packing": self.packing(),
            },
            "layers": self.weights.json(),
        });
        format!("{value:#}\n")
    }

    fn text(&self) -> String {
        let architecture: Vec<[String; 2]> =
            self.architecture.iter().map(|(name, value)| [(*name).into(), plain(value)]).collect();
        let parameters = table(
            &[
                ["parameters".into(), thousands(self.parameters)],
                [format!("  {}", self.kind()), thousands(self.quantized)],
                ["  full precision".into(), thousands(self.full_precision())],
            ],
            Align::Right,
        );
        let size = |name: &str, bytes: usize| {
            let bits = 8.0 * bytes as f64 / self.parameters as f64;
            [
                name.into(),
                format!("{} bytes", thousands(bytes)),
                format!("{bits:.2} bits/parameter"),
            ]
        };
        let sizes =
            table(&[size("on disk", self.on_disk), size("packed", self.packed())], Align::Right);
        format!(
            "{}\n{parameters}\n{sizes}packed: {}\n\n{}",
            table(&architecture, Align::Right),
            self.packing(),
            self.weights.text(),
        )
    }
}

impl Weights {
    /// The layers; none where they are packed together.
    fn json(&self) -> Value {
        let layer = |layer: &CheckpointLayer| {
            json!({
                "name": layer.name,
                "inputs": layer.inputs,
                "outputs": layer.outputs,
                "zero_fraction": layer.zero_fraction(),
                "scale": layer.mean_scale(),
                "scales": layer.scales.len(),
                "stored": layer.encoding.name(),
            })
        };
        match self {
            Self::Layers(layers) => layers.iter().map(layer).collect(),
            Self::Packed(_) => Value::Null,
        }
    }

    fn text(&self) -> String {
        let layers = match self {
            Self::Packed(engine) => return table(&footprint::rows(engine), Align::Right),
            Self::Layers(layers) if layers.is_empty() => return "layers: full precision\n".into(),
            Self::Layers(layers) => layers,
        };
        let header = ["layer", "in x out", "zeros", "scale", "scales", "stored"].map(String::from);
        let rows = layers.iter().map(|layer| {
            [
                layer.name.clone(),
                format!("{} x {}", layer.inputs, layer.outputs),
                format!("{:.1}%", 100.0 * layer.zero_fraction()),
                format!("{:.5}", layer.mean_scale()),
                thousands(layer.scales.len()),
                layer.encoding.name().into(),
            ]
        });
        table(&std::iter::once(header).chain(rows).collect::<Vec<_>>(), Align::Right)
    }
}

/// A value as it reads in a table.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
