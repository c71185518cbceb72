use std::{any::TypeId, sync::Arc};

use burn::{
    module::{Param, ParamId},
    tensor::{Shape, Tensor, TensorData, backend::Backend},
};

use crate::{
    packed::{Activations, TernaryMatrix, TernaryWeights},
    quant::QuantizedWeight,
};

/// The weight of a packed layer.
#[derive(Debug, Clone)]
pub(super) struct PackedWeight {
    matrix: Arc<TernaryMatrix>,
    /// Whether scales differ between the outputs.
    scales_of_outputs: bool,
}

impl PackedWeight {
    /// Packs weights; a bias is left out.
    pub(super) fn new(weights: TernaryWeights) -> Self {
        let scales_of_outputs = weights.scales.len() > weights.groups;
        let weights = TernaryWeights { bias: None, ..weights };
        Self { matrix: Arc::new(TernaryMatrix::pack(&[&weights])), scales_of_outputs }
    }

    /// Codes and scales, on a device.
    pub(super) fn quantized<B: Backend>(&self, device: &B::Device) -> QuantizedWeight<B> {
        let (groups, outputs) = (self.matrix.groups(), self.matrix.outputs());
        let codes: Vec<f32> = self.matrix.codes().into_iter().map(f32::from).collect();
        let shape = [groups, self.matrix.inputs() / groups, outputs];
        let scales = TensorData::new(self.matrix.scales(), [groups, 1, outputs]);
        let scale = Tensor::<B, 3>::from_data(scales, device);
        QuantizedWeight {
            codes: Tensor::from_data(TensorData::new(codes, shape), device),
            scale: if self.scales_of_outputs { scale } else { scale.narrow(2, 0, 1) },
        }
    }

    /// What stands in the place of the latent weight: of its shape, and the effective weight once
    /// it is read.
    pub(super) fn stand_in<B: Backend>(
        &self,
        id: ParamId,
        device: &B::Device,
    ) -> Param<Tensor<B, 2>> {
        let shape = Shape::from([self.matrix.inputs(), self.matrix.outputs()]);
        let this = self.clone();
        let unpack = move |device: &B::Device, _| this.quantized(device).dequantize();
        Param::uninitialized(id, unpack, device.clone(), false, shape)
    }

    /// The product with inputs that [`absmax_int8`](crate::quant::absmax_int8) has quantised token
    /// by token, on the packed weights themselves; `None` where tensors are not in the memory of
    /// the CPU.
    ///
    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - output: `[tokens, outputs]`
    pub(super) fn product<B: Backend>(&self, x: &Tensor<B, 2>) -> Option<Tensor<B, 2>> {
        if !is_on_cpu::<B>() {
            return None;
        }
        let [tokens, _] = x.dims();
        let device = x.device();
        let x = x.to_data();
        let x = x.as_slice::<f32>().ok()?;
        // Exactly the codes once more: the largest is always 127, or the magnitude always at its
        // lower bound, so that the scale comes out the same but for rounding.
        let mut activations = Activations::new(self.matrix.inputs(), self.matrix.groups());
        activations.quantize(x);
        let mut y = vec![0.0; tokens * self.matrix.outputs()];
        self.matrix.multiply(&activations, &mut y);
        Some(Tensor::from_data(TensorData::new(y, [tokens, self.matrix.outputs()]), &device))
    }
}

/// Whether `B` computes on the CPU without a record of gradients: its tensors are then plain
/// memory.
fn is_on_cpu<B: Backend>() -> bool {
    let backend = TypeId::of::<B>();
    let known: &[TypeId] = &[
        #[cfg(feature = "flex")]
        TypeId::of::<burn_flex::Flex>(),
        #[cfg(feature = "ndarray")]
        TypeId::of::<burn_ndarray::NdArray>(),
    ];
    known.contains(&backend)
}
