//! Generated text: what it is, where it ends, and when there is none.

use crate::common::{assert_close, for_each_backend, is_tf32, of_models, values};
use bitnet::{
    BitNetTransformer, BitNetTransformerConfig, ModelError,
    generate::{
        CausalLm, FinishReason, GenerateError, Generation, GenerationBatch, GenerationConfig,
        Sampling,
    },
    pretrained::{FloatModel, WeightDtype, save},
    tokenizer::ByteTokenizer,
};
use burn::{
    module::Param,
    tensor::{Tensor, TensorData, backend::Backend},
};

for_each_backend!(
    greedy_text_is_that_of_the_full_forward,
    sequences_together_are_each_as_alone,
    a_prefix_is_not_read_again,
    texts_together_are_each_as_alone,
    the_seed_decides,
    pieces_make_the_text,
    a_stop_text_ends_it,
    no_tokens_are_no_text,
    unusable_prompts_and_samplings_are_errors,
    a_broken_model_is_an_error,
);

const CONTEXT: usize = 16;
const PROMPT: &str = "Bits: ";

fn model<B: Backend>() -> BitNetTransformer<B> {
    let config = BitNetTransformerConfig {
        max_seq_len: CONTEXT,
        ff_dim: 24,
        init_std: 0.5,
        ..BitNetTransformerConfig::new(256, 16, 2).with_heads(4).with_kv_heads(2).with_dim_head(4)
    };
    config.init_seeded(21, &Default::default()).unwrap()
}

fn start<'a, B: Backend>(
    model: &'a BitNetTransformer<B>,
    prompt: &str,
    config: &GenerationConfig,
) -> Result<Generation<'a, BitNetTransformer<B>>, GenerateError> {
    Generation::new(model, &ByteTokenizer, prompt, config)
}

fn generate<B: Backend>(
    model: &BitNetTransformer<B>,
    prompt: &str,
    config: &GenerationConfig,
) -> Result<String, GenerateError> {
    start(model, prompt, config)?.collect()
}

fn greedy(max_tokens: usize) -> GenerationConfig {
    GenerationConfig { max_tokens, sampling: Sampling::greedy(), ..GenerationConfig::default() }
}

/// The bytes that the model finds most probable, each by a forward pass over the whole context,
/// whose older half is dropped once it is full.
fn reference<B: Backend>(model: &BitNetTransformer<B>, prompt: &str, count: usize) -> Vec<u8> {
    let mut bytes = prompt.as_bytes().to_vec();
    let mut start = 0;
    for _ in 0..count {
        if bytes.len() - start > CONTEXT {
            start = bytes.len() - CONTEXT / 2;
        }
        let ids: Vec<i32> = bytes[start..].iter().map(|&byte| byte.into()).collect();
        let ids = TensorData::new(ids, [1, bytes.len() - start]);
        let logits = model.forward(Tensor::from_data(ids, &Default::default())).unwrap();
        let last = values(logits);
        let last = &last[last.len() - 256..];
        let best = (0..256).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
        bytes.push(best as u8);
    }
    bytes.split_off(prompt.len())
}

fn greedy_text_is_that_of_the_full_forward<B: Backend>() {
    let model = model::<B>();
    // Within the context, and several times its length.
    for count in [1, CONTEXT - PROMPT.len(), 60] {
        let expected = reference(&model, PROMPT, count);
        let text = generate(&model, PROMPT, &greedy(count)).unwrap();
        assert_eq!(text, String::from_utf8_lossy(&expected), "{count} tokens");
    }
    // A prompt that fills the context.
    let prompt = "0123456789abcdef";
    let expected = reference(&model, prompt, 20);
    let text = generate(&model, prompt, &greedy(20)).unwrap();
    assert_eq!(text, String::from_utf8_lossy(&expected));
}

