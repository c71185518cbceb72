//! Compares a backend's own operations with the composed forms, which NdArray computes: outputs,
//! and the gradients of all inputs. A function for each operation, for any backend that has it:
//!
//! ```text
//! #[test]
//! fn rms_norm_of_my_backend_is_the_composed_one() {
//!     suite::rms_norm::<MyBackend>();
//! }
//! ```

mod attention;
mod compare;
mod optimizer;
mod quantized_linear;
mod rows;

use attention::{attention_to_cached_keys, self_attention};
use optimizer::{adamw, clip};
use quantized_linear::quantized_linear;
use rows::{absmean, gated, rms_norm, token_losses};

#[cfg(feature = "flex")]
mod flex {
    use burn_flex::Flex;

    #[test]
    fn rms_norm() {
        super::rms_norm::<Flex>();
    }

    #[test]
    fn gated() {
        super::gated::<Flex>();
    }

    #[test]
    fn token_losses() {
        super::token_losses::<Flex>();
    }

    #[test]
    fn quantized_linear() {
        super::quantized_linear::<Flex>();
    }

    #[test]
    fn self_attention() {
        super::self_attention::<Flex>();
    }

    #[test]
    fn attention_to_cached_keys() {
        super::attention_to_cached_keys::<Flex>();
    }

    #[test]
    fn absmean() {
        super::absmean::<Flex>();
    }

    #[test]
    fn adamw() {
        super::adamw::<Flex>();
    }

    #[test]
    fn clip() {
        super::clip::<Flex>();
    }
}
