//! Chat templates that are not meant well.

use std::time::Instant;

use bitnet::chat::{ChatTemplate, Message, Role};
use proptest::prelude::*;

use crate::{CONSTANT, cases, memory};

/// Templates that want more time, memory or stack than there is, or to be more than a text.
#[test]
fn templates_end() {
    let _turn = memory::turn();
    let long = |part: &str, times: usize| part.repeat(times);
    let nested = |times| format!("{}ns.x{}", long("[", times), long("]", times));
    let doubled = "{% set ns = namespace(x=['a']) %}{% for i in range(99) %}";
    let texts = [
        "{% for i in range(1000000000000) %}{% endfor %}".into(),
        "{% for i in range(9999) %}{% for j in range(9999) %}{{ i }}{% endfor %}{% endfor %}"
            .into(),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".into(),
        "{% macro m() %}{% for i in range(9) %}{{ m() }}{% endfor %}{% endmacro %}{{ m() }}".into(),
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}".into(),
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}".into(),
        "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a == ns.a }}".into(),
        "{% set ns = namespace() %}{% set ns.a = {'a': ns} %}{{ ns.a | string }}".into(),
        format!("{doubled}{{% set ns.x = [ns.x, ns.x] %}}{{% endfor %}}{{{{ ns.x == [ns.x] }}}}"),
        format!("{doubled}{{% set ns.x = ns.x + ns.x %}}{{% endfor %}}{{{{ ns.x | join }}}}"),
        format!("{doubled}{{% set ns.x = {} %}}{{% endfor %}}{{{{ ns.x }}}}", nested(60)),
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}\
         {% endfor %}"
            .into(),
        "{{ 'a' * 1000000000000 }}".into(),
        "{% set x = 'a' * 4000000 %}{{ [x, x, x, x, x, x, x, x, x, x] | join(x) }}".into(),
        "{% set x = 'a' * 1000000 %}{{ x.replace('a', x) }}".into(),
        "{% set x = 'a' * 1000000 %}{{ x.split('a') | length }}".into(),
        "{% set x = 'a' * 1000000 %}{% for i in range(100000) %}{{ x.count('b') }}{% endfor %}"
            .into(),
        "{{ '%1000000000d' % 1 }}{{ '{:>1000000000}'.format('a') }}".into(),
        "{{ 9223372036854775807 + 1 }}".into(),
        "{{ 2 ** 100000000 }}".into(),
        format!("{{{{ {}1{} }}}}", long("(", 30_000), long(")", 30_000)),
        format!("{{{{ {}1{} }}}}", long("[", 30_000), long("]", 30_000)),
        long("{% if 1 %}", 6_000),
        long("{% for a in 'aa' %}", 3_000),
        long("{{", 30_000),
        long("a", 1 << 20),
        "{{ messages[0].content }}".repeat(2_000),
        "{% for i in range(100000) %}{{ messages[0].content }}{% endfor %}".into(),
        format!("{{{{ [0]{} }}}}", long("[0]", 20_000)),
        "{% set \u{fdd0} = 1 %}\u{fdd0}aB\"0".into(),
        "{{ raise_exception('\u{1b}[2J' * 100000) }}".into(),
    ];
    // Deep, but right.
    let deep = [
        format!("{{{{ 1{} }}}}", long("+1", 30_000)),
        format!("{{{{ x{} }}}}", long("|d", 30_000)),
        format!("{{{{ {}1 }}}}", long("-", 60_000)),
        format!("{{{{ {}1 }}}}", long("not ", 15_000)),
    ];
    let prompt = "a text".repeat(1 << 16);
    let messages = [Message::new(Role::User, &prompt[..])];
    for source in texts.iter().chain(&deep) {
        let shown: String = source.chars().take(60).collect();
        let template = ChatTemplate::new(&source[..], "<s>", "</s>");
        let start = Instant::now();
        let (made, peak) = memory::peak(|| template.render(&messages));
        let seconds = start.elapsed().as_secs_f64();
        assert!(seconds < 20.0 && peak < CONSTANT, "{shown}: {seconds} s, {peak} bytes");
        assert_eq!(made.is_ok(), deep.contains(source), "{shown}");
        if let Err(error) = made {
            let line = error.to_string();
            assert!(line.len() < 1 << 12 && !line.contains(char::is_control), "{shown}: {line}");
        }
    }
}

/// Texts made of the language's own words.
#[test]
fn any_text_is_a_template_or_none() {
    let _turn = memory::turn();
    let words = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{%-",
        "-%}",
        "{#",
        "#}",
        " ",
        "\n",
        "for",
        "in",
        "if",
        "else",
        "endif",
        "endfor",
        "set",
        "endset",
        "macro",
        "endmacro",
        "m",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        ":",
        "|",
        "~",
        "+",
        "-",
        "*",
        "//",
        "%",
        "==",
        "<",
        "not",
        "and",
        "or",
        "is",
        "=",
        "'a'",
        "\"",
        "0",
        "99999999999999999999",
        "1.5",
        "x",
        "ns",
        "namespace",
        "messages",
        "content",
        "loop",
        "range",
        "trim",
        "join",
        "defined",
        "raw",
        "endraw",
        "with",
        "endwith",
        "break",
        "continue",
        "raise_exception",
        "call",
        "filter",
        "ñ",
        "\u{fdd0}",
        "\0",
    ];
    let source = prop::collection::vec(prop::sample::select(words.to_vec()), 0..40);
    let messages = [Message::new(Role::User, "a")];
    proptest!(cases(2000), |(source in source, spaced: bool)| {
        let source = source.join(if spaced { " " } else { "" });
        let (_, peak) = memory::peak(|| {
            drop(ChatTemplate::new(&source[..], "<s>", "</s>").render(&messages));
        });
        assert!(peak < CONSTANT);
    });
}