/// Sequences of other lengths, at other positions, and one without a new token.
fn sequences_together_are_each_as_alone<B: Backend>() {
    let model = model::<B>();
    let sequences: [&[u32]; 4] = [&[7, 200, 3, 4, 5], &[], &[9, 9, 9, 9, 9, 9, 9], &[1, 2]];
    let alone = sequences.map(|tokens| {
        let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
        let ids = TensorData::new(ids, [1, tokens.len()]);
        match tokens.len() {
            0 => Vec::new(),
            _ => values(model.forward(Tensor::from_data(ids, &Default::default())).unwrap()),
        }
    });
    let near = |a: &[f32], b: &[f32]| assert_close(a, b, of_models(1e-4), "logits");
    let mut caches = [(); 4].map(|()| model.empty_cache());
    let mut batch: Vec<_> = caches.iter_mut().zip(sequences).collect();
    near(&model.all_logits(&mut batch).unwrap(), &alone.concat());
    assert_eq!(caches.each_ref().map(|cache| cache.len()), sequences.map(<[u32]>::len));

    // In two parts, from which on the positions differ.
    let mut caches = [(); 4].map(|()| model.empty_cache());
    let halves = sequences.map(|tokens| tokens.split_at(tokens.len() / 2));
    let mut batch: Vec<_> = caches.iter_mut().zip(halves.map(|(first, _)| first)).collect();
    model.next_logits(&mut batch).unwrap();
    let mut batch: Vec<_> = caches.iter_mut().zip(halves.map(|(_, second)| second)).collect();
    let next = model.next_logits(&mut batch).unwrap();
    let last: Vec<&[f32]> = alone
        .iter()
        .filter(|rows| !rows.is_empty())
        .map(|rows| &rows[rows.len() - 256..])
        .collect();
    near(&next, &last.concat());

    assert!(model.next_logits(&mut []).unwrap().is_empty());
    let error = model.next_logits(&mut [(&mut model.empty_cache(), &[256])]).unwrap_err();
    assert!(matches!(error, ModelError::UnknownToken { token: 256, max: 256 }));
    let long = [0; CONTEXT + 1];
    let error = model.next_logits(&mut [(&mut model.empty_cache(), &long)]).unwrap_err();
    assert!(matches!(error, ModelError::MaxSequenceLengthExceeded { actual: 17, max: 16 }));
    let error = model.next_logits(&mut [(&mut model.new_cache(2), &[1])]).unwrap_err();
    assert!(matches!(error, ModelError::CacheBatchMismatch { cached: 2, actual: 1 }));
}

/// What the tokens of a text were read for need not be read again, and does not change the text.
fn a_prefix_is_not_read_again<B: Backend>() {
    let model = model::<B>();
    let mut first = start(&model, PROMPT, &greedy(4)).unwrap();
    let text: Vec<String> = first.by_ref().map(Result::unwrap).collect();
    let read = first.into_prefix();
    // The last token is drawn, not read.
    assert_eq!(read.tokens().len(), PROMPT.len() + 3);
    assert!(!text.is_empty());

    for (prompt, common) in [("Bits: ab", 6), ("Bits", 3), ("bits", 0)] {
        let expected = generate(&model, prompt, &greedy(5)).unwrap();
        let stream =
            Generation::after(read.clone(), &model, &ByteTokenizer, prompt, &greedy(0)).unwrap();
        assert_eq!(stream.into_prefix().tokens().len(), common, "{prompt}");
        let stream =
            Generation::after(read.clone(), &model, &ByteTokenizer, prompt, &greedy(5)).unwrap();
        assert_eq!(stream.collect::<Result<String, _>>().unwrap(), expected, "{prompt}");
    }
}

/// Texts of other prompts and lengths, one of which comes later and another of which goes early.
fn texts_together_are_each_as_alone<B: Backend>() {
    let model = model::<B>();
    let seeded = GenerationConfig { max_tokens: 30, ..GenerationConfig::default() };
    let cases =
        [("In", greedy(9)), ("Bits and bytes", greedy(40)), ("x", seeded), (PROMPT, greedy(0))];
    let mut batch = GenerationBatch::new(&model, &ByteTokenizer);
    let mut texts = Vec::new();
    for (prompt, config) in &cases {
        texts.push((batch.push(*prompt, config).unwrap(), String::new()));
        for (id, piece) in batch.step().unwrap() {
            let text = texts.iter_mut().find(|(other, _)| *other == id).unwrap();
            text.1 += &piece.unwrap();
        }
    }
    assert!(matches!(batch.push("", &greedy(1)), Err(GenerateError::EmptyPrompt)));
    let gone = batch.push("gone", &greedy(40)).unwrap();
    batch.step().unwrap().into_iter().for_each(|(id, piece)| {
        let text = texts.iter_mut().find(|(other, _)| *other == id);
        text.into_iter().for_each(|(_, text)| *text += piece.as_ref().unwrap());
    });
    assert_eq!(batch.remove(gone).unwrap().tokens().len(), 4);
    assert!(batch.remove(gone).is_none());
    while !batch.is_finished() {
        for (id, piece) in batch.step().unwrap() {
            texts.iter_mut().find(|(other, _)| *other == id).unwrap().1 += &piece.unwrap();
        }
    }
    for ((prompt, config), (id, text)) in cases.iter().zip(&texts) {
        let mut alone = start(&model, prompt, config).unwrap();
        let expected: String = alone.by_ref().map(Result::unwrap).collect();
        assert!(is_tf32() || *text == expected, "{prompt}: {text:?} {expected:?}");
        assert_eq!(batch.finish_reason(*id), alone.finish_reason());
        assert_eq!(batch.generated(*id), Some(alone.generated()));
    }
}

