//! `config.json`, beside the weights of a small model.

#![no_main]

use std::{fs, path::Path};

use bitnet::{
    packed::TableFormat,
    pretrained::CheckpointReader,
    progress::Silent,
    tokenizer::{ByteTokenizer, Tokenizer},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bitnet_fuzz::let_caught_panics_be(), |bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let weights = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../bitnet/tests/golden/interop/packed/model.safetensors");
    fs::copy(weights, folder.path().join("model.safetensors")).expect("a copied file");
    fs::write(folder.path().join("tokenizer.json"), ByteTokenizer.to_json()).expect("a file");
    fs::write(folder.path().join("config.json"), bytes).expect("a written file");
    if let Ok(stored) = CheckpointReader::open(folder.path()) {
        drop(stored.pack(TableFormat::Int8, &Silent));
    }
});
