use burn::tensor::{Tensor, backend::Backend};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Attention, Block, Engine, EngineError, FeedForward, norm::Norm, rotary::Rotary};
use crate::{
    linear::BitLinear,
    model::{BitNetTransformer, BitNetTransformerConfig, NormPlacement},
    norm::RmsNorm,
    packed::{Table, TableFormat, TernaryMatrix, TernaryWeights},
    quant::{ActivationQuant, WeightQuant},
};

impl Engine {
    /// Packs a model. Embedding and output head are held in `tables`.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for full-precision weights, b1's own quantisers
    /// ([`WeightQuant::BinaryPaper`]), and activations that are not quantised token by token.
    pub fn new<B: Backend>(
        model: &BitNetTransformer<B>,
        tables: TableFormat,
    ) -> Result<Self, EngineError> {
        let source = Trained { model };
        build(model.config(), &source, tables)
    }

    /// Whether the model of a configuration can be packed.
    ///
    /// # Errors
    /// As [`new`](Self::new), if not.
    pub fn supports(config: &BitNetTransformerConfig) -> Result<(), EngineError> {
        match (config.quant, config.activation) {
            (WeightQuant::Ternary | WeightQuant::Binary, ActivationQuant::Int8PerToken) => Ok(()),
            (WeightQuant::Ternary | WeightQuant::Binary, _) => {
                Err(EngineError::Unsupported("activation \"int8-per-token\" only"))
            }
            _ => Err(EngineError::Unsupported("quant \"ternary\" and \"binary\" only")),
        }
    }

    /// A model of random weights: a third of the codes each −1, 0 and 1. For measurements, which
    /// need no trained one; the floats that it would be packed from are never made.
    ///
    /// # Errors
    /// [`EngineError::Model`] for an invalid configuration, [`EngineError::Unsupported`] as
    /// [`new`](Self::new).
    pub fn random(
        config: &BitNetTransformerConfig,
        seed: u64,
        tables: TableFormat,
    ) -> Result<Self, EngineError> {
        config.validate()?;
        build(config, &Random { config, seed }, tables)
    }
}

/// Where the weights of a model come from. Every method gives what it is named after for the
/// block of an index.
trait Source {
    fn qkv(&self, block: usize) -> Vec<TernaryWeights>;
    fn output(&self, block: usize) -> TernaryWeights;
    fn hidden(&self, block: usize) -> Vec<TernaryWeights>;
    fn down(&self, block: usize) -> TernaryWeights;
    /// Gains of a norm that the configuration says there is.
    fn gains(&self, norm: NormOf) -> Vec<f32>;
    fn embedding(&self, format: TableFormat) -> Table;
    /// If it is not the embedding.
    fn head(&self, format: TableFormat) -> Option<Table>;
}

/// A norm with gains.
#[derive(Debug, Clone, Copy)]
enum NormOf {
    Attention(usize),
    AttentionOutput(usize),
    Queries(usize),
    Keys(usize),
    FeedForward(usize),
    Down(usize),
    Head,
}

fn build(
    config: &BitNetTransformerConfig,
    source: &impl Source,
    tables: TableFormat,
) -> Result<Engine, EngineError> {
    Engine::supports(config)?;
    let eps = config.norm_eps;
    let gains = |norm| Norm::with_gains(source.gains(norm), eps);
    // In a block either all linears have a norm of their own, or the block has them.
    let before = |norm| match config.norms {
        NormPlacement::SubNorm => gains(norm),
        NormPlacement::InLinear => Norm::rms(eps),
    };
    let of_heads = |norm| if config.qk_norm { gains(norm) } else { Norm::none() };
    let pack = |parts: Vec<TernaryWeights>| TernaryMatrix::pack(&parts.iter().collect::<Vec<_>>());
    let blocks = (0..config.depth)
        .map(|block| Block {
            attention: Attention {
                norm: before(NormOf::Attention(block)),
                qkv: pack(source.qkv(block)),
                query_norm: of_heads(NormOf::Queries(block)),
                key_norm: of_heads(NormOf::Keys(block)),
                sub_norm: before(NormOf::AttentionOutput(block)),
                output: pack(vec![source.output(block)]),
                heads: config.heads,
                kv_heads: config.kv_heads,
                dim_head: config.dim_head,
            },
            feed_forward: FeedForward {
                norm: before(NormOf::FeedForward(block)),
                hidden: pack(source.hidden(block)),
                kind: config.feed_forward,
                sub_norm: before(NormOf::Down(block)),
                down: pack(vec![source.down(block)]),
            },
        })
        .collect();
    Ok(Engine {
        config: config.clone(),
        embedding: source.embedding(tables),
        blocks,
        norm: gains(NormOf::Head),
        head: source.head(tables),
        rotary: Rotary::new(config),
    })
}

/// The weights of a trained model.
struct Trained<'a, B: Backend> {
    model: &'a BitNetTransformer<B>,
}

impl<B: Backend> Trained<'_, B> {
    fn linear(linear: &BitLinear<B>) -> TernaryWeights {
        linear
            .ternary_weights()
            .unwrap_or_else(|| unreachable!("`supports` has refused the others"))
    }

    fn values<const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    fn norm(norm: &Option<RmsNorm<B>>) -> Vec<f32> {
        norm.as_ref().map(|norm| Self::values(norm.weight.val())).unwrap_or_default()
    }
}

