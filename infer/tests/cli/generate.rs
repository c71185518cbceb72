//! `infer generate`, against the library.

use crate::common::{CONTEXT, Folder, build, config, run};
use bitnet::{
    backend::{BackendKind, BackendVisitor, DeviceChoice},
    generate::{GenerationConfig, Sampling},
    packed::TableFormat,
    pretrained::{FloatModel, WeightDtype},
    quant::WeightQuant,
};
use burn::tensor::backend::Backend;

const PROMPT: &str = "In the beginning";

/// What the binary should print for [`PROMPT`].
fn expected(folder: &Folder, tokens: usize, sampling: Sampling, stop: &[&str]) -> String {
    let stop = stop.iter().map(ToString::to_string).collect();
    let config =
        GenerationConfig { max_tokens: tokens, sampling, stop, ..GenerationConfig::default() };
    let model = folder.load().pack(TableFormat::Int8).expect("a packed model");
    let text = model.generate(PROMPT, &config).expect("a generation");
    format!("{PROMPT}{text}\n")
}

fn generate(folder: &Folder, args: &[&str]) -> String {
    folder.run("generate", &[&["--prompt", PROMPT], args].concat()).stdout()
}

#[test]
fn greedy_is_the_librarys_and_ignores_the_seed() {
    let folder = Folder::new();
    let expected = expected(&folder, 40, Sampling::greedy(), &[]);
    for seed in ["0", "7"] {
        let args = ["--tokens", "40", "--temperature", "0", "--seed", seed];
        assert_eq!(generate(&folder, &args), expected);
    }
}

#[test]
fn a_seed_gives_the_same_text_and_another_seed_another() {
    let folder = Folder::new();
    let text = generate(&folder, &["--seed", "3"]);
    assert_eq!(text, generate(&folder, &["--seed", "3"]));
    assert_ne!(text, generate(&folder, &["--seed", "4"]));
}

#[test]
fn the_seed_is_random_and_said() {
    let folder = Folder::new();
    let draw = |args: &[&str]| {
        let run = folder.run("generate", &[&["--prompt", PROMPT], args].concat());
        let seed = run.stderr.lines().find_map(|line| line.strip_prefix("seed "));
        (seed.map(ToOwned::to_owned), run.stdout())
    };
    let (seed, text) = draw(&[]);
    let seed = seed.expect("a seed on standard error");
    assert_eq!(draw(&["--seed", &seed]), (Some(seed.clone()), text));
    let others = [(); 3].map(|()| draw(&[]).0.expect("a seed"));
    assert!(others.iter().any(|other| *other != seed), "{seed} {others:?}");
    assert_eq!(draw(&["--temperature", "0"]).0, None);
}

#[test]
fn quiet_says_nothing_but_the_text() {
    let folder = Folder::new();
    for args in [&["--quiet"][..], &["-q", "--float"]] {
        let run = folder.run("generate", &[&["--prompt", PROMPT], args].concat());
        assert_eq!(run.stderr, "");
        assert!(run.stdout().starts_with(PROMPT));
    }
}

#[test]
fn flags_have_the_short_forms_of_llama_cpp() {
    let folder = Folder::new();
    let model = folder.arg("model");
    let short =
        ["generate", "-m", &model, "-p", PROMPT, "-n", "30", "-t", "1", "--temperature", "0"];
    let text = run(&short, b"").stdout();
    assert_eq!(text, expected(&folder, 30, Sampling::greedy(), &[]));
    let info = run(&["info", "-m", &model], b"").stdout();
    assert_eq!(info, folder.run("info", &[]).stdout());
    folder.run("generate", &["-p", "a", "-t", "0"]).assert_fails(&["1 to 1024"]);
}

#[test]
fn every_option_reaches_the_sampler() {
    let folder = Folder::new();
    let defaults = Sampling { temperature: 0.8, ..Sampling::default() };
    let cases: [(&[&str], Sampling); 6] = [
        (&[], defaults),
        (&["--temperature", "2"], Sampling { temperature: 2.0, ..defaults }),
        (&["--top-k", "2"], Sampling { top_k: 2, ..defaults }),
        (&["--top-p", "0.6"], Sampling { top_p: 0.6, ..defaults }),
        (&["--min-p", "0.3"], Sampling { min_p: 0.3, ..defaults }),
        (&["--repetition-penalty", "1.9"], Sampling { repetition_penalty: 1.9, ..defaults }),
    ];
    let mut seen = Vec::new();
    for (args, sampling) in cases {
        let text = generate(&folder, &[&["--seed", "0"], args].concat());
        assert_eq!(text, expected(&folder, 200, sampling, &[]), "{args:?}");
        assert!(!seen.contains(&text), "{args:?} changes nothing");
        seen.push(text);
    }
}

#[test]
fn a_text_may_be_longer_than_the_context() {
    let folder = Folder::new();
    let tokens = 5 * CONTEXT;
    let args = ["--prompt", PROMPT, "--tokens", &tokens.to_string(), "--temperature", "0"];
    let run = folder.run("generate", &args);
    let lines: Vec<&str> = run.stderr.lines().collect();
    let [held, speed, full] = lines[..] else { panic!("{}", run.stderr) };
    let parts =
        [format!(" and the text's {tokens} do not fit "), format!("context of {CONTEXT}: ")];
    assert!(parts.iter().all(|part| full.contains(part)), "{full}");
    assert!(held.starts_with("packed in ") && held.contains(" bytes int8 tables"), "{held}");
    assert!(speed.starts_with(&format!("{tokens} tokens in ")), "{speed}");
    assert!(speed.ends_with(" tokens/s)"), "{speed}");
    assert_eq!(run.stdout(), expected(&folder, tokens, Sampling::greedy(), &[]));
}

