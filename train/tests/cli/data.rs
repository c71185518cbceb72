//! Tokenizers, files of tokens and datasets, as a run sees them.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    thread,
};

use crate::common::{Playground, Remains, failed, metrics, read, succeeded};
use bitnet::{generate::GenerationConfig, pretrained::FloatModel};

const RUN: [&str; 4] = ["--config", "tiny.toml", "--out", "run"];

/// A run with some keys set.
fn run<'a>(set: &[&'a str]) -> Vec<&'a str> {
    RUN.into_iter().chain(set.iter().flat_map(|pair| ["--set", *pair])).collect()
}

fn train_tokenizer(playground: &Playground, out: &str) -> String {
    let args = ["tokenizer", "--vocab", "300", "--data", "text.txt", "--out", out];
    succeeded(playground.train(&args))
}

/// The files of tokens in the cache.
fn token_files(playground: &Playground) -> Vec<PathBuf> {
    let entries = fs::read_dir(playground.path("cache/tokens")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|name| name == "tokens")).collect()
}

#[test]
fn a_run_on_a_trained_tokenizer_resumes_to_the_bit_and_carries_it() {
    let playground = Playground::new();
    let shown = train_tokenizer(&playground, "tokenizer.json");
    assert!(shown.contains(" tokens in tokenizer.json"), "{shown}");
    assert!(shown.lines().all(|line| !line.is_empty()), "{shown:?}");
    train_tokenizer(&playground, "again.json");
    let tokenizer = read(playground.path("tokenizer.json"));
    assert_eq!(tokenizer, read(playground.path("again.json")));
    let error = failed(playground.train(&[
        "tokenizer",
        "--vocab",
        "300",
        "--data",
        "text.txt",
        "--out",
        "again.json",
    ]));
    assert!(
        error.contains("again.json: it exists, and a tokenizer in use must not change"),
        "{error}"
    );

    // The text is 27 lines of a few tokens each: a short context leaves some to validate on.
    let set = ["data.tokenizer=tokenizer.json", "model.context=8", "sample.prompt=The quick"];
    succeeded(playground.train(&run(&set)));
    let expected = Remains::of(&playground.path("run"));
    assert_eq!(read(playground.path("run/model/tokenizer.json")), tokenizer);
    let model =
        FloatModel::<burn_flex::Flex>::load(&playground.path("run/model"), &Default::default());
    let model = model.unwrap();
    assert_eq!(model.tokenizer.vocab_size(), model.model.config().num_tokens);
    let config = GenerationConfig { max_tokens: 5, ..GenerationConfig::default() };
    assert!(model.generate("The", &config).is_ok());

    fs::remove_dir_all(playground.path("run")).unwrap();
    succeeded(playground.train(&[&run(&set)[..], &["--stop-at", "7"]].concat()));
    succeeded(playground.train(&["--resume", "run"]));
    Remains::of(&playground.path("run")).assert_equals(&expected, "stopped after step 7");

    let error = failed(playground.train(&[
        "--resume",
        "run",
        "--force-changes",
        "--set",
        "data.tokenizer=bytes",
        "--set",
        "sample.prompt=The",
    ]));
    assert!(error.contains("the saved weights would not fit"), "{error}");
}

#[test]
fn bits_a_byte_are_those_of_the_text() {
    let playground = Playground::new();
    train_tokenizer(&playground, "tokenizer.json");
    succeeded(playground.train(&run(&["data.tokenizer=tokenizer.json", "model.context=8"])));
    let rows = metrics(&playground.path("run"));
    let column = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    let (loss, bits) = (column("validation_loss"), column("validation_bits_per_byte"));
    let row = rows.iter().skip(1).find(|row| !row[bits].is_empty()).unwrap();
    let value = |column: usize| row[column].parse::<f64>().unwrap();
    // A token of this text is several bytes.
    let bytes_a_token = value(loss) / std::f64::consts::LN_2 / value(bits);
    assert!((2.0..20.0).contains(&bytes_a_token), "{bytes_a_token}");
}

#[test]
fn tokenizers_that_cannot_be_used_are_one_line() {
    let playground = Playground::new();
    let says = |args: &[&str], expected: &str| {
        let error = failed(playground.train(args));
        assert!(error.contains(expected), "{error}");
        assert!(!playground.path("run").exists());
    };
    says(&run(&["data.tokenizer=missing.json"]), "missing.json cannot be used: No such file");
    fs::write(playground.path("bad.json"), "{\"model\": 5}").unwrap();
    says(&run(&["data.tokenizer=bad.json"]), "data.tokenizer: bad.json cannot be used: ");
    fs::write(playground.path("bad.json"), "{").unwrap();
    says(
        &run(&["data.tokenizer=bad.json"]),
        "data.tokenizer: bad.json cannot be used: not valid JSON",
    );
    let train = |vocab: &'static str, data: &'static str| {
        ["tokenizer", "--vocab", vocab, "--data", data, "--out", "new.json"]
    };
    says(&train("200", "text.txt"), "the vocabulary is 200, must be between 257 and 65536");
    says(&train("300", "missing.txt"), "cannot read missing.txt");
    fs::write(playground.path("empty.txt"), "").unwrap();
    says(&train("300", "empty.txt"), "the data is empty");
    assert!(!playground.path("new.json").exists());
}

