//! Damaged and hostile model files: an error or a model, never a panic, and never more memory than
//! the files and a constant.

#![allow(clippy::unwrap_used, reason = "a failed test is what a failed unwrap should be")]

mod chat;
mod data;
mod memory;
mod tokenizers;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitnet::{
    BitNetTransformerConfig,
    formats::{Encoding, Store, gguf::Gguf},
    generate::GenerationConfig,
    packed::TableFormat,
    pretrained::{CheckpointReader, ExportFormat, FloatModel, WeightDtype, export, save},
    progress::Silent,
    tokenizer::{self, ByteTokenizer},
};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

type B = burn_flex::Flex;

/// What opening and packing may take besides the size of the files: rotary angles, tables of a
/// tokenizer, what threads hold.
const CONSTANT: usize = 48 << 20;

fn config() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        max_seq_len: 8,
        ff_dim: 128,
        ..BitNetTransformerConfig::new(256, 128, 1).with_heads(2)
    }
}

/// A model in a form, in a folder of its own.
fn model(format: Option<ExportFormat>) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (path, out) = (root.path().join("model"), root.path().join("out"));
    let model = config().init_seeded::<B>(1, &Default::default()).unwrap();
    save(&path, &model, &ByteTokenizer, WeightDtype::F32).unwrap();
    let Some(format) = format else { return (root, path) };
    export(&CheckpointReader::open(&path).unwrap(), format, &out, &Silent).unwrap();
    (root, out)
}

/// Opens, packs and runs what may be no model, with packed weights and with floats.
#[track_caller]
fn try_to_use(path: &Path, file: &Path) -> bool {
    let size = fs::metadata(file).map_or(0, |data| data.len() as usize);
    let config = GenerationConfig { max_tokens: 2, ..GenerationConfig::default() };
    let (used, peak) = memory::peak(|| {
        let packed =
            CheckpointReader::open(path).and_then(|stored| stored.pack(TableFormat::Int8, &Silent));
        drop(packed.as_ref().map(|packed| packed.generate("ab", &config).map(drop)));
        let float = FloatModel::<B>::load(path, &Default::default());
        drop(float.map(|float| float.generate("ab", &config).map(drop)));
        packed.is_ok()
    });
    assert!(peak <= size + CONSTANT, "{peak} bytes for a file of {size}");
    used
}

/// Where and how a file is damaged: bytes that are set, then its end cut off.
#[derive(Debug, Clone)]
struct Damage {
    bytes: Vec<(Index, u8)>,
    numbers: Vec<(Index, u64)>,
    cut: Option<Index>,
    /// Damage the first so many bytes: headers are more often looked at than weights.
    first: usize,
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = (any::<Index>(), any::<u8>());
    let number = prop_oneof![
        Just(u64::MAX),
        Just(1 << 63),
        Just(1 << 40),
        Just(1 << 31),
        any::<u64>(),
        0u64..300,
    ];
    (
        prop::collection::vec(byte, 0..4),
        prop::collection::vec((any::<Index>(), number), 0..3),
        prop::option::weighted(0.2, any::<Index>()),
        prop_oneof![Just(32usize), Just(400), Just(6000), Just(usize::MAX)],
    )
        .prop_map(|(bytes, numbers, cut, first)| Damage { bytes, numbers, cut, first })
}

