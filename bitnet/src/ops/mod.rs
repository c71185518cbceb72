//! The operations of the model, a file each: what it computes (equation, shapes, source), its
//! composed form in Burn's operations, which every backend has and which is the reference, and the
//! choice of what computes it for the tensors at hand. [`Implementation`] takes the composed forms
//! where there is a choice.
//!
//! A backend that has operations of its own has a folder of them here, and each operation asks
//! `is_on` for it: one may have some of them and leave others to the composed forms. To add a
//! backend, implement `autodiff::OpBackend` for it, and of `autodiff::DifferentiableOp` what
//! it gains from; `suite` compares each with the composed form, values and gradients. An operation
//! calls the implementations: what both take is in `arguments`, so that imports point one way.
//!
//! | operation | file | own implementation |
//! |---|---|---|
//! | quantised linears: gate, norm, codes, product, residual | `quantized_linear` | flex, cuda |
//! | their quantisers: [`quant`](crate::quant) has them all | `absmean`, `absmax`, `straight_through` | within the linears |
//! | mean magnitude of a weight | `mean_magnitude` | flex, cuda |
//! | self-attention: norms of heads, rotation, causal attention | `self_attention` | flex, cuda |
//! | its parts, for a KV cache | `rotate`, `causal_attention`, `swap_heads` | flex |
//! | RMSNorm with gains | `rms_norm` | flex, cuda |
//! | gate of a feed-forward network | `gated` | flex |
//! | output head | `output_head` | flex and cuda, in bf16 |
//! | token embedding | `embedding` | cuda: its gradient |
//! | losses of tokens | `token_losses` | flex, cuda |
//! | mean of the losses | `mean` | cuda, in a fixed order |
//! | a step of AdamW | `adamw` | flex, cuda |
//! | clipping by the norm of all gradients | `clip` | flex, cuda |

pub(crate) mod absmax;
pub(crate) mod absmean;
pub(crate) mod adamw;
pub(crate) mod arguments;
#[cfg(any(feature = "flex", feature = "cuda"))]
pub(crate) mod autodiff;
pub(crate) mod causal_attention;
pub(crate) mod clip;
mod columns;
#[cfg(feature = "cuda")]
pub(crate) mod cube;
pub(crate) mod embedding;
#[cfg(feature = "flex")]
pub(crate) mod flex;
pub(crate) mod gated;
mod implementation;
pub(crate) mod matmul;
pub(crate) mod mean;
mod mean_magnitude;
pub(crate) mod output_head;
pub(crate) mod quantized_linear;
mod reciprocal;
pub(crate) mod rms_norm;
pub(crate) mod rotate;
pub(crate) mod self_attention;
pub(crate) mod straight_through;
#[cfg(all(test, feature = "flex", feature = "ndarray"))]
mod suite;
mod swap_heads;
pub(crate) mod token_losses;

pub use self::implementation::Implementation;
pub(crate) use self::{columns::Columns, reciprocal::reciprocal};

/// Whether the operations of the backend `I` are used for a tensor: it is on `I`, with gradients or
/// without, in 32 bits, and the thread does not compute the composed forms.
#[cfg(any(feature = "flex", feature = "cuda"))]
pub(crate) fn is_on<I, B, const D: usize>(tensor: &burn::tensor::Tensor<B, D>) -> bool
where
    I: burn::tensor::backend::Backend,
    B: burn::tensor::backend::Backend,
{
    autodiff::is_backend::<B, I>()
        && Implementation::current() == Implementation::Fused
        && tensor.dtype() == burn::tensor::DType::F32
}