#[test]
fn no_tokens_give_the_prompt_alone() {
    let run = Folder::new().run("generate", &["--prompt", PROMPT, "--tokens", "0"]);
    assert!(!run.stderr.contains("do not fit"), "{}", run.stderr);
    assert!(run.stderr.ends_with("\n0 tokens in 0.00 s (0.0 tokens/s)\n"), "{}", run.stderr);
    assert_eq!(run.stdout(), format!("{PROMPT}\n"));
}

#[test]
fn the_prompt_comes_from_standard_input_less_one_line_break() {
    let folder = Folder::new();
    let greedy = ["--temperature", "0", "--tokens", "20"];
    for (input, prompt) in [
        ("ab", "ab"),
        ("ab\n", "ab"),
        ("ab\r\n", "ab"),
        ("ab\n\n", "ab\n"),
        ("ab\r\n\r\n", "ab\r\n"),
        ("-\n", "-"),
    ] {
        let piped = folder.run_with_input(
            "generate",
            &[&["--prompt", "-"], &greedy[..]].concat(),
            input.as_bytes(),
        );
        let text = piped.stdout();
        assert!(text.starts_with(prompt));
        if prompt != "-" {
            let direct = folder.run("generate", &[&["--prompt", prompt], &greedy[..]].concat());
            assert_eq!(text, direct.stdout(), "{input:?}");
        }
    }
}

#[test]
fn stop_texts_end_the_text_and_are_not_shown() {
    let folder = Folder::new();
    let greedy = ["--temperature", "0", "--tokens", "30"];
    let all = generate(&folder, &greedy);
    let continuation: Vec<char> = all[PROMPT.len()..].chars().collect();
    let late: String = continuation[12..14].iter().collect();
    let early: String = continuation[5..7].iter().collect();
    for stops in [vec![&late[..]], vec![&late[..], &early[..]], vec!["", &early[..]]] {
        let args: Vec<&str> = stops.iter().flat_map(|stop| ["--stop", stop]).collect();
        let text = generate(&folder, &[&greedy[..], &args].concat());
        assert_eq!(text, expected(&folder, 30, Sampling::greedy(), &stops));
        assert!(text.len() < all.len());
        assert!(all.starts_with(text.trim_end_matches('\n')));
    }
}

#[test]
fn prompts_and_stops_may_begin_with_a_hyphen() {
    let args = ["--prompt", "--tokens", "--stop", "-x", "--tokens", "3"];
    let text = Folder::new().run("generate", &args).stdout();
    assert!(text.starts_with("--tokens"));
}

/// The greedy continuation on a backend by name.
struct Greedy<'a>(&'a Folder);

impl BackendVisitor for Greedy<'_> {
    type Output = String;

    fn visit<B: Backend>(self, device: B::Device) -> String {
        let model = FloatModel::<B>::load(&self.0.path("model"), &device).expect("a model");
        let sampling = Sampling::greedy();
        let config = GenerationConfig { max_tokens: 40, sampling, ..GenerationConfig::default() };
        model.generate(PROMPT, &config).expect("a generation")
    }
}

#[test]
fn every_backend_runs() {
    let folder = Folder::new();
    // Those that are compiled in, and find a device here.
    for backend in BackendKind::ALL.into_iter().filter(|kind| kind.devices().is_ok()) {
        let text = backend.visit(&DeviceChoice::default(), Greedy(&folder)).unwrap();
        let args = ["--tokens", "40", "--temperature", "0", "--backend", backend.name(), "--float"];
        assert_eq!(generate(&folder, &args), format!("{PROMPT}{text}\n"));
    }
}

/// Greedy text and the first line on standard error.
fn greedy(folder: &Folder, args: &[&str]) -> (String, String) {
    let greedy = ["--prompt", PROMPT, "--tokens", "30", "--temperature", "0"];
    let run = folder.run("generate", &[&greedy, args].concat());
    let first = run.stderr.lines().next().unwrap_or_default().to_owned();
    (run.stdout(), first)
}

#[test]
fn packed_text_is_that_of_the_latent_weights() {
    let folder = Folder::new();
    let (float, first) = greedy(&folder, &["--float"]);
    assert!(first.starts_with("30 tokens in "), "{first}");
    for (format, bytes) in [("f32", 4 * 256 * 32), ("bf16", 2 * 256 * 32)] {
        let (text, first) = greedy(&folder, &["--head", format]);
        let tables = with_comma(bytes);
        assert!(first.contains(&format!(" {tables} bytes {format} tables")), "{first}");
        if format == "f32" {
            assert_eq!(text, float);
        }
    }
    let run = folder.run("generate", &["--prompt", "a", "--float", "--head", "f32"]);
    run.assert_fails(&["cannot be used with"]);
}

/// A number of four to six digits with its comma.
fn with_comma(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

#[test]
fn what_cannot_be_packed_is_said_and_runs() {
    let config = bitnet::BitNetTransformerConfig { quant: WeightQuant::None, ..config() };
    let folder = Folder::with_model(&build(&config), WeightDtype::F32);
    let (text, first) = greedy(&folder, &[]);
    assert!(first.starts_with("not packed: "), "{first}");
    assert_eq!(text, greedy(&folder, &["--float"]).0);
}