impl Damage {
    fn apply(&self, file: &[u8]) -> Vec<u8> {
        let mut file = file.to_vec();
        let first = self.first.min(file.len());
        for (at, byte) in &self.bytes {
            file[at.index(first)] = *byte;
        }
        for (at, number) in &self.numbers {
            let at = at.index(first - 8);
            file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        if let Some(cut) = &self.cut {
            file.truncate(cut.index(file.len()));
        }
        file
    }
}

/// So many cases, times `HOSTILE` where that is set.
fn cases(cases: u32) -> ProptestConfig {
    let times = std::env::var("HOSTILE").map_or(1, |times| times.parse().unwrap());
    // The generators have no state worth keeping in a file.
    ProptestConfig { cases: times * cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Damages `name` of a model again and again.
fn damaged(format: Option<ExportFormat>, name: Option<&str>) {
    let (_root, path) = model(format);
    let file = name.map_or(path.clone(), |name| path.join(name));
    let whole = fs::read(&file).unwrap();
    assert!(try_to_use(&path, &file));
    proptest!(cases(400), |(damage in damage())| {
        fs::write(&file, damage.apply(&whole)).unwrap();
        try_to_use(&path, &file);
    });
}

#[test]
fn gguf() {
    let _turn = memory::turn();
    for linears in [Encoding::I2S, Encoding::F16] {
        damaged(Some(ExportFormat::Gguf { linears, embedding: Some(Encoding::Q8_0) }), None);
    }
}

#[test]
fn safetensors() {
    let _turn = memory::turn();
    damaged(Some(ExportFormat::HfPacked), Some("model.safetensors"));
    damaged(None, Some("model.safetensors"));
}

#[test]
fn tokenizers() {
    let _turn = memory::turn();
    damaged(None, Some("tokenizer.json"));
}

#[test]
fn any_bytes_are_no_model() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    proptest!(cases(500), |(bytes: Vec<u8>, magic: bool)| {
        let start: &[u8] = if magic { b"GGUF\x03\0\0\0" } else { b"" };
        fs::write(&path, [start, &bytes].concat()).unwrap();
        let (_, peak) = memory::peak(|| {
            assert!(Gguf::open(&path).is_err() || bytes.len() >= 16);
            assert!(Store::safetensors(&path).is_err() || bytes.starts_with(&[2, 0]));
            drop(Store::sharded(&path));
            drop(tokenizer::from_json(&String::from_utf8_lossy(&bytes)));
        });
        assert!(peak <= bytes.len() + CONSTANT);
    });
}

/// A configuration with values that no model has.
#[test]
fn configurations() {
    let _turn = memory::turn();
    let (_root, path) = model(None);
    let file = path.join("config.json");
    let whole: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let keys: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
    let value = prop_oneof![
        any::<u64>().prop_map(|n| json!(n)),
        (0u64..5000).prop_map(|n| json!(n)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(1u64 << 24)),
        Just(json!([[[]]])),
        Just(json!({"group_size": 1, "bias": true})),
        ".*".prop_map(|text| json!(text)),
    ];
    let change = (any::<Index>(), value);
    proptest!(cases(600), |(changes in prop::collection::vec(change, 1..4))| {
        let mut config = whole.clone();
        for (key, value) in changes {
            config[&keys[key.index(keys.len())]] = value;
        }
        fs::write(&file, config.to_string()).unwrap();
        try_to_use(&path, &path.join("model.safetensors"));
    });
}

/// A context takes memory as it is used, not as a file says.
#[test]
fn a_long_context_takes_no_memory() {
    let _turn = memory::turn();
    let (_root, path) = model(None);
    let file = path.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let short = generation_peak(&path);
    config["max_position_embeddings"] = json!(1 << 22);
    fs::write(&file, config.to_string()).unwrap();
    let long = generation_peak(&path);
    assert!(long < short + (24 << 20), "{long} bytes, with a short context {short}");
}

/// The most memory that a model's floats and a short text take.
fn generation_peak(path: &Path) -> usize {
    let config = GenerationConfig { max_tokens: 4, ..GenerationConfig::default() };
    let (text, peak) = memory::peak(|| {
        FloatModel::<B>::load(path, &Default::default()).unwrap().generate("ab", &config)
    });
    text.unwrap();
    peak
}

#[test]
fn deep_nesting_is_an_error() {
    let _turn = memory::turn();
    let (_root, path) = model(None);
    let deep = "[".repeat(1 << 20);
    for name in ["config.json", "tokenizer.json"] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &deep).unwrap();
        assert!(!try_to_use(&path, &file), "{name}");
        fs::write(&file, whole).unwrap();
    }
    let file = path.join("model.safetensors");
    let header = [&(deep.len() as u64).to_le_bytes(), deep.as_bytes()].concat();
    fs::write(&file, header).unwrap();
    assert!(!try_to_use(&path, &file));
}

/// Lengths that a few bytes claim.
#[test]
fn claims_take_no_memory() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("model.gguf");
    let head = |tensors: u64, entries: u64| {
        [b"GGUF".as_slice(), &3u32.to_le_bytes(), &tensors.to_le_bytes(), &entries.to_le_bytes()]
            .concat()
    };
    let key = |kind: u32| [&1u64.to_le_bytes(), b"k".as_slice(), &kind.to_le_bytes()].concat();
    let array = |kind: u32, count: u64| {
        [key(9), kind.to_le_bytes().to_vec(), count.to_le_bytes().to_vec()].concat()
    };
    let tensor = |columns: u64, rows: u64| {
        let dimensions = [columns.to_le_bytes(), rows.to_le_bytes()].concat();
        let count = 2u32.to_le_bytes();
        [&1u64.to_le_bytes(), b"t".as_slice(), &count, &dimensions, &[0; 12]].concat()
    };
    for file in [
        head(u64::MAX, 0),
        head(0, u64::MAX),
        head(1 << 16, 0),
        [head(0, 1), u64::MAX.to_le_bytes().to_vec()].concat(),
        [head(0, 1), key(8), u64::MAX.to_le_bytes().to_vec()].concat(),
        [head(0, 1), array(8, 1 << 60)].concat(),
        [head(0, 1), array(10, 1 << 61)].concat(),
        [head(0, 1), array(0, 1 << 40)].concat(),
        [head(0, 1), array(9, 1)].concat(),
        [head(0, 1), array(13, 1)].concat(),
        // Rows of no numbers, as many as there may be, take no bytes.
        [head(1, 0), tensor(0, 1 << 62)].concat(),
        [head(1, 0), tensor(1 << 62, 0)].concat(),
    ] {
        fs::write(&path, &file).unwrap();
        let (opened, peak) = memory::peak(|| Gguf::open(&path).is_ok());
        assert!(!opened && peak < 1 << 20, "{peak} bytes for {file:?}");
    }
    for shape in [[1u64 << 62, 0], [0, 1 << 62]] {
        let header = json!({"t": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}});
        let header = header.to_string();
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        fs::write(&path, file).unwrap();
        assert!(Store::safetensors(&path).is_err(), "{shape:?}");
    }
}

/// Settings with values that no model has.
#[test]
fn settings() {
    let _turn = memory::turn();
    let (_root, path) = model(None);
    let weights = path.join("model.safetensors");
    for name in ["generation_config.json", "tokenizer_config.json", "chat_template.jinja"] {
        for text in ["", "{", "[]", "null", "{}", &"[".repeat(1 << 20), &"a".repeat(1 << 25)] {
            fs::write(path.join(name), text).unwrap();
            try_to_use(&path, &weights);
        }
        for key in ["eos_token_id", "temperature", "chat_template", "bos_token", "add_bos_token"] {
            for value in
                ["-1", "[[1]]", "1e999", "true", "\"\u{fdd0}\"", "{\"content\": 1}", "null"]
            {
                fs::write(path.join(name), format!("{{\"{key}\": {value}}}")).unwrap();
                try_to_use(&path, &weights);
            }
        }
        fs::remove_file(path.join(name)).unwrap();
    }
    assert!(try_to_use(&path, &weights));
}
