//! Lines of JSON, and the same as the values of a JSON file.

#![no_main]

use bitnet::{
    data::{Corpus, DataOptions},
    progress::Silent,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bitnet_fuzz::let_caught_panics_be(), |bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = DataOptions { text_field: "a.b".into(), skip_bad: 100, ..DataOptions::default() };
    for name in ["lines.jsonl", "values.json"] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a written file");
        let source = path.to_str().expect("a name of UTF-8");
        let Ok(corpus) = Corpus::open(&[source], &options, &Silent) else { continue };
        for chunk in corpus.chunks(&Silent) {
            let Ok(chunk) = chunk else { break };
            assert!(std::str::from_utf8(&chunk.text).is_ok());
        }
    }
});
