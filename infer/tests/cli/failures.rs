//! What a user sees when something is wrong: exit code 1 and one line that says what.

use std::fs;

use crate::common::{CONTEXT, Folder, build, config, run};
use bitnet::pretrained::WeightDtype;
use burn::{module::Param, tensor::Tensor};
use serde_json::{Value, json};

const TEXT: &str = "a text of more than two tokens";

/// Runs all commands on a model folder that none can read.
fn assert_unreadable(folder: &Folder, parts: &[&str]) {
    let data = folder.write("text.txt", TEXT);
    let model = folder.arg("model");
    let parts = [&["error: model ", &model[..]], parts].concat();
    folder.run("info", &[]).assert_fails(&parts);
    folder.run("generate", &["--prompt", "a"]).assert_fails(&parts);
    folder.run("eval", &["--data", &data]).assert_fails(&parts);
}

/// A model folder whose `config.json` was changed afterwards.
fn edited(key: &str, value: Value) -> Folder {
    let folder = Folder::new();
    let config = fs::read_to_string(folder.path("model/config.json")).expect("a file");
    let mut config: Value = serde_json::from_str(&config).expect("valid JSON");
    config[key] = value;
    folder.write("model/config.json", config.to_string());
    folder
}

#[test]
fn missing_model_files() {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = Folder::new();
        fs::remove_file(folder.path("model").join(name)).unwrap();
        assert_unreadable(&folder, &[name, "No such file"]);
    }
    let folder = Folder::new();
    fs::remove_dir_all(folder.path("model")).unwrap();
    assert_unreadable(&folder, &["cannot read ", "/model: No such file"]);
    folder.write("model", "a file, no folder");
    assert_unreadable(&folder, &["it is neither a model folder nor a GGUF file"]);
}

#[test]
fn models_that_are_elsewhere() {
    let folder = Folder::new();
    let info = |model: &str| run(&["info", "--model", model], b"");
    let missing = folder.arg("missing.gguf");
    let error = info(&missing);
    assert!(!error.stderr.contains("config.json"), "{error:?}");
    error.assert_fails(&[&format!("cannot read {missing}: No such file")]);
    // As `train` leaves it: the model is a folder in that of the run.
    let (run_folder, model) = (folder.arg(""), folder.arg("model"));
    info(&run_folder).assert_fails(&["it is the folder of a run; its model is ", &model]);
    info("owner/name").assert_fails(&["No such file", "hf download owner/name --local-dir"]);
}

#[test]
fn truncated_weights() {
    let whole = fs::read(Folder::new().path("model/model.safetensors")).unwrap();
    for length in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        let folder = Folder::new();
        folder.write("model/model.safetensors", &whole[..length]);
        assert_unreadable(&folder, &["model.safetensors is damaged"]);
    }
}

#[test]
fn damaged_weights() {
    let folder = Folder::new();
    let mut bytes = fs::read(folder.path("model/model.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    folder.write("model/model.safetensors", bytes);
    assert_unreadable(&folder, &["not finite"]);
}

#[test]
fn damaged_json() {
    for name in ["config.json", "tokenizer.json"] {
        for text in ["", "{", "[]", "\u{0}"] {
            let folder = Folder::new();
            folder.write(&format!("model/{name}"), text);
            assert_unreadable(&folder, &[name]);
        }
    }
    // The cause is said once, though two errors carry it.
    let folder = Folder::new();
    folder.write("model/config.json", "{}");
    let run = folder.run("info", &[]);
    assert_eq!(run.stderr.matches("missing field").count(), 1, "{}", run.stderr);
}

/// Some editors put a byte order mark before a text, which JSON has no place for.
#[test]
fn files_with_a_byte_order_mark_are_read() {
    for folder in [Folder::new(), Folder::chat(256)] {
        let args = ["--prompt", "Hello", "--temperature", "0", "--tokens", "9"];
        folder.write("model/generation_config.json", "{\"top_k\": 5}");
        let expected = folder.run("generate", &args).stdout();
        let mut marked = 0;
        for entry in fs::read_dir(folder.path("model")).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|name| name == "json") {
                let text = fs::read(&path).expect("a file");
                fs::write(&path, [b"\xef\xbb\xbf", &text[..]].concat()).expect("a file");
                marked += 1;
            }
        }
        assert!(marked >= 3, "{marked}");
        assert_eq!(folder.run("generate", &args).stdout(), expected);
        let out = folder.arg("packed");
        folder.run("export", &["--format", "packed", "--out", &out]).stdout();
    }
}

