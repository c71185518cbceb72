//! What the integration tests share: tiny models in temporary folders, and runs of the binary.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitnet::{
    BitNetTransformer, BitNetTransformerConfig,
    pretrained::{self, FloatModel, WeightDtype},
    tokenizer::{self, ByteTokenizer, Tokenizer},
};
use serde_json::json;
use tempfile::TempDir;

/// The backend that the binary uses unless told otherwise.
pub(crate) type B = burn_flex::Flex;

/// Tokens that the models of these tests can see.
pub(crate) const CONTEXT: usize = 32;

/// A model small enough to run at once. Its weights are far larger than those training starts
/// with: such models would be nearly indifferent between tokens.
pub(crate) fn config() -> BitNetTransformerConfig {
    let config = BitNetTransformerConfig::new(256, 32, 1).with_heads(2).with_dim_head(16);
    BitNetTransformerConfig { init_std: 0.5, ..config.with_max_seq_len(CONTEXT) }
}

/// The model of `config` with random weights.
pub(crate) fn build(config: &BitNetTransformerConfig) -> BitNetTransformer<B> {
    config.init_seeded(1, &Default::default()).expect("a valid configuration")
}

/// A file of the library's tests of chats.
fn golden_chat(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bitnet/tests/golden/chat");
    fs::read_to_string(folder.join(name)).expect("a file")
}

/// A temporary folder with a model in it.
pub(crate) struct Folder {
    root: TempDir,
}

impl Folder {
    /// A folder with the model of [`config`].
    pub(crate) fn new() -> Self {
        Self::with_model(&build(&config()), WeightDtype::F32)
    }

    /// A folder with `model`.
    pub(crate) fn with_model(model: &BitNetTransformer<B>, dtype: WeightDtype) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        pretrained::save(&root.path().join("model"), model, &ByteTokenizer, dtype)
            .expect("a model folder");
        Self { root }
    }

    /// A folder with a model of a tokenizer's tokens, `context` of which it can see.
    pub(crate) fn with_tokenizer(tokenizer: &dyn Tokenizer, context: usize) -> Self {
        let config = BitNetTransformerConfig {
            num_tokens: tokenizer.vocab_size(),
            max_seq_len: context,
            ..config()
        };
        let folder = Self { root: tempfile::tempdir().expect("a temporary folder") };
        pretrained::save(&folder.path("model"), &build(&config), tokenizer, WeightDtype::F32)
            .expect("a model folder");
        folder
    }

    /// A folder with a model of `context` tokens that has special tokens and a chat template.
    pub(crate) fn chat(context: usize) -> Self {
        let tokenizer = tokenizer::from_json(&golden_chat("tokenizer.json")).expect("a tokenizer");
        let folder = Self::with_tokenizer(tokenizer.as_ref(), context);
        let file = json!({
            "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
            "chat_template": golden_chat("2b4t.jinja"),
        });
        folder.write("model/tokenizer_config.json", file.to_string());
        folder
    }

    /// The path of something in the folder; "model" is the model.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// As [`path`](Self::path), as an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of characters").into()
    }

    /// Writes a file into the folder, gives its path as an argument.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).expect("a written file");
        self.arg(name)
    }

    /// The model as the library reads it.
    pub(crate) fn load(&self) -> FloatModel<B> {
        load(&self.path("model"))
    }

    /// Runs a command of the binary on the model.
    pub(crate) fn run(&self, command: &str, args: &[&str]) -> Run {
        self.run_with_input(command, args, b"")
    }

    /// As [`run`](Self::run), with `input` on standard input.
    pub(crate) fn run_with_input(&self, command: &str, args: &[&str], input: &[u8]) -> Run {
        let model = self.arg("model");
        let all: Vec<&str> = [command, "--model", &model].iter().chain(args).copied().collect();
        run(&all, input)
    }
}

/// Reads a model folder.
pub(crate) fn load(path: &Path) -> FloatModel<B> {
    FloatModel::load(path, &Default::default()).expect("a readable model")
}

/// What a run of the binary gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary.
pub(crate) fn run(args: &[&str], input: &[u8]) -> Run {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_infer"))
        .args(args)
        .env("BITNET_CACHE", cache.path())
        .write_stdin(input)
        .output()
        .expect("a process");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
    }
}

impl Run {
    /// Standard output of a run that must have succeeded.
    #[track_caller]
    pub(crate) fn stdout(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The JSON on standard output of a run that must have succeeded, silently otherwise.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        assert_eq!(self.stderr, "");
        serde_json::from_str(&self.stdout()).expect("valid JSON")
    }

    /// Checks that the run failed as a user should see it, with a message that contains `parts`.
    #[track_caller]
    pub(crate) fn assert_fails(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert!(self.stderr.ends_with('\n'), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "\"{part}\" is not in: {}", self.stderr);
        }
    }
}
