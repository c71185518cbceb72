//! What the integration tests share: one instance of a test for every backend, and tensors to and
//! from plain vectors.

use std::cell::Cell;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

/// The backend that records gradients over `B`.
pub(crate) type Ad<B> = burn::backend::Autodiff<B>;

/// Makes a `#[test]` of each backend out of functions that are generic over it.
macro_rules! for_each_backend {
    ($($test:ident),+ $(,)?) => {
        #[cfg(feature = "flex")]
        mod flex {
            $(#[test]
            fn $test() {
                super::$test::<burn_flex::Flex>();
            })+
        }

        #[cfg(feature = "ndarray")]
        mod ndarray {
            $(#[test]
            fn $test() {
                super::$test::<burn_ndarray::NdArray>();
            })+
        }

        #[cfg(feature = "wgpu")]
        mod wgpu {
            $(#[test]
            fn $test() {
                super::$test::<burn_wgpu::Wgpu>();
            })+
        }

        #[cfg(feature = "tch")]
        mod tch {
            $(#[test]
            fn $test() {
                super::$test::<burn_tch::LibTorch>();
            })+
        }

        #[cfg(feature = "cuda")]
        mod cuda {
            $(#[test]
            #[ignore = "needs an NVIDIA GPU"]
            fn $test() {
                crate::common::in_tf32(super::$test::<burn_cuda::Cuda>);
            })+
        }
    };
}
pub(crate) use for_each_backend;

/// A tensor of the given values, row by row.
pub(crate) fn tensor<B: Backend, const D: usize>(
    values: &[f32],
    shape: [usize; D],
) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Default::default())
}

/// Token ids `[batch, seq]`.
pub(crate) fn tokens<B: Backend, const N: usize>(rows: &[[i32; N]]) -> Tensor<B, 2, Int> {
    let data = TensorData::new(rows.concat(), [rows.len(), N]);
    Tensor::from_data(data, &Default::default())
}

/// The values of a tensor, row by row.
pub(crate) fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The bit patterns of values: equal exactly where the values are, signs of zeros included.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// `count` normal random numbers, the same on every machine.
pub(crate) fn randoms(seed: u64, count: usize, std: f32) -> Vec<f32> {
    let normal = Normal::new(0.0, std).unwrap();
    normal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(count).collect()
}

/// As [`randoms`], as a tensor.
pub(crate) fn random_tensor<B: Backend, const D: usize>(
    seed: u64,
    shape: [usize; D],
    std: f32,
) -> Tensor<B, D> {
    tensor(&randoms(seed, shape.iter().product(), std), shape)
}

thread_local! {
    static TF32: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test on a device that rounds the operands of f32 products to TF32, which has 10 bits of
/// mantissa.
#[allow(dead_code, reason = "only on some backends")]
pub(crate) fn in_tf32(test: fn()) {
    TF32.set(true);
    test();
}

/// Whether this is such a device.
pub(crate) fn is_tf32() -> bool {
    TF32.get()
}

/// The tolerance for products of f32: on such a device that of a few of them.
fn of_products(tolerance: f32) -> f32 {
    if is_tf32() { tolerance.max(5e-3) } else { tolerance }
}

/// The tolerance for whole models: on such a device inputs of quantisers move across rounding
/// boundaries, and each that does changes a code.
pub(crate) fn of_models(tolerance: f32) -> f32 {
    if is_tf32() { tolerance.max(0.2) } else { tolerance }
}

/// Checks values against expected ones, with a tolerance relative to the largest of these.
#[track_caller]
pub(crate) fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    let top = expected.iter().fold(f32::MIN_POSITIVE, |top, value| top.max(value.abs()));
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let difference = (a - e).abs() / top;
        // Written so that NaN fails.
        assert!(
            difference <= of_products(tolerance),
            "{what}[{index}]: {a} instead of {e}, off by {difference:e}"
        );
    }
}

/// Checks that two results differ by more than rounding could make them.
#[track_caller]
pub(crate) fn assert_differ(a: &[f32], b: &[f32], what: &str) {
    let top = a.iter().fold(f32::MIN_POSITIVE, |top, value| top.max(value.abs()));
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs() / top);
    assert!(differences.fold(0.0, f32::max) > 1e-3, "{what}: nearly equal: {a:?} and {b:?}");
}
