//! Chat templates, for a chat of all roles.

#![no_main]

use bitnet::{
    chat::{ChatTemplate, Message, Role},
    tokenizer::ByteTokenizer,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let messages = [
        Message::new(Role::System, " Be brief.\n"),
        Message::new(Role::User, "What?"),
        Message::new(Role::Assistant, ""),
        Message::new(Role::User, "a\nb"),
    ];
    let template = ChatTemplate::new(source, "<s>", "</s>");
    drop(template.encode(&messages, &ByteTokenizer));
});
