use serde::{Deserialize, Serialize};

use crate::{
    ops::gated::Gate,
    quant::{ActivationQuant, WeightQuant},
};

/// Where a block normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormPlacement {
    /// Four RMSNorms with learned gains a block, none in the linears: the released 2B4T model.
    #[default]
    SubNorm,
    /// Every linear normalises its own input, without gains (training tips, figure 5): RMS, or
    /// LayerNorm in [`WeightQuant::BinaryPaper`].
    InLinear,
}

/// The form of the feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedForwardKind {
    /// `down(relu(gate(x))² · up(x))`, as in 2B4T.
    #[default]
    Relu2Gated,
    /// `down(silu(gate(x)) · up(x))`, as in LLaMA and b1.58.
    Swiglu,
    /// `down(gelu(up(x)))`, as in b1.
    Gelu,
}

impl FeedForwardKind {
    /// Whether there is a gate projection.
    pub fn is_gated(self) -> bool {
        self.gate().is_some()
    }

    /// The gate, if there is one.
    pub(crate) fn gate(self) -> Option<Gate> {
        match self {
            Self::Relu2Gated => Some(Gate::Relu2),
            Self::Swiglu => Some(Gate::Silu),
            Self::Gelu => None,
        }
    }
}

/// Configuration of a [`BitNetTransformer`](super::BitNetTransformer).
///
/// ```
/// use bitnet::BitNetTransformerConfig;
/// # type B = burn_flex::Flex;
///
/// let config = BitNetTransformerConfig::new(100, 32, 2).with_heads(4).with_dim_head(8);
/// let model = config.init::<B>(&Default::default())?;
/// # Ok::<(), bitnet::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BitNetTransformerConfig {
    /// Size of the vocabulary.
    pub num_tokens: usize,
    /// Width of the residual stream (`d_model`).
    pub dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Number of query heads. Default: 8.
    pub heads: usize,
    /// Number of key/value heads; fewer than `heads` is grouped-query attention. Default: `heads`.
    pub kv_heads: usize,
    /// Width of a head; even, for the rotary embedding. Default: 64.
    pub dim_head: usize,
    /// Width of the feed-forward network. Default: 4 · `dim`.
    pub ff_dim: usize,
    /// Longest sequence, in tokens. Default: 2048.
    pub max_seq_len: usize,
    /// Base θ of the rotary embedding. Default: 10,000.
    pub rope_theta: f64,
    /// ε of every norm. Default: 1e-5.
    pub norm_eps: f64,
    /// Form of the feed-forward network. Default: `relu2-gated`.
    pub feed_forward: FeedForwardKind,
    /// Where blocks normalise. Default: `sub-norm`.
    pub norms: NormPlacement,
    /// Weight quantiser of the linears. Default: ternary.
    pub quant: WeightQuant,
    /// Input quantiser of the linears. Default: int8 a token.
    pub activation: ActivationQuant,
    /// Input features that share a weight scale; `None` (default): one scale per tensor.
    pub group_size: Option<usize>,
    /// Whether the output head is the embedding, transposed. Default: yes.
    pub tie_embeddings: bool,
    /// Whether queries and keys are normalised, head by head. Default: no.
    pub qk_norm: bool,
    /// Whether the linears have biases. Default: no.
    pub bias: bool,
    /// Standard deviation of the initial weights and embeddings. Default: 0.05, with which small
    /// models learn much faster than with the 0.02 that is usual for large ones.
    pub init_std: f64,
}

impl BitNetTransformerConfig {
    /// A ternary decoder in the form of the released 2B4T model, with the predecessor package's
    /// defaults for the rest: 8 heads of width 64, feed-forward width 4 · `dim`.
    pub fn new(num_tokens: usize, dim: usize, depth: usize) -> Self {
        Self {
            num_tokens,
            dim,
            depth,
            heads: 8,
            kv_heads: 8,
            dim_head: 64,
            ff_dim: 4 * dim,
            max_seq_len: 2048,
            rope_theta: 10_000.0,
            norm_eps: 1e-5,
            feed_forward: FeedForwardKind::default(),
            norms: NormPlacement::default(),
            quant: WeightQuant::default(),
            activation: ActivationQuant::default(),
            group_size: None,
            tie_embeddings: true,
            qk_norm: false,
            bias: false,
            init_std: 0.05,
        }
    }

    /// Sets the number of query heads, and of key/value heads to the same.
    pub fn with_heads(mut self, heads: usize) -> Self {
        self.heads = heads;
        self.kv_heads = heads;
        self
    }

    /// Sets the number of key/value heads (after [`with_heads`](Self::with_heads)).
    pub fn with_kv_heads(mut self, kv_heads: usize) -> Self {
        self.kv_heads = kv_heads;
        self
    }

    /// Sets the width of a head.
    pub fn with_dim_head(mut self, dim_head: usize) -> Self {
        self.dim_head = dim_head;
        self
    }

    /// Sets the feed-forward width to `ff_mult · dim`.
    pub fn with_ff_mult(mut self, ff_mult: usize) -> Self {
        self.ff_dim = ff_mult * self.dim;
        self
    }

    /// Sets the longest sequence, in tokens.
    pub fn with_max_seq_len(mut self, max_seq_len: usize) -> Self {
        self.max_seq_len = max_seq_len;
        self
    }

    /// Sets the weight quantiser.
    pub fn with_quant(mut self, quant: WeightQuant) -> Self {
        self.quant = quant;
        self
    }
}
