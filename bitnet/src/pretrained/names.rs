use crate::nn::schema::TensorId;

/// Follows a walk over a transformer and knows which tensor the parameter is that it is at: fields
/// of modules are named as in Hugging Face checkpoints.
#[derive(Debug, Default)]
pub(super) struct Walk {
    path: Vec<String>,
}

impl Walk {
    pub(super) fn enter(&mut self, name: &str) {
        self.path.push(name.into());
    }

    pub(super) fn exit(&mut self) {
        self.path.pop();
    }

    /// The tensor of the parameter that the walk is at.
    pub(super) fn tensor(&self) -> TensorId {
        let path = self.path.join(".");
        TensorId::of_hf_name(&path)
            .or_else(|| TensorId::of_hf_name(&format!("model.{path}")))
            .unwrap_or_else(|| unreachable!("no tensor of the schema is at {path}"))
    }
}
