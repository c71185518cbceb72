//! The logits of a model, for comparison with other programs:
//!
//! ```text
//! echo "[1, 2, 3]" | cargo run --release --example logits -- MODEL GREEDY
//! ```
//!
//! Reads token ids from standard input. Prints JSON: the logits at each of them and the GREEDY most
//! probable tokens that follow one after the other, by the packed engine with tables of 32 bits and
//! by the float model.

use std::{env, error::Error, io, path::Path};

use bitnet::{
    BitNetTransformer,
    engine::Engine,
    packed::TableFormat,
    pretrained::{CheckpointReader, FloatModel},
    progress::Silent,
};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use serde_json::{Value, json};

type B = burn_flex::Flex;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(path), Some(greedy)) = (args.next(), args.next()) else {
        return Err("usage: logits MODEL GREEDY < tokens.json".into());
    };
    let (path, greedy) = (Path::new(&path), greedy.parse()?);
    let tokens: Vec<u32> = serde_json::from_reader(io::stdin())?;
    let packed = CheckpointReader::open(path)?.pack(TableFormat::F32, &Silent)?.model;
    let float = FloatModel::<B>::load(path, &Default::default())?.model;
    let value = json!({
        "packed": of_engine(&packed, &tokens, greedy)?,
        "float": of_model(&float, &tokens, greedy)?,
    });
    println!("{value}");
    Ok(())
}

fn of_engine(engine: &Engine, tokens: &[u32], greedy: usize) -> Result<Value, Box<dyn Error>> {
    let mut cache = engine.new_cache();
    let logits = engine.forward(&mut [(&mut cache, tokens)])?;
    let rows: Vec<&[f32]> = logits.chunks(engine.config().num_tokens).collect();
    let mut next = best(rows[rows.len() - 1]);
    let mut text = vec![next];
    while text.len() < greedy {
        next = best(&engine.forward_next(&mut [(&mut cache, &[next])])?);
        text.push(next);
    }
    Ok(json!({"logits": rows, "greedy": text}))
}

fn of_model<B: Backend>(
    model: &BitNetTransformer<B>,
    tokens: &[u32],
    greedy: usize,
) -> Result<Value, Box<dyn Error>> {
    let mut cache = model.new_cache(1);
    let mut forward = |tokens: &[u32]| -> Result<Vec<f32>, Box<dyn Error>> {
        let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
        let ids = TensorData::new(ids, [1, tokens.len()]);
        let ids = Tensor::<B, 2, Int>::from_data(ids, &Default::default());
        Ok(model.forward_cached(ids, &mut cache)?.into_data().iter::<f32>().collect())
    };
    let logits = forward(tokens)?;
    let rows: Vec<&[f32]> = logits.chunks(model.config().num_tokens).collect();
    let mut next = best(rows[rows.len() - 1]);
    let mut text = vec![next];
    while text.len() < greedy {
        next = best(&forward(&[next])?);
        text.push(next);
    }
    Ok(json!({"logits": rows, "greedy": text}))
}

/// The token of the highest logit, the first of them.
fn best(logits: &[f32]) -> u32 {
    let highest = logits.iter().fold(f32::NEG_INFINITY, |max, &logit| max.max(logit));
    logits.iter().position(|&logit| logit == highest).unwrap_or(0) as u32
}