#[test]
fn a_configuration_that_does_not_fit_the_weights() {
    for (key, value, part) in [
        ("num_hidden_layers", json!(2), "no tensor \"model.layers.1."),
        ("hidden_size", json!(64), "config.json asks for [256, 64]"),
        ("intermediate_size", json!(64), "config.json asks for"),
        ("num_key_value_heads", json!(1), "k_proj"),
        ("tie_word_embeddings", json!(false), "no tensor \"lm_head.weight\""),
        ("hidden_act", json!("gelu"), "gate_proj"),
        ("hidden_act", json!("tanh"), "hidden_act is \"tanh\""),
        ("vocab_size", json!(257), "the tokenizer has 256 tokens, the model's vocabulary 257"),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        ("head_dim", json!(15), "head_dim is 15, must be even"),
        ("max_position_embeddings", json!(0), "max_position_embeddings is 0"),
        ("rms_norm_eps", json!(1e308), "rms_norm_eps is 1e308, must be"),
        ("rope_theta", json!(1e-60), "must be positive and finite in 32 bits"),
        ("initializer_range", json!(1e39), "initializer_range is 1e39, must be"),
        ("model_type", json!("llama"), "only \"bitnet\""),
        ("hidden_size", json!("32"), "config.json: invalid type"),
        ("bitnet", json!({"group_size": 5}), "group_size 5"),
    ] {
        assert_unreadable(&edited(key, value), &[part]);
    }
}

#[test]
fn weights_that_overflow() {
    let mut model = build(&config());
    let gain = Tensor::full([config().dim], 3e38, &Default::default());
    model.norm.weight = Param::from_tensor(gain);
    let folder = Folder::with_model(&model, WeightDtype::F32);
    let data = folder.write("text.txt", TEXT);
    folder.run("generate", &["--prompt", "a"]).assert_fails(&["not finite"]);
    folder.run("eval", &["--data", &data]).assert_fails(&["not finite"]);
    folder.run("info", &[]).stdout();
}

#[test]
fn unusable_prompts() {
    let folder = Folder::new();
    let generate = |prompt: &str| folder.run("generate", &["--prompt", prompt]);
    let fits = "a".repeat(CONTEXT);
    generate(&fits).stdout();
    let run = generate(&format!("{fits}a"));
    assert_eq!(run.stdout, "");
    run.assert_fails(&["the prompt has 33 tokens, the model's context holds 32"]);
    generate("").assert_fails(&["the prompt is empty"]);
    let stdin = |input: &[u8]| folder.run_with_input("generate", &["--prompt", "-"], input);
    stdin(b"").assert_fails(&["the prompt is empty"]);
    stdin(b"\n").assert_fails(&["the prompt is empty"]);
    stdin(b"\xff").assert_fails(&["cannot read the prompt from standard input", "UTF-8"]);
}

#[test]
fn unusable_sampling_parameters() {
    let folder = Folder::new();
    for (option, value) in [
        ("--temperature", "-1"),
        ("--temperature", "NaN"),
        ("--temperature", "inf"),
        ("--temperature", "warm"),
        ("--top-p", "0"),
        ("--top-p", "1.5"),
        ("--top-p", "-0.5"),
        ("--min-p", "-0.1"),
        ("--min-p", "2"),
        ("--repetition-penalty", "0"),
        ("--repetition-penalty", "-1"),
        ("--top-k", "1.5"),
        ("--tokens", "many"),
        ("--seed", "18446744073709551616"),
    ] {
        let run = folder.run("generate", &["--prompt", "a", option, value]);
        assert_eq!(run.stdout, "");
        run.assert_fails(&[option.trim_start_matches('-')]);
    }
}