fn the_seed_decides<B: Backend>() {
    let model = model::<B>();
    let text = |seed| {
        let sampling = Sampling { seed, ..Sampling::default() };
        generate(&model, PROMPT, &GenerationConfig { sampling, ..greedy(40) }).unwrap()
    };
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

fn pieces_make_the_text<B: Backend>() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("model");
    save(&path, &model::<B>(), &ByteTokenizer, WeightDtype::F32).unwrap();
    let pretrained = FloatModel::<B>::load(&path, &Default::default()).unwrap();

    let config = GenerationConfig { max_tokens: 50, ..GenerationConfig::default() };
    let mut stream = pretrained.stream(PROMPT, &config).unwrap();
    let pieces: Vec<String> = stream.by_ref().map(Result::unwrap).collect();
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| !piece.is_empty()), "{pieces:?}");
    assert_eq!(stream.generated(), 50);
    assert_eq!(stream.finish_reason(), Some(FinishReason::Length));
    assert!(stream.next().is_none());
    assert_eq!(pieces.concat(), pretrained.generate(PROMPT, &config).unwrap());
}

fn a_stop_text_ends_it<B: Backend>() {
    let model = model::<B>();
    let all = generate(&model, PROMPT, &greedy(40)).unwrap();
    // Two characters from the middle, which may stand earlier, too.
    let stop: String = all.chars().skip(10).take(2).collect();
    let end = all.find(&stop).unwrap();

    let config = GenerationConfig { stop: vec!["not in it".into(), stop], ..greedy(40) };
    let mut stream = start(&model, PROMPT, &config).unwrap();
    let text: String = stream.by_ref().map(Result::unwrap).collect();
    assert_eq!(text, all[..end]);
    assert_eq!(stream.finish_reason(), Some(FinishReason::Stop));
    assert!(stream.generated() < 40);

    // The start of a stop text that does not come is part of the text.
    let last = all.chars().last().unwrap();
    let config = GenerationConfig { stop: vec![format!("{last}\n{last}\n{last}")], ..greedy(40) };
    assert_eq!(generate(&model, PROMPT, &config).unwrap(), all);
}

fn no_tokens_are_no_text<B: Backend>() {
    let model = model::<B>();
    let mut stream = start(&model, PROMPT, &greedy(0)).unwrap();
    assert!(stream.next().is_none());
    assert_eq!(stream.finish_reason(), Some(FinishReason::Length));
    assert_eq!(stream.generated(), 0);
}

fn unusable_prompts_and_samplings_are_errors<B: Backend>() {
    let model = model::<B>();
    let error = generate(&model, "", &greedy(1)).unwrap_err();
    assert!(matches!(error, GenerateError::EmptyPrompt));
    let error = generate(&model, "0123456789abcdefg", &greedy(1)).unwrap_err();
    assert!(matches!(error, GenerateError::PromptTooLong { actual: 17, max: 16 }));
    let sampling = Sampling { top_p: 1.5, ..Sampling::default() };
    let config = GenerationConfig { sampling, ..greedy(1) };
    let error = generate(&model, PROMPT, &config).unwrap_err();
    assert!(matches!(error, GenerateError::InvalidSampling { name: "top-p", .. }));
}

fn a_broken_model_is_an_error<B: Backend>() {
    let mut model = model::<B>();
    model.norm.weight = Param::from_tensor(model.norm.weight.val() * f32::NAN);
    let mut stream = start(&model, PROMPT, &greedy(5)).unwrap();
    assert!(matches!(stream.next(), Some(Err(GenerateError::NonFinite))));
    assert!(stream.next().is_none());
    assert_eq!(stream.finish_reason(), Some(FinishReason::Error));
}
