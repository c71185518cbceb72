use burn::tensor::{Tensor, backend::Backend};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Attention, Block, CacheFormat, Engine, EngineError, FeedForward,
    norm::Norm,
    rotary::Rotary,
    shapes::{matrices, matrix_shape},
};
use crate::{
    nn::{
        BitLinear, BitNetTransformer, BitNetTransformerConfig,
        schema::{LinearRole, NormRole},
    },
    packed::{EmbeddingTable, MatrixShape, TableFormat, TernaryMatrix, TernaryWeights},
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

/// Where the weights of a model come from. They are read in the order in which files hold them: the
/// embedding, blocks, the last norm, the head.
pub(crate) trait WeightSource {
    /// Why they cannot be read.
    type Error: From<EngineError>;

    /// Linears of a block that have the same inputs, the outputs of one after those of the other.
    fn matrix(&self, block: usize, linears: &[LinearRole]) -> Result<TernaryMatrix, Self::Error>;
    /// Gains of a norm of a block that the configuration says there is.
    fn gains(&self, block: usize, norm: NormRole) -> Result<Vec<f32>, Self::Error>;
    /// Gains of the norm before the output head.
    fn last_gains(&self) -> Result<Vec<f32>, Self::Error>;
    fn embedding(&self, format: TableFormat) -> Result<EmbeddingTable, Self::Error>;
    /// If it is not the embedding.
    fn head(&self, format: TableFormat) -> Result<Option<EmbeddingTable>, Self::Error>;
}

impl Engine {
    /// A model of the weights of `source`.
    pub(crate) fn from_source<S: WeightSource>(
        config: &BitNetTransformerConfig,
        source: &S,
        tables: TableFormat,
    ) -> Result<Self, S::Error> {
        Self::supports(config)?;
        let eps = config.norm_eps;
        let block = |block| {
            // Where blocks have no norms, each linear normalises its input without gains.
            let norm = |role: NormRole, otherwise: fn(f64) -> Norm| match role.is_in(config) {
                true => source.gains(block, role).map(|gains| Norm::with_gains(gains, eps)),
                false => Ok(otherwise(eps)),
            };
            let before = |role| norm(role, Norm::rms);
            let of_heads = |role| norm(role, |_| Norm::none());
            let [qkv, output, hidden, down] = matrices(config);
            Ok(Block {
                attention: Attention {
                    norm: before(NormRole::Attention)?,
                    qkv: source.matrix(block, qkv)?,
                    query_norm: of_heads(NormRole::Queries)?,
                    key_norm: of_heads(NormRole::Keys)?,
                    sub_norm: before(NormRole::AttentionOutput)?,
                    output: source.matrix(block, output)?,
                    heads: config.heads,
                    kv_heads: config.kv_heads,
                    dim_head: config.dim_head,
                },
                feed_forward: FeedForward {
                    norm: before(NormRole::FeedForward)?,
                    hidden: source.matrix(block, hidden)?,
                    kind: config.feed_forward,
                    sub_norm: before(NormRole::Down)?,
                    down: source.matrix(block, down)?,
                },
            })
        };
        Ok(Self {
            config: config.clone(),
            embedding: source.embedding(tables)?,
            blocks: (0..config.depth).map(block).collect::<Result<_, S::Error>>()?,
            norm: Norm::with_gains(source.last_gains()?, eps),
            head: source.head(tables)?,
            rotary: Rotary::new(config),
            cache_format: CacheFormat::default(),
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
}

impl<B: Backend> WeightSource for Trained<'_, B> {
    type Error = EngineError;

    fn matrix(&self, block: usize, linears: &[LinearRole]) -> Result<TernaryMatrix, EngineError> {
        let layer = &self.model.layers[block];
        let linears = linears.iter().filter_map(|&role| layer.linear(role));
        let parts: Vec<TernaryWeights> = linears.map(Self::linear).collect();
        Ok(TernaryMatrix::pack(&parts.iter().collect::<Vec<_>>()))
    }

    fn gains(&self, block: usize, norm: NormRole) -> Result<Vec<f32>, EngineError> {
        let norm = self.model.layers[block].norm(norm);
        Ok(norm.map(|norm| Self::values(norm.weight.val())).unwrap_or_default())
    }

    fn last_gains(&self) -> Result<Vec<f32>, EngineError> {
        Ok(Self::values(self.model.norm.weight.val()))
    }

    fn embedding(&self, format: TableFormat) -> Result<EmbeddingTable, EngineError> {
        let weights = Self::values(self.model.embed_tokens.weight.val());
        Ok(EmbeddingTable::new(&weights, self.model.config().dim, format))
    }

    fn head(&self, format: TableFormat) -> Result<Option<EmbeddingTable>, EngineError> {
        Ok(self.model.lm_head.as_ref().map(|head| {
            let weights = Self::values(head.weight.val().transpose());
            EmbeddingTable::new(&weights, self.model.config().dim, format)
        }))
    }
}

/// Random weights.
struct Random<'a> {
    config: &'a BitNetTransformerConfig,
    seed: u64,
}

impl Random<'_> {
    fn table(&self, stream: u64, format: TableFormat) -> EmbeddingTable {
        let &BitNetTransformerConfig { num_tokens, dim, init_std, .. } = self.config;
        // Of the standard deviation that training begins with.
        let range = 3f32.sqrt() * init_std as f32;
        EmbeddingTable::from_rows(num_tokens, dim, format, |row, out| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(u64::MAX - (stream << 32 | row as u64));
            out.iter_mut().for_each(|out| *out = rng.random_range(-range..=range));
        })
    }
}

impl WeightSource for Random<'_> {
    type Error = EngineError;

    fn matrix(&self, block: usize, linears: &[LinearRole]) -> Result<TernaryMatrix, EngineError> {
        let MatrixShape { inputs, outputs, groups } = matrix_shape(linears, self.config);
        let first = linears[0] as u64;
        let fill = |row: usize, codes: &mut [i8]| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream((((block as u64) << 3 | first) << 32) | row as u64);
            for codes in codes.chunks_mut(64) {
                let mut random = [0u8; 64];
                rng.fill(&mut random[..]);
                for (code, random) in codes.iter_mut().zip(random) {
                    *code = (u16::from(random) * 3 / 256) as i8 - 1;
                }
            }
        };
        // As training begins: outputs of about the size of the inputs.
        let scale = (1.5 / inputs as f32).sqrt();
        let bias = self.config.bias.then(|| vec![0.0; outputs]);
        Ok(TernaryMatrix::from_rows(inputs, outputs, groups, fill, |_, _| scale, bias))
    }

    fn gains(&self, _block: usize, norm: NormRole) -> Result<Vec<f32>, EngineError> {
        Ok(vec![1.0; norm.features(self.config)])
    }

    fn last_gains(&self) -> Result<Vec<f32>, EngineError> {
        Ok(vec![1.0; self.config.dim])
    }

    fn embedding(&self, format: TableFormat) -> Result<EmbeddingTable, EngineError> {
        Ok(self.table(0, format))
    }

    fn head(&self, format: TableFormat) -> Result<Option<EmbeddingTable>, EngineError> {
        Ok((!self.config.tie_embeddings).then(|| self.table(1, format)))
    }
}
