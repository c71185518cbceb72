//! GGUF files, as a store of tensors and as a model.

#![no_main]

use std::fs;

use bitnet::{
    formats::gguf::Gguf, packed::TableFormat, pretrained::CheckpointReader, progress::Silent,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bitnet_fuzz::let_caught_panics_be(), |bytes: &[u8]| {
    let file = tempfile::Builder::new().suffix(".gguf").tempfile().expect("a temporary file");
    fs::write(file.path(), bytes).expect("a written file");
    if let Ok(file) = Gguf::open(file.path()) {
        for name in file.store.names() {
            let tensor = file.store.tensor(name).expect("it was named");
            drop((tensor.floats(), tensor.inner_scale()));
        }
    }
    if let Ok(stored) = CheckpointReader::open(file.path()) {
        drop(stored.pack(TableFormat::Int8, &Silent));
    }
});