#[test]
fn unusable_data() {
    let folder = Folder::new();
    let path = |name: &str| folder.arg(name);
    folder.write("empty.txt", "");
    folder.write("one.txt", "a");
    folder.write("bad.gz", "no gzip");
    for (name, part) in [
        ("missing.txt", "No such file"),
        ("empty.txt", "the data is empty"),
        ("one.txt", "the data is too short: 1 token, at least 2 are needed"),
        ("bad.gz", "bad.gz"),
        ("line\nbreak.txt", "No such file"),
    ] {
        folder.run("eval", &["--data", &path(name)]).assert_fails(&[part]);
    }
    let datasets = "nor is it a dataset: those are kjv, enwik8, tinyshakespeare";
    folder.run("eval", &["--data", "tinyshakespear"]).assert_fails(&["No such file", datasets]);
    folder.run("eval", &[]).assert_fails(&["--data <SOURCE>"]);
}

#[test]
fn unusable_windows() {
    let folder = Folder::new();
    let data = folder.write("text.txt", TEXT);
    let eval = |option: &str, value: &str| folder.run("eval", &["--data", &data, option, value]);
    eval("--stride", "0").assert_fails(&["--stride is 0, must be between 1 and", "32"]);
    eval("--stride", "33").assert_fails(&["--stride is 33"]);
    eval("--context", "33").assert_fails(&["--context is 33", "model's context of 32"]);
    eval("--context", "0").assert_fails(&["--context is 0"]);
    eval("--stride", "-1").assert_fails(&["-1"]);
    eval("--batch", "0").assert_fails(&["--batch"]);
}

/// Texts of files and names do nothing to a terminal, and do not fill it.
#[test]
fn what_files_say_is_escaped_and_cut() {
    let folder = edited("model_type", json!("\u{1b}]0;mine\u{7}\u{202e}\r\n"));
    let run = folder.run("info", &[]);
    let shown = "model_type is \"\\u{1b}]0;mine\\u{7}\\u{202e}  \"";
    assert!(run.stderr.contains(shown), "{}", run.stderr);
    run.assert_fails(&["only \"bitnet\""]);
    let folder = edited("hidden_act", json!("a".repeat(600_000)));
    let run = folder.run("info", &[]);
    assert!(run.stderr.len() < 4096, "{} bytes", run.stderr.len());
    run.assert_fails(&["hidden_act is \"aaa", "can be read"]);
    let folder = Folder::new();
    folder.run("eval", &["--data", &folder.arg("\u{1b}[2Jx")]).assert_fails(&["\\u{1b}[2Jx"]);
}

/// Numbers of threads that no system gives.
#[test]
fn threads_have_a_bound() {
    let folder = Folder::new();
    let generate = |name: &str, value: &str| {
        let model = folder.arg("model");
        let args = ["generate", "--model", &model, "--prompt", "a", "--tokens", "4"];
        assert_cmd::Command::new(env!("CARGO_BIN_EXE_infer"))
            .args(args)
            .env(name, value)
            .output()
            .expect("a process")
    };
    for (name, value, says) in [
        ("RAYON_NUM_THREADS", "10000", "RAYON_NUM_THREADS must be at most 1024"),
        // As where no more processes are allowed: no thread can be started with such a stack.
        ("RUST_MIN_STACK", "1000000000000000000", "the system gives no more threads"),
    ] {
        let output = generate(name, value);
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: ") && said.contains(says), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(generate("RAYON_NUM_THREADS", "2").status.success());
}

#[test]
fn unusable_command_lines() {
    let folder = Folder::new();
    let data = folder.write("text.txt", TEXT);
    let known = "unknown backend \"tpu\" (known: flex, ndarray, wgpu, tch, cuda)";
    folder.run("generate", &["--prompt", "a", "--backend", "tpu"]).assert_fails(&[known]);
    folder.run("eval", &["--data", &data, "--backend", "tpu"]).assert_fails(&[known]);
    let device = ["--prompt", "a", "--device", "tpu"];
    folder.run("generate", &device).assert_fails(&["unknown device \"tpu\""]);
    let device = ["--prompt", "a", "--device", "cuda:1"];
    folder.run("generate", &device).assert_fails(&["has no device cuda:1 (found: cpu)"]);
    folder.run("generate", &[]).assert_fails(&["--prompt <TEXT>", "; see --help"]);
    folder.run("info", &["--jsn"]).assert_fails(&["'--jsn'", "similar argument exists: '--json'"]);
    run(&["info"], b"").assert_fails(&["--model <PATH>"]);
    run(&[], b"").assert_fails(&["requires a subcommand", "generate, info, eval, export, bench"]);
    run(&["train"], b"").assert_fails(&["'train'"]);
}
