//! `tokenizer.json`.

#![no_main]

use bitnet::tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bitnet_fuzz::let_caught_panics_be(), |text: &str| {
    if let Ok(tokenizer) = tokenizer::from_json(text) {
        if let Ok(tokens) = tokenizer.encode(b"BitNet \xff 1.58") {
            drop(tokenizer.decode(&tokens));
        }
    }
});
