//! Loads a trained model and continues a text.
//!
//! Run with `cargo run --release --example inference -- runs/quickstart/model`, after
//! training one.

use std::{env, error::Error, path::PathBuf};

use bitnet::{generate::GenerationConfig, pretrained::FloatModel};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).unwrap_or_else(|| "runs/quickstart/model".into());
    let model = FloatModel::<burn_flex::Flex>::load(&PathBuf::from(folder), &Default::default())?;
    let config = GenerationConfig { max_tokens: 512, ..GenerationConfig::default() };
    let prompt = "The dog jumped over the ";
    println!("{prompt}{}", model.generate(prompt, &config)?);
    Ok(())
}
