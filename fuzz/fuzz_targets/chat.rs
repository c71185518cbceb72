//! Chat templates, for a chat of all roles.

#![no_main]

use bitnet::{
    chat::{ChatTemplate, Message, Role},
    tokenizer::ByteTokenizer,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: bitnet_fuzz::let_caught_panics_be(), |source: &str| {
    let messages = [
        Message::new(Role::System, " Be brief.\n"),
        Message::new(Role::User, "What?"),
        Message::new(Role::Assistant, ""),
        Message::new(Role::User, "a\nb"),
    ];
    let template = ChatTemplate::new(source, "<s>", "</s>");
    drop(template.encode(&messages, &ByteTokenizer));
});
