use std::collections::HashMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Tensor, TensorPrimitive, backend::Backend},
};

/// A step of an exponential moving average of a module's parameters:
/// `decay · average + (1 − decay) · module`. Both must have the same parameters, with the same
/// ids; others keep the average's value.
pub fn moving_average<B: Backend, M: Module<B>>(average: M, module: &M, decay: f64) -> M {
    let mut values = Values::<B>(HashMap::new());
    module.visit(&mut values);
    average.map(&mut Average { values, decay })
}

struct Values<B: Backend>(HashMap<ParamId, TensorPrimitive<B>>);

impl<B: Backend> ModuleVisitor<B> for Values<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.insert(param.id, param.val().into_primitive());
    }
}

struct Average<B: Backend> {
    values: Values<B>,
    decay: f64,
}

impl<B: Backend> ModuleMapper<B> for Average<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(value) = self.values.0.remove(&param.id) else { return param };
        let value = Tensor::<B, D>::from_primitive(value);
        let (id, average, mapper) = param.consume();
        let average = average.mul_scalar(self.decay) + value.mul_scalar(1.0 - self.decay);
        Param::from_mapped_value(id, average, mapper)
    }
}