#[test]
fn a_damaged_token_file_is_made_again_and_nothing_changes() {
    let playground = Playground::new();
    succeeded(playground.train(&[&RUN[..], &["--stop-at", "5"]].concat()));
    let file = token_files(&playground).remove(0);
    let whole = read(&file);
    fs::write(&file, &whole[..100]).unwrap();
    let output = playground.train(&["--resume", "run"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("is cut short or too long: made again"), "{errors}");
    succeeded(output);
    assert_eq!(read(&file), whole);
    let resumed = Remains::of(&playground.path("run"));
    fs::remove_dir_all(playground.path("run")).unwrap();
    succeeded(playground.train(&RUN));
    resumed.assert_equals(&Remains::of(&playground.path("run")), "a damaged file of tokens");
}

#[test]
fn formats_and_parts() {
    let playground = Playground::new();
    let record = |n: usize| format!("{{\"body\": \"The quick brown fox, number {n}.\"}}\n");
    fs::write(playground.path("a.jsonl"), (0..100).map(record).collect::<String>()).unwrap();
    let from =
        |set: &[&'static str], data: &'static str| [&run(set)[..], &["--data", data]].concat();
    succeeded(playground.train(&from(&["data.text_field=body", "data.test=0.2"], "*.jsonl")));
    fs::remove_dir_all(playground.path("run")).unwrap();
    fs::write(playground.path("a.png"), b"\x89PNG\r\n\x1a\nand the rest").unwrap();
    fs::write(playground.path("bad.jsonl"), "1\n2\n").unwrap();
    for (set, data, expected) in [
        (&[][..], "a.jsonl", "a.jsonl, line 1: no field \"text\" (data.text_field); there is body"),
        (&[], "*.parquet", "*.parquet: no file matches"),
        (&[], "a.png", "a.png is a PNG image: name the files of text"),
        (&["data.binary=true"], "a.png", "the training data has 18 tokens, one window needs 21"),
        (&["data.piece_mib=0"], "text.txt", "data.piece_mib is 0, must be 1 or above"),
        (&["data.skip_bad=1"], "bad.jsonl", "bad.jsonl, line 2: no JSON object; data.skip_bad"),
        (&["data.validation=0.5", "data.test=0.5"], "text.txt", "nothing is left"),
        (&["data.first_bytes=20"], "text.txt", "the training data has 18 tokens, one window"),
    ] {
        let set = [set, &["model.context=20"]].concat();
        let error = failed(playground.train(&from(&set, data)));
        assert!(error.contains(expected), "{error}");
    }
}

/// Answers every request with `body`.
fn serve(body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
            let _ = stream.write_all(body);
        }
    });
    address
}

#[test]
fn datasets_are_fetched_from_a_mirror_and_checked() {
    let playground = Playground::new();
    let address = serve(b"no Shakespeare");
    let mirror = format!("data.mirror={address}/files/");
    let args = [&run(&[&mirror])[..], &["--data", "tinyshakespeare"]].concat();
    let output = playground.train(&args);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let url = format!("{address}/files/tinyshakespeare.txt");
    let expected = format!(
        "downloading tinyshakespeare from {url}\nerror: {url} is not dataset \"tinyshakespeare\": \
         it has 14 bytes, not 1115394\n"
    );
    assert_eq!(errors, expected);

    let args = [&run(&["data.offline=true"])[..], &["--data", "enwik8"]].concat();
    let error = failed(playground.train(&args));
    let path = playground.path("cache/datasets/enwik8");
    let expected = format!("\"enwik8\" is not at {}, and offline nothing is", path.display());
    assert!(error.contains(&expected), "{error}");
    assert!(!playground.path("run").exists());
}

#[test]
fn every_shipped_configuration_is_valid() {
    let playground = Playground::new();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let printed =
            succeeded(playground.train(&["--print-config", "--config", path.to_str().unwrap()]));
        names.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), printed));
    }
    let printed = |name: &str| &names.iter().find(|(file, _)| file == name).unwrap().1;
    for part in ["dim = 512\n", "depth = 8\n", "context = 1024\n", "lr = 0.0002\n", "clip = 0.5\n"]
    {
        assert!(printed("enwik8").contains(part), "{part}");
    }
    assert!(names.len() >= 5);
}
