use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, Linear, LinearConfig},
    tensor::{Int, Tensor, backend::Backend},
};

use super::{
    BitLinear, BitNetTransformerConfig, Block, KvCache, ModelError, Observer, RmsNorm,
    RotaryEmbedding,
    attention::{Context, Segment},
    schema::LinearRole,
};
use crate::{
    ops::{embedding::embedding, output_head::output_head},
    precision::Precision,
};

/// A decoder-only transformer whose linear layers are [`BitLinear`](crate::BitLinear)s.
///
/// Embedding, output head and the last norm stay in full precision (b1, §2.1). Fields are named as
/// in the Hugging Face BitNet checkpoints.
#[derive(Module, Debug)]
pub struct BitNetTransformer<B: Backend> {
    /// Token embedding, `[num_tokens, dim]`.
    pub embed_tokens: Embedding<B>,
    /// The blocks.
    pub layers: Vec<Block<B>>,
    /// Norm before the output head.
    pub norm: RmsNorm<B>,
    /// Output head, where it is not the embedding.
    pub lm_head: Option<Linear<B>>,
    pub(super) rope: RotaryEmbedding<B>,
    #[module(skip)]
    config: BitNetTransformerConfig,
    #[module(skip)]
    precision: Precision,
}

impl BitNetTransformerConfig {
    /// Creates the model on `device`, with random weights.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`] as [`validate`](Self::validate).
    pub fn init<B: Backend>(&self, device: &B::Device) -> Result<BitNetTransformer<B>, ModelError> {
        self.validate()?;
        Ok(BitNetTransformer::new(self, device))
    }
}

impl<B: Backend> BitNetTransformer<B> {
    /// Builds a model of a configuration that has been validated.
    fn new(config: &BitNetTransformerConfig, device: &B::Device) -> Self {
        let &BitNetTransformerConfig { num_tokens, dim, depth, .. } = config;
        let initializer = config.initializer();
        Self {
            embed_tokens: EmbeddingConfig::new(num_tokens, dim)
                .with_initializer(initializer.clone())
                .init(device),
            layers: (0..depth).map(|_| Block::new(config, device)).collect(),
            norm: RmsNorm::new(dim, config.norm_eps, device),
            lm_head: (!config.tie_embeddings).then(|| {
                LinearConfig::new(dim, num_tokens)
                    .with_bias(false)
                    .with_initializer(initializer)
                    .init(device)
            }),
            rope: RotaryEmbedding::new(config, device),
            config: config.clone(),
            precision: Precision::F32,
        }
    }

