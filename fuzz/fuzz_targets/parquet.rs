//! Parquet files of texts.

#![no_main]

use bitnet::{
    data::{Corpus, DataOptions},
    progress::Silent,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bitnet_fuzz::let_caught_panics_be(), |bytes: &[u8]| {
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("a written file");
    // A small piece, so that one that is too large is found soon.
    let options = DataOptions { piece_mib: 4, ..DataOptions::default() };
    let source = file.path().to_str().expect("a name of UTF-8");
    let Ok(corpus) = Corpus::open(&[source], &options, &Silent) else { return };
    // What a few bytes stand for may be long.
    for chunk in corpus.chunks(&Silent).take(1000) {
        let Ok(chunk) = chunk else { return };
        assert!(std::str::from_utf8(&chunk.text).is_ok());
    }
});