impl<B: Backend> Source for Trained<'_, B> {
    fn qkv(&self, block: usize) -> Vec<TernaryWeights> {
        let attention = &self.model.layers[block].self_attn;
        [&attention.q_proj, &attention.k_proj, &attention.v_proj].map(Self::linear).into()
    }

    fn output(&self, block: usize) -> TernaryWeights {
        Self::linear(&self.model.layers[block].self_attn.o_proj)
    }

    fn hidden(&self, block: usize) -> Vec<TernaryWeights> {
        let mlp = &self.model.layers[block].mlp;
        mlp.gate_proj.iter().chain([&mlp.up_proj]).map(Self::linear).collect()
    }

    fn down(&self, block: usize) -> TernaryWeights {
        Self::linear(&self.model.layers[block].mlp.down_proj)
    }

    fn gains(&self, norm: NormOf) -> Vec<f32> {
        let layers = &self.model.layers;
        match norm {
            NormOf::Attention(block) => Self::norm(&layers[block].input_layernorm),
            NormOf::AttentionOutput(block) => Self::norm(&layers[block].self_attn.attn_sub_norm),
            NormOf::Queries(block) => Self::norm(&layers[block].self_attn.q_norm),
            NormOf::Keys(block) => Self::norm(&layers[block].self_attn.k_norm),
            NormOf::FeedForward(block) => Self::norm(&layers[block].post_attention_layernorm),
            NormOf::Down(block) => Self::norm(&layers[block].mlp.ffn_sub_norm),
            NormOf::Head => Self::values(self.model.norm.weight.val()),
        }
    }

    fn embedding(&self, format: TableFormat) -> Table {
        let weights = Self::values(self.model.embed_tokens.weight.val());
        Table::new(&weights, self.model.config().dim, format)
    }

    fn head(&self, format: TableFormat) -> Option<Table> {
        let weights = Self::values(self.model.lm_head.as_ref()?.weight.val().transpose());
        Some(Table::new(&weights, self.model.config().dim, format))
    }
}

/// Random weights.
struct Random<'a> {
    config: &'a BitNetTransformerConfig,
    seed: u64,
}

impl Random<'_> {
    /// A layer of `outputs`, the `layer`-th of a block.
    fn linear(&self, block: usize, layer: u64, inputs: usize, outputs: usize) -> TernaryWeights {
        let groups = self.config.group_size.map_or(1, |size| inputs / size);
        let mut codes = vec![0; inputs * outputs];
        codes.par_chunks_mut(outputs).enumerate().for_each(|(input, codes)| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream((((block as u64) << 3 | layer) << 32) | input as u64);
            let mut random = vec![0u8; codes.len()];
            rng.fill(&mut random[..]);
            for (code, random) in codes.iter_mut().zip(random) {
                *code = (u16::from(random) * 3 / 256) as i8 - 1;
            }
        });
        TernaryWeights {
            inputs,
            outputs,
            codes,
            // As training begins: outputs of about the size of the inputs.
            scales: vec![(1.5 / inputs as f32).sqrt(); groups],
            groups,
            bias: self.config.bias.then(|| vec![0.0; outputs]),
        }
    }

    fn table(&self, stream: u64, format: TableFormat) -> Table {
        let &BitNetTransformerConfig { num_tokens, dim, init_std, .. } = self.config;
        // Of the standard deviation that training begins with.
        let range = 3f32.sqrt() * init_std as f32;
        Table::from_rows(num_tokens, dim, format, |row, out| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(u64::MAX - (stream << 32 | row as u64));
            out.iter_mut().for_each(|out| *out = rng.random_range(-range..=range));
        })
    }
}

impl Source for Random<'_> {
    fn qkv(&self, block: usize) -> Vec<TernaryWeights> {
        let &BitNetTransformerConfig { dim, heads, kv_heads, dim_head, .. } = self.config;
        let outputs = [heads, kv_heads, kv_heads].map(|heads| heads * dim_head);
        (0..).zip(outputs).map(|(layer, outputs)| self.linear(block, layer, dim, outputs)).collect()
    }

    fn output(&self, block: usize) -> TernaryWeights {
        self.linear(block, 3, self.config.heads * self.config.dim_head, self.config.dim)
    }

    fn hidden(&self, block: usize) -> Vec<TernaryWeights> {
        let &BitNetTransformerConfig { dim, ff_dim, feed_forward, .. } = self.config;
        let layers = if feed_forward.is_gated() { 4..6 } else { 4..5 };
        layers.map(|layer| self.linear(block, layer, dim, ff_dim)).collect()
    }

    fn down(&self, block: usize) -> TernaryWeights {
        self.linear(block, 6, self.config.ff_dim, self.config.dim)
    }

    fn gains(&self, norm: NormOf) -> Vec<f32> {
        let &BitNetTransformerConfig { dim, heads, dim_head, ff_dim, .. } = self.config;
        let features = match norm {
            NormOf::Attention(_) | NormOf::FeedForward(_) | NormOf::Head => dim,
            NormOf::AttentionOutput(_) => heads * dim_head,
            NormOf::Queries(_) | NormOf::Keys(_) => dim_head,
            NormOf::Down(_) => ff_dim,
        };
        vec![1.0; features]
    }

    fn embedding(&self, format: TableFormat) -> Table {
        self.table(0, format)
    }

    fn head(&self, format: TableFormat) -> Option<Table> {
        (!self.config.tie_embeddings).then(|| self.table(1, format))
    }
}