    /// Sets the precision of all matrix products: of the linears, of the attention and of the
    /// output head. New and loaded models have f32.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        for layer in &mut self.layers {
            layer.set_precision(precision);
        }
        self
    }

    /// The configuration the model was built from.
    pub fn config(&self) -> &BitNetTransformerConfig {
        &self.config
    }

    /// The device the model is on.
    pub fn device(&self) -> B::Device {
        self.embed_tokens.weight.lazy_device()
    }

    /// Sets how much of the quantisation counts, in every layer: see
    /// [`BitLinear::set_quant_strength`](crate::BitLinear::set_quant_strength).
    pub fn set_quant_strength(&mut self, strength: f64) {
        for layer in &mut self.layers {
            layer.set_quant_strength(strength);
        }
    }

    /// Holds the weights of all linears at two bits: see
    /// [`BitLinear::pack`](crate::BitLinear::pack). On the CPU, an
    /// [`Engine`](crate::engine::Engine) generates faster.
    pub fn pack(mut self) -> Self {
        self.layers.iter_mut().for_each(Block::pack);
        self
    }

    /// Whether the weights of the linears are packed.
    pub fn is_packed(&self) -> bool {
        self.layers.iter().any(|layer| layer.self_attn.q_proj.is_packed())
    }

    /// Logits of the next token at every position.
    ///
    /// Token ids must lie below `num_tokens`; what happens otherwise is up to the backend.
    ///
    /// # Shapes
    /// - `tokens`: `[batch, seq]`
    /// - output: `[batch, seq, num_tokens]`
    ///
    /// # Errors
    /// [`ModelError::MaxSequenceLengthExceeded`] if `seq` is above the model's maximum.
    pub fn forward(&self, tokens: Tensor<B, 2, Int>) -> Result<Tensor<B, 3>, ModelError> {
        Ok(self.head(self.hidden(tokens, Observer::NONE)?))
    }

    /// Runs the blocks and calls `visit` with each input `[batch · seq, d_input]` and the linears
    /// that read it, which quantise it alike; the linears come in the order of
    /// [`linears`](Self::linears).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn observe(
        &self,
        tokens: Tensor<B, 2, Int>,
        visit: impl Fn(&[&BitLinear<B>], &Tensor<B, 2>),
    ) -> Result<(), ModelError> {
        self.hidden(tokens, Observer::new(&visit)).map(|_| ())
    }

    /// The linears with their names, as in Hugging Face checkpoints but for the leading `model.`,
    /// in the order of the forward pass.
    pub fn linears(&self) -> impl Iterator<Item = (String, &BitLinear<B>)> {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            LinearRole::all(&self.config).filter_map(move |role| {
                Some((format!("layers.{index}.{}", role.hf_name()), layer.linear(role)?))
            })
        })
    }

    /// The forward pass before the output head: `[batch, seq, dim]`.
    fn hidden(
        &self,
        tokens: Tensor<B, 2, Int>,
        observer: Observer<'_, B>,
    ) -> Result<Tensor<B, 3>, ModelError> {
        let [_, seq] = tokens.dims();
        self.config.check_seq_len(seq)?;
        let x = embedding(self.embed_tokens.weight.val(), tokens);
        let positions = self.rope.at(0, seq);
        let layers = self.layers.iter();
        Ok(layers.fold(x, |x, layer| layer.forward(x, Context::Whole(&positions), observer)))
    }

    /// An empty cache for `batch` sequences.
    pub fn new_cache(&self, batch: usize) -> KvCache<B> {
        KvCache::new(&self.config, batch, &self.device())
    }

    /// Logits for tokens that follow those in `cache`, which then holds them too. The logits equal
    /// those of [`forward`](Self::forward) over the whole sequence.
    ///
    /// # Shapes
    /// - `tokens`: `[batch, seq]`, the new tokens only
    /// - output: `[batch, seq, num_tokens]`
    ///
    /// # Errors
    /// [`ModelError::MaxSequenceLengthExceeded`] if old and new tokens together are above the
    /// model's maximum, [`ModelError::CacheBatchMismatch`] for a cache of another batch size. The
    /// cache is unchanged then.
    pub fn forward_cached(
        &self,
        tokens: Tensor<B, 2, Int>,
        cache: &mut KvCache<B>,
    ) -> Result<Tensor<B, 3>, ModelError> {
        Ok(self.head(self.hidden_cached(tokens, cache)?))
    }

    /// As [`forward_cached`](Self::forward_cached), but computes the logits of the last position
    /// only: `[batch, num_tokens]`. The output head costs as much as several blocks.
    ///
    /// # Errors
    /// As [`forward_cached`](Self::forward_cached).
    pub fn forward_next(
        &self,
        tokens: Tensor<B, 2, Int>,
        cache: &mut KvCache<B>,
    ) -> Result<Tensor<B, 2>, ModelError> {
        let [_, seq] = tokens.dims();
        let hidden = self.hidden_cached(tokens, cache)?.narrow(1, seq - 1, 1);
        Ok(self.head(hidden).squeeze_dim(1))
    }

    fn hidden_cached(
        &self,
        tokens: Tensor<B, 2, Int>,
        cache: &mut KvCache<B>,
    ) -> Result<Tensor<B, 3>, ModelError> {
        let [batch, seq] = tokens.dims();
        cache.check_batch_size(batch)?;
        self.config.check_seq_len(cache.len() + seq)?;
        let positions = self.rope.at(cache.len(), seq);
        let mut x = embedding(self.embed_tokens.weight.val(), tokens);
        for (index, layer) in self.layers.iter().enumerate() {
            let cache = cache.layer_mut(index);
            let segment = Segment { batch, seq, positions: &positions, cache };
            x = layer.forward(x, Context::Cached(vec![segment]), Observer::NONE);
        }
        cache.advance(seq);
        Ok(x)
    }

    /// `[batch, seq, dim]` to logits `[batch, seq, num_tokens]`.
    pub(super) fn head(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, seq, dim] = x.dims();
        let x = self.norm.forward(x).reshape([batch * seq, dim]);
        let logits = match &self.lm_head {
            Some(head) => output_head(self.precision, x, head.weight.val(), false),
            None => output_head(self.precision, x, self.embed_tokens.weight.val(), true),
        };
        logits.reshape([batch, seq, self.config.num_tokens])
    }
}
