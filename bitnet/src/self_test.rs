//! Whether a device computes what the CPU does: the loss and every gradient of a small transformer.

use burn::{
    backend::{Autodiff, autodiff::grads::Gradients},
    module::{Module, ModuleVisitor, Param},
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use thiserror::Error;

use crate::{
    backend::{BackendError, BackendKind, BackendVisitor, DeviceChoice, Panic, catch_panic},
    cpu::isa::{self, ShortOperands},
    loss::cross_entropy,
    nn::BitNetTransformerConfig,
    ops::Implementation,
    precision::Precision,
};

/// Windows of the batch, and their length.
const WINDOW_STARTS: [usize; 3] = [0, 5, 11];
const TOKENS_PER_WINDOW: usize = 16;
const TEXT: &[u8] = b"In the beginning was the self-test.";

/// How far a device's result is from the CPU's, relative to the largest value of each tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Of the loss.
    pub loss: f64,
    /// Of the gradients, the worst of all parameters.
    pub gradient: f64,
}

impl Agreement {
    /// The largest distance that rounding explains. In f32 that is another order of summation. In
    /// bf16, and in TF32, to which Burn's `cuda` rounds the operands of f32 products, inputs of the
    /// quantisers move across rounding boundaries, too, and each that does changes a code.
    pub fn tolerance(kind: BackendKind, precision: Precision) -> f64 {
        match precision {
            Precision::F32 if kind == BackendKind::Cuda => 0.1,
            Precision::F32 => 1e-3,
            Precision::Bf16 => 0.25,
        }
    }

    /// Whether both are within the tolerance.
    pub fn is_close(self, kind: BackendKind, precision: Precision) -> bool {
        let tolerance = Self::tolerance(kind, precision);
        // Written so that NaN is not.
        self.loss <= tolerance && self.gradient <= tolerance
    }
}

/// Why a device does not pass.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// The backend or the device is not there.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The device does not have the precision.
    #[error("backend \"{kind}\" cannot compute in {precision} on device {device}; use \"f32\"")]
    Precision {
        /// The backend.
        kind: BackendKind,
        /// The device.
        device: DeviceChoice,
        /// The precision asked for.
        precision: Precision,
    },
    /// The backend gave up.
    #[error("backend \"{kind}\" fails on device {device}: {panic}")]
    Failed {
        /// The backend.
        kind: BackendKind,
        /// The device.
        device: DeviceChoice,
        /// What it said.
        panic: Panic,
    },
    /// The device's results are others.
    #[error(
        "backend \"{kind}\" computes wrongly on device {device}: of a small model, the loss is off \
         by {:.0e} and the gradient by {:.0e}, {:.0e} is allowed; use another backend or driver",
        .agreement.loss, .agreement.gradient, Agreement::tolerance(*.kind, *.precision)
    )]
    Disagrees {
        /// The backend.
        kind: BackendKind,
        /// The device.
        device: DeviceChoice,
        /// The precision of the matrix products.
        precision: Precision,
        /// How far off it is.
        agreement: Agreement,
    },
}

/// What a backend rounds the operands of matrix products to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductOperands {
    /// All to this precision, but for products of codes, which are exact.
    Of(Precision),
    /// Gradients of quantised linears to whole numbers of 16 bits, with a scale for each token or
    /// output; the others are f32.
    Int16Gradients,
}

/// What a backend rounds operands to where a precision is asked for: `flex` has bf16 on processors
/// with instructions for it alone, and 16-bit integers on others with vector units for them.
pub fn product_operands(kind: BackendKind, asked: Precision) -> ProductOperands {
    let short = isa::short_operands();
    match (kind, asked, short) {
        (BackendKind::Flex, Precision::Bf16, Some(ShortOperands::Int16)) => {
            ProductOperands::Int16Gradients
        }
        (BackendKind::Flex, Precision::Bf16, None) => ProductOperands::Of(Precision::F32),
        _ => ProductOperands::Of(asked),
    }
}

/// Compares a device with the CPU; the device computes as
/// [`Implementation::current`] says. `None` if no CPU backend to compare with is compiled in.
///
/// # Errors
/// If the device is not there, fails, or computes something else.
pub fn self_test(
    kind: BackendKind,
    device: &DeviceChoice,
    precision: Precision,
) -> Result<Option<Agreement>, SelfTestError> {
    let work = || kind.visit(device, SmallStep { precision });
    let result = match catch_panic(work) {
        Ok(result) => result?,
        Err(panic) => return Err(SelfTestError::Failed { kind, device: device.clone(), panic }),
    };
    let Some(result) = result else {
        return Err(SelfTestError::Precision { kind, device: device.clone(), precision });
    };
    let Some(agreement) = reference()?.map(|expected| result.compare(&expected)) else {
        return Ok(None);
    };
    match agreement.is_close(kind, precision) {
        true => Ok(Some(agreement)),
        false => {
            Err(SelfTestError::Disagrees { kind, device: device.clone(), precision, agreement })
        }
    }
}

