//! Headers of safetensors, and the rows of what they describe.

#![no_main]

use std::fs;

use bitnet::formats::Store;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bitnet_fuzz::let_caught_panics_be(), |bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("a written file");
    let Ok(store) = Store::safetensors(file.path()) else { return };
    for name in store.names() {
        let tensor = store.tensor(name).expect("it was named");
        drop(tensor.floats());
    }
});
