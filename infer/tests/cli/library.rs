//! The library that the program uses.

use std::path::Path;

use bitnet::{
    chat::{Message, Role},
    generate::{CausalLm, GenerateError, GenerationConfig, Sampling},
    packed::TableFormat,
    pretrained::TextModel,
    progress::Silent,
};
use infer::{
    Chat, LoadError, LoadOptions, Loaded, PackOptions, SessionError, load, load_float, load_packed,
};

use crate::common::{B, Folder};

fn greedy() -> GenerationConfig {
    GenerationConfig { max_tokens: 10, sampling: Sampling::greedy(), ..Default::default() }
}

/// Answers of a chat, each of which is what a new reading of all turns makes.
fn chats<M: CausalLm>(model: &TextModel<M>) {
    let mut chat = Chat::new(model, Some("Be brief."), greedy()).expect("a template");
    let mut forgotten = 0;
    for question in ["Hello", "And you?", "Why?", "What else is there to be said?", "Bye"] {
        let mut answer = chat.ask(question).expect("an answer");
        forgotten += answer.forgotten();
        let text: String = answer.by_ref().map(|piece| piece.expect("a piece")).collect();
        answer.keep();
        let turns = chat.turns().to_vec();
        assert_eq!(
            (turns[turns.len() - 2].content.as_str(), &turns[turns.len() - 1].content),
            (question, &text)
        );
        let mut fresh = Chat::new(model, Some("Be brief."), greedy()).expect("a template");
        for [asked, answered] in turns[..turns.len() - 2].as_chunks::<2>().0 {
            fresh.tell(&asked.content, &answered.content);
        }
        let again: String =
            fresh.ask(question).expect("an answer").map(|piece| piece.expect("a piece")).collect();
        assert_eq!(text, again, "{question}");
    }
    assert!(forgotten > 0, "the turns fill the context");
    // What is not kept is not said, and what is too long changes nothing.
    let before = chat.turns().to_vec();
    drop(chat.ask("Never mind"));
    let error = chat.ask(&"a".repeat(2000)).err().expect("a question that is too long");
    assert!(error.is_too_long(), "{error}");
    assert!(matches!(error, SessionError::Generate(GenerateError::PromptTooLong { max: 128, .. })));
    assert!(chat.turns().len() <= before.len());
}

#[test]
fn what_was_read_is_not_read_again_and_changes_nothing() {
    let folder = Folder::chat(128);
    let path = folder.path("model");
    chats(&load_packed(&path, PackOptions::default(), &Silent).expect("a packed model"));
    chats(&load_float::<B>(&path, &Default::default()).expect("a model"));
}

#[test]
fn each_turn_draws_anew_and_the_same_seed_chats_the_same() {
    let folder = Folder::chat(128);
    let model =
        load_packed(&folder.path("model"), PackOptions::default(), &Silent).expect("a model");
    let config = |seed| GenerationConfig {
        max_tokens: 20,
        // All but uniform: what two turns have in common is their draws.
        sampling: Sampling { temperature: 1e5, seed, ..Sampling::default() },
        ..Default::default()
    };
    // The same question in the same situation, as no answer is kept.
    let answers = |seed| {
        let mut chat = Chat::new(&model, None, config(seed)).expect("a template");
        [(); 3].map(|()| {
            let answer = chat.ask("Hello").expect("an answer");
            answer.map(|piece| piece.expect("a piece")).collect::<String>()
        })
    };
    let [first, second, third] = answers(3);
    assert!(first != second && second != third && first != third, "{first} {second} {third}");
    assert_eq!(answers(3), [first.clone(), second.clone(), third]);
    assert_ne!(answers(4)[0], second);

    let tokenizer = model.tokenizer.as_ref();
    let prompt = model.settings.chat_prompt(&[Message::new(Role::User, "Hello")], tokenizer);
    let template = model.settings.chat.as_ref().expect("a template");
    let stop_tokens = template.end_of_turn(tokenizer).into_iter().collect();
    let config = GenerationConfig { stop_tokens, ..config(3) };
    let alone = model.generate(prompt.expect("a prompt"), &config).expect("a generation");
    assert_eq!(alone, first);
}

#[test]
fn models_are_packed_where_they_can_be() {
    let folder = Folder::chat(128);
    let path = folder.path("model");
    let device = Default::default();
    let loaded = |path: &Path, options| load::<B>(path, &device, options, &Silent);
    let options = LoadOptions::default();
    assert!(matches!(loaded(&path, options), Ok(Loaded::NewlyPacked(_))));
    for options in
        [LoadOptions { float: true, ..options }, LoadOptions { off_cpu: true, ..options }]
    {
        assert!(matches!(loaded(&path, options), Ok(Loaded::Float(_, None))));
    }

    let packed = folder.path("packed");
    let model = load_packed(&path, PackOptions::default(), &Silent).expect("a packed model");
    model.save(packed.as_path()).expect("a packed folder");
    assert!(matches!(loaded(&packed, options), Ok(Loaded::Packed(_))));
    let error = loaded(&packed, LoadOptions { off_cpu: true, ..options }).err();
    assert!(matches!(error, Some(LoadError::PackedOffCpu)));
    let packing = PackOptions { head: Some(TableFormat::Bf16), ..Default::default() };
    let error = loaded(&packed, LoadOptions { packing, ..options }).err().expect("an error");
    assert!(matches!(error, LoadError::OtherHead { actual: TableFormat::Int8, .. }), "{error}");
    assert!(matches!(loaded(&folder.path("none"), options).err(), Some(LoadError::Model { .. })));
}
