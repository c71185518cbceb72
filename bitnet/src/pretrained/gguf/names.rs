use crate::{formats::Store, nn::schema::TensorId, pretrained::PretrainedError};

/// The tensors under the names of Hugging Face checkpoints.
pub(in crate::pretrained) fn renamed(mut store: Store) -> Result<Store, PretrainedError> {
    let names: Vec<String> = store.names().map(String::from).collect();
    for name in names {
        let tensor = TensorId::of_gguf_name(&name);
        if !tensor.is_some_and(|tensor| store.rename(&name, tensor.hf_name())) {
            return Err(PretrainedError::UnexpectedTensor(name));
        }
    }
    Ok(store)
}
