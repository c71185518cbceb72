use crate::{
    engine::{LinearOf, NormOf},
    model::{BitNetTransformerConfig, NormPlacement},
};

/// A tensor that a configuration asks for, named as in Hugging Face checkpoints.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) role: Role,
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The weight of a linear, `[outputs, inputs]`.
    Linear,
    /// Embedding or output head.
    Table,
    /// Gains of a norm, or a bias.
    Vector,
}

pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(super) const HEAD: &str = "lm_head.weight";

/// The linears of a block, in the order of the forward pass.
pub(super) const LINEARS: [LinearOf; 7] = [
    LinearOf::Queries,
    LinearOf::Keys,
    LinearOf::Values,
    LinearOf::Output,
    LinearOf::Gate,
    LinearOf::Up,
    LinearOf::Down,
];

/// The path of a linear in its block.
pub(super) fn path(linear: LinearOf) -> &'static str {
    match linear {
        LinearOf::Queries => "self_attn.q_proj",
        LinearOf::Keys => "self_attn.k_proj",
        LinearOf::Values => "self_attn.v_proj",
        LinearOf::Output => "self_attn.o_proj",
        LinearOf::Gate => "mlp.gate_proj",
        LinearOf::Up => "mlp.up_proj",
        LinearOf::Down => "mlp.down_proj",
    }
}

/// The name of a linear, less `.weight`.
pub(super) fn linear(block: usize, linear: LinearOf) -> String {
    format!("model.layers.{block}.{}", path(linear))
}

/// The name of a norm's gains.
pub(super) fn gains(norm: NormOf) -> String {
    let of = |block, name| format!("model.layers.{block}.{name}.weight");
    match norm {
        NormOf::Attention(block) => of(block, "input_layernorm"),
        NormOf::AttentionOutput(block) => of(block, "self_attn.attn_sub_norm"),
        NormOf::Queries(block) => of(block, "self_attn.q_norm"),
        NormOf::Keys(block) => of(block, "self_attn.k_norm"),
        NormOf::FeedForward(block) => of(block, "post_attention_layernorm"),
        NormOf::Down(block) => of(block, "mlp.ffn_sub_norm"),
        NormOf::Head => "model.norm.weight".into(),
    }
}

/// Inputs and outputs of a linear.
pub(super) fn sizes(config: &BitNetTransformerConfig, linear: LinearOf) -> [usize; 2] {
    let &BitNetTransformerConfig { dim, heads, kv_heads, dim_head, ff_dim, .. } = config;
    match linear {
        LinearOf::Queries => [dim, heads * dim_head],
        LinearOf::Keys | LinearOf::Values => [dim, kv_heads * dim_head],
        LinearOf::Output => [heads * dim_head, dim],
        LinearOf::Gate | LinearOf::Up => [dim, ff_dim],
        LinearOf::Down => [ff_dim, dim],
    }
}

/// The linears that a block of a configuration has.
pub(super) fn linears(config: &BitNetTransformerConfig) -> impl Iterator<Item = LinearOf> {
    let gated = config.feed_forward.is_gated();
    LINEARS.into_iter().filter(move |&linear| gated || linear != LinearOf::Gate)
}

/// The names of the weights of all linears.
pub(super) fn linear_weights(config: &BitNetTransformerConfig) -> impl Iterator<Item = String> {
    (0..config.depth).flat_map(move |block| {
        linears(config).map(move |linear_of| format!("{}.weight", linear(block, linear_of)))
    })
}

/// The tensors of a configuration, block after block: as they are asked for, so that a damaged
/// configuration takes no memory.
pub(super) fn tensors(config: &BitNetTransformerConfig) -> impl Iterator<Item = Spec> {
    let &BitNetTransformerConfig { num_tokens, dim, depth, .. } = config;
    let table =
        |name: &str| Spec { name: name.into(), shape: vec![num_tokens, dim], role: Role::Table };
    let head = (!config.tie_embeddings).then(|| table(HEAD));
    [table(EMBEDDING)]
        .into_iter()
        .chain((0..depth).flat_map(move |block| block_tensors(config, block)))
        .chain([vector(gains(NormOf::Head), dim)])
        .chain(head)
}

fn vector(name: String, size: usize) -> Spec {
    Spec { name, shape: vec![size], role: Role::Vector }
}

fn block_tensors(config: &BitNetTransformerConfig, block: usize) -> Vec<Spec> {
    let &BitNetTransformerConfig { dim, heads, dim_head, ff_dim, .. } = config;
    let mut tensors = Vec::new();
    if config.norms == NormPlacement::SubNorm {
        tensors.extend([
            vector(gains(NormOf::Attention(block)), dim),
            vector(gains(NormOf::AttentionOutput(block)), heads * dim_head),
            vector(gains(NormOf::FeedForward(block)), dim),
            vector(gains(NormOf::Down(block)), ff_dim),
        ]);
    }
    if config.qk_norm {
        tensors.push(vector(gains(NormOf::Queries(block)), dim_head));
        tensors.push(vector(gains(NormOf::Keys(block)), dim_head));
    }
    for linear_of in linears(config) {
        let [inputs, outputs] = sizes(config, linear_of);
        let name = linear(block, linear_of);
        if config.bias {
            tensors.push(vector(format!("{name}.bias"), outputs));
        }
        let name = format!("{name}.weight");
        tensors.push(Spec { name, shape: vec![outputs, inputs], role: Role::Linear });
    }
    tensors
}