/// The result of a CPU backend in f32, by Burn's operations alone.
fn reference() -> Result<Option<StepResult>, BackendError> {
    let kinds = [BackendKind::NdArray, BackendKind::Flex];
    let Some(kind) = kinds.into_iter().find(|kind| kind.is_compiled_in()) else {
        return Ok(None);
    };
    Implementation::Composed
        .scope(|| kind.visit(&DeviceChoice::default(), SmallStep { precision: Precision::F32 }))
}

/// Forward and backward pass of a small model.
struct SmallStep {
    precision: Precision,
}

/// On the host.
struct StepResult {
    loss: f64,
    gradients: Vec<Vec<f32>>,
}

impl BackendVisitor for SmallStep {
    /// `None` if the device does not have the precision.
    type Output = Option<StepResult>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        if !self.precision.is_supported::<B>(&device) {
            return None;
        }
        let config = BitNetTransformerConfig {
            ff_dim: 48,
            max_seq_len: TOKENS_PER_WINDOW,
            init_std: 0.2,
            ..BitNetTransformerConfig::new(128, 32, 2).with_heads(4).with_dim_head(8)
        };
        let config = config.with_kv_heads(2);
        let model = config.init_seeded::<Autodiff<B>>(1, &device).expect("sizes fit together");
        let model = model.with_precision(self.precision);
        // Inputs, and the targets one token later.
        let windows = |offset: usize| {
            let tokens: Vec<i32> = WINDOW_STARTS
                .iter()
                .flat_map(|start| &TEXT[start + offset..start + offset + TOKENS_PER_WINDOW])
                .map(|&byte| i32::from(byte))
                .collect();
            let data = TensorData::new(tokens, [WINDOW_STARTS.len(), TOKENS_PER_WINDOW]);
            Tensor::<Autodiff<B>, 2, Int>::from_data(data, &device)
        };
        let logits = model.forward(windows(0)).expect("windows fit the model");
        let loss = cross_entropy(logits, windows(1));
        let value = loss.clone().into_data().iter::<f64>().sum();
        let mut collect = Collect { gradients: &loss.backward(), values: Vec::new() };
        model.visit(&mut collect);
        Some(StepResult { loss: value, gradients: collect.values })
    }
}

/// Reads the gradients of all parameters.
struct Collect<'a> {
    gradients: &'a Gradients,
    values: Vec<Vec<f32>>,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let gradient = param.val().grad(self.gradients);
        let values = gradient.map(|gradient| gradient.into_data().iter::<f32>().collect());
        self.values.push(values.unwrap_or_default());
    }
}

impl StepResult {
    fn compare(&self, expected: &Self) -> Agreement {
        let same_shape = self.gradients.len() == expected.gradients.len();
        let gradients = self.gradients.iter().zip(&expected.gradients);
        Agreement {
            loss: distance(&[self.loss as f32], &[expected.loss as f32]),
            gradient: match same_shape {
                true => gradients.map(|(a, e)| distance(a, e)).fold(0.0, worse),
                false => f64::INFINITY,
            },
        }
    }
}

/// Largest difference, relative to the largest expected magnitude.
fn distance(actual: &[f32], expected: &[f32]) -> f64 {
    if actual.len() != expected.len() {
        return f64::INFINITY;
    }
    let top = expected.iter().fold(f32::MIN_POSITIVE, |top, value| top.max(value.abs()));
    let differences = actual.iter().zip(expected).map(|(a, e)| f64::from((a - e).abs() / top));
    differences.fold(0.0, worse)
}

/// The larger one; NaN is worse than any.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_by_hand() {
        assert_eq!(distance(&[1.0, -3.0], &[1.0, -4.0]), 0.25);
        assert_eq!(distance(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert!(distance(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
        let on = |kind, loss, gradient| Agreement { loss, gradient }.is_close(kind, Precision::F32);
        let close = |loss, gradient| on(BackendKind::Wgpu, loss, gradient);
        assert!(close(1e-7, 1e-5));
        assert!(!close(1e-2, 0.0) && !close(0.0, 1e-2));
        assert!(!close(0.0, f64::NAN) && !close(f64::NAN, 0.0));
        assert!(on(BackendKind::Cuda, 3e-4, 3e-2) && !on(BackendKind::Cuda, 0.2, 0.0));
    }

    #[cfg(all(feature = "flex", feature = "ndarray"))]
    #[test]
    fn another_result_is_seen() {
        let result = |kind: BackendKind| {
            let step = SmallStep { precision: Precision::F32 };
            kind.visit(&DeviceChoice::default(), step).unwrap().unwrap()
        };
        let expected = result(BackendKind::NdArray);
        assert!(expected.gradients.iter().all(|values| values.iter().any(|&value| value != 0.0)));
        let mut actual = result(BackendKind::Flex);
        let close = |actual: &StepResult| {
            actual.compare(&expected).is_close(BackendKind::Flex, Precision::F32)
        };
        assert!(close(&actual));
        // A single wrong number is enough.
        let last = actual.gradients.last_mut().unwrap();
        last[3] += 0.01 * last.iter().fold(0.0, |top: f32, value| top.max(value.abs()));
        assert!(!close(&actual));
    }
}
