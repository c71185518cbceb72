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
        Self::from_source(model.config(), &Trained { model }, tables)
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
        Self::from_source(config, &Random { config, seed }, tables)
    }
}

/// Where the weights of a model come from.
pub(crate) trait Source {
    /// Why they do not come.
    type Error: From<EngineError>;

    /// Linears of a block that have the same inputs, the outputs of one after those of the other.
    fn matrix(&self, block: usize, linears: &[LinearOf]) -> Result<TernaryMatrix, Self::Error>;
    /// Gains of a norm that the configuration says there is.
    fn gains(&self, norm: NormOf) -> Result<Vec<f32>, Self::Error>;
    fn embedding(&self, format: TableFormat) -> Result<Table, Self::Error>;
    /// If it is not the embedding.
    fn head(&self, format: TableFormat) -> Result<Option<Table>, Self::Error>;
}

/// A linear of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinearOf {
    Queries,
    Keys,
    Values,
    Output,
    Gate,
    Up,
    Down,
}

/// A norm with gains.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NormOf {
    Attention(usize),
    AttentionOutput(usize),
    Queries(usize),
    Keys(usize),
    FeedForward(usize),
    Down(usize),
    Head,
}

impl Engine {
    /// A model of the weights of `source`.
    pub(crate) fn from_source<S: Source>(
        config: &BitNetTransformerConfig,
        source: &S,
        tables: TableFormat,
    ) -> Result<Self, S::Error> {
        Self::supports(config)?;
        let eps = config.norm_eps;
        let gains =
            |norm| -> Result<Norm, S::Error> { Ok(Norm::with_gains(source.gains(norm)?, eps)) };
        // In a block either all linears have a norm of their own, or the block has them.
        let before = |norm| match config.norms {
            NormPlacement::SubNorm => gains(norm),
            NormPlacement::InLinear => Ok(Norm::rms(eps)),
        };
        let of_heads = |norm| if config.qk_norm { gains(norm) } else { Ok(Norm::none()) };
        let hidden = match config.feed_forward.is_gated() {
            true => &[LinearOf::Gate, LinearOf::Up][..],
            false => &[LinearOf::Up],
        };
        let qkv = [LinearOf::Queries, LinearOf::Keys, LinearOf::Values];
        let block = |block| -> Result<Block, S::Error> {
            Ok(Block {
                attention: Attention {
                    norm: before(NormOf::Attention(block))?,
                    qkv: source.matrix(block, &qkv)?,
                    query_norm: of_heads(NormOf::Queries(block))?,
                    key_norm: of_heads(NormOf::Keys(block))?,
                    sub_norm: before(NormOf::AttentionOutput(block))?,
                    output: source.matrix(block, &[LinearOf::Output])?,
                    heads: config.heads,
                    kv_heads: config.kv_heads,
                    dim_head: config.dim_head,
                },
                feed_forward: FeedForward {
                    norm: before(NormOf::FeedForward(block))?,
                    hidden: source.matrix(block, hidden)?,
                    kind: config.feed_forward,
                    sub_norm: before(NormOf::Down(block))?,
                    down: source.matrix(block, &[LinearOf::Down])?,
                },
            })
        };
        Ok(Self {
            config: config.clone(),
            embedding: source.embedding(tables)?,
            blocks: (0..config.depth).map(block).collect::<Result<_, S::Error>>()?,
            norm: gains(NormOf::Head)?,
            head: source.head(tables)?,
            rotary: Rotary::new(config),
        })
    }
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
    type Error = EngineError;

    fn matrix(&self, block: usize, linears: &[LinearOf]) -> Result<TernaryMatrix, EngineError> {
        let layer = &self.model.layers[block];
        let (attention, mlp) = (&layer.self_attn, &layer.mlp);
        let linears = linears.iter().filter_map(|linear| match linear {
            LinearOf::Queries => Some(&attention.q_proj),
            LinearOf::Keys => Some(&attention.k_proj),
            LinearOf::Values => Some(&attention.v_proj),
            LinearOf::Output => Some(&attention.o_proj),
            LinearOf::Gate => mlp.gate_proj.as_ref(),
            LinearOf::Up => Some(&mlp.up_proj),
            LinearOf::Down => Some(&mlp.down_proj),
        });
        let parts: Vec<TernaryWeights> = linears.map(Self::linear).collect();
        Ok(TernaryMatrix::pack(&parts.iter().collect::<Vec<_>>()))
    }

    fn gains(&self, norm: NormOf) -> Result<Vec<f32>, EngineError> {
        let layers = &self.model.layers;
        Ok(match norm {
            NormOf::Attention(block) => Self::norm(&layers[block].input_layernorm),
            NormOf::AttentionOutput(block) => Self::norm(&layers[block].self_attn.attn_sub_norm),
            NormOf::Queries(block) => Self::norm(&layers[block].self_attn.q_norm),
            NormOf::Keys(block) => Self::norm(&layers[block].self_attn.k_norm),
            NormOf::FeedForward(block) => Self::norm(&layers[block].post_attention_layernorm),
            NormOf::Down(block) => Self::norm(&layers[block].mlp.ffn_sub_norm),
            NormOf::Head => Self::values(self.model.norm.weight.val()),
        })
    }

    fn embedding(&self, format: TableFormat) -> Result<Table, EngineError> {
        let weights = Self::values(self.model.embed_tokens.weight.val());
        Ok(Table::new(&weights, self.model.config().dim, format))
    }

    fn head(&self, format: TableFormat) -> Result<Option<Table>, EngineError> {
        Ok(self.model.lm_head.as_ref().map(|head| {
            let weights = Self::values(head.weight.val().transpose());
            Table::new(&weights, self.model.config().dim, format)
        }))
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
    type Error = EngineError;

    fn matrix(&self, block: usize, linears: &[LinearOf]) -> Result<TernaryMatrix, EngineError> {
        let &BitNetTransformerConfig { dim, heads, kv_heads, dim_head, ff_dim, .. } = self.config;
        let (query_width, key_width) = (heads * dim_head, kv_heads * dim_head);
        let parts: Vec<TernaryWeights> = linears
            .iter()
            .map(|linear| match linear {
                LinearOf::Queries => self.linear(block, 0, dim, query_width),
                LinearOf::Keys => self.linear(block, 1, dim, key_width),
                LinearOf::Values => self.linear(block, 2, dim, key_width),
                LinearOf::Output => self.linear(block, 3, query_width, dim),
                LinearOf::Gate => self.linear(block, 4, dim, ff_dim),
                LinearOf::Up => self.linear(block, 5, dim, ff_dim),
                LinearOf::Down => self.linear(block, 6, ff_dim, dim),
            })
            .collect();
        Ok(TernaryMatrix::pack(&parts.iter().collect::<Vec<_>>()))
    }

    fn gains(&self, norm: NormOf) -> Result<Vec<f32>, EngineError> {
        let &BitNetTransformerConfig { dim, heads, dim_head, ff_dim, .. } = self.config;
        let features = match norm {
            NormOf::Attention(_) | NormOf::FeedForward(_) | NormOf::Head => dim,
            NormOf::AttentionOutput(_) => heads * dim_head,
            NormOf::Queries(_) | NormOf::Keys(_) => dim_head,
            NormOf::Down(_) => ff_dim,
        };
        Ok(vec![1.0; features])
    }

    fn embedding(&self, format: TableFormat) -> Result<Table, EngineError> {
        Ok(self.table(0, format))
    }

    fn head(&self, format: TableFormat) -> Result<Option<Table>, EngineError> {
        Ok((!self.config.tie_embeddings).then(|| self.table(1, format)))
    }
}
