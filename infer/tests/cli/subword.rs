//! Models whose tokens are more than bytes.

use std::fs;

use crate::common::{CONTEXT, Folder};
use bitnet::tokenizer::{SubwordTokenizer, Tokenizer, train_bpe};

/// A folder with a model of a BPE's tokens, and the BPE.
fn folder() -> (Folder, SubwordTokenizer) {
    let texts = (0..200).map(|n| format!("In the beginning — señor, {n}.\n"));
    let tokenizer = train_bpe(300, texts).expect("a tokenizer");
    (Folder::with_tokenizer(&tokenizer, CONTEXT), tokenizer)
}

#[test]
fn generates_text_piece_by_piece() {
    let (folder, _) = folder();
    let args = ["--prompt", "In the", "--tokens", "100", "--temperature", "2", "--seed", "5"];
    let text = folder.run("generate", &args).stdout();
    assert!(text.starts_with("In the") && text.len() > 50, "{text}");
    assert_eq!(text, folder.run("generate", &args).stdout());
}

#[test]
fn bits_a_byte_count_the_bytes_of_the_text() {
    let (folder, tokenizer) = folder();
    let text = "In the beginning — señor, 12.\n".repeat(20);
    let data = folder.write("text.txt", &text);
    let result = folder.run("eval", &["--data", &data, "--json"]).json();
    let tokens = tokenizer.encode(text.as_bytes()).expect("tokens");
    let first = tokenizer.decode(&tokens[..1]).len();
    // The end of the file is a token of no byte.
    assert_eq!(result["tokens"], tokens.len());
    assert_eq!(result["bytes"], text.len() - first);
    let value = |key: &str| result[key].as_f64().expect("a number");
    let nats = value("nats_per_token") * tokens.len() as f64;
    let bits = nats / std::f64::consts::LN_2 / (text.len() - first) as f64;
    assert!((value("bits_per_byte") / bits - 1.0).abs() < 1e-9);
}

#[test]
fn the_last_share_is_split_by_bytes() {
    let folder = Folder::new();
    let data = folder.write("text.txt", "0123456789".repeat(10));
    let end = folder.write("end.txt", "0123456789".repeat(2));
    let last = folder.run("eval", &["--data", &data, "--last", "0.2", "--json"]).json();
    assert_eq!(last, folder.run("eval", &["--data", &end, "--json"]).json());
    for share in ["0", "1.5", "nan"] {
        folder.run("eval", &["--data", &data, "--last", share]).assert_fails(&["--last is "]);
    }
}

#[test]
fn the_tokenizer_must_be_the_models() {
    let (folder, _) = folder();
    let json = fs::read_to_string(folder.path("model/tokenizer.json")).expect("a tokenizer");
    fs::write(folder.path("model/tokenizer.json"), json.replace("ByteLevel", "WordPiece"))
        .expect("a written file");
    folder.run("info", &[]).assert_fails(&["tokenizer.json cannot be used: "]);
}
