//! Packed models on disk.

use std::{fs, path::Path};

use crate::common::bits;
use bitnet::{
    BitNetTransformerConfig,
    engine::{Engine, EngineError},
    packed::{FileError, TableFormat},
    pretrained::{FloatModel, PackedModel, PretrainedError, Settings},
    tokenizer::ByteTokenizer,
};

use crate::engine::{config, configs};

fn logits(engine: &Engine) -> Vec<u32> {
    bits(&engine.forward(&mut [(&mut engine.new_cache(), &[7, 200, 3])]).unwrap())
}

#[test]
fn files_hold_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    for (seed, config) in (0..).zip(configs()) {
        for format in TableFormat::ALL {
            let engine = Engine::random(&config, seed, format).unwrap();
            engine.write(&path).unwrap();
            let mapped = Engine::map(&path, &config).unwrap();
            assert_eq!(mapped.table_format(), format);
            assert_eq!(mapped.footprint(), engine.footprint());
            assert_eq!(logits(&mapped), logits(&engine), "{config:?} {format:?}");
        }
    }
}

#[test]
fn other_models_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    Engine::random(&config(), 1, TableFormat::Int8).unwrap().write(&path).unwrap();
    let refused = |config: BitNetTransformerConfig| match Engine::map(&path, &config) {
        Err(EngineError::File(error)) => matches!(error, FileError::Mismatch(_)),
        other => panic!("{other:?}"),
    };
    assert!(refused(BitNetTransformerConfig { dim: 72, ..config() }));
    assert!(refused(BitNetTransformerConfig { depth: 1, ..config() }));
    assert!(refused(BitNetTransformerConfig { depth: 3, ..config() }));
    assert!(refused(BitNetTransformerConfig { tie_embeddings: false, ..config() }));
    assert!(refused(BitNetTransformerConfig { bias: true, ..config() }));
    assert!(refused(BitNetTransformerConfig { num_tokens: 1 << 20, ..config() }));
}

fn save(path: &Path) -> PackedModel {
    let model = Engine::random(&config(), 1, TableFormat::Int8).unwrap();
    let packed =
        PackedModel { model, tokenizer: Box::new(ByteTokenizer), settings: Settings::default() };
    packed.save(path).unwrap();
    packed
}

#[test]
fn folders_are_read_back_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    assert!(!PackedModel::is_at(&path));
    for _ in 0..2 {
        let packed = save(&path);
        assert!(PackedModel::is_at(&path));
        let read = PackedModel::load(&path).unwrap();
        assert_eq!(read.model.config(), packed.model.config());
        assert_eq!(logits(&read.model), logits(&packed.model));
        // A mapped model can replace the file that it stands on.
        read.save(&path).unwrap();
        assert_eq!(logits(&PackedModel::load(&path).unwrap().model), logits(&packed.model));
        assert_eq!(logits(&read.model), logits(&packed.model));
    }
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 1, "temporary folders remain");
    let error = FloatModel::<burn_flex::Flex>::load(&path, &Default::default()).err().unwrap();
    assert!(matches!(error, PretrainedError::Packed), "{error}");
}

#[test]
fn damaged_folders_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    save(&path);
    let weights = path.join("model.packed");
    let whole = fs::read(&weights).unwrap();
    let error = |bytes: &[u8]| {
        fs::remove_file(&weights).unwrap();
        fs::write(&weights, bytes).unwrap();
        PackedModel::load(&path).err().unwrap().to_string()
    };
    for len in [0, 8, 31, 32, 100, whole.len() / 2, whole.len() - 1] {
        let error = error(&whole[..len]);
        assert!(error.starts_with("model.packed: "), "{len}: {error}");
    }
    for at in (0..whole.len()).step_by(whole.len() / 50) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let error = error(&bytes);
        assert!(error.starts_with("model.packed: "), "{at}: {error}");
    }
    let newer = [&whole[..8], &[2, 0, 0, 0], &whole[12..]].concat();
    assert_eq!(error(&newer), "model.packed: version 2 of the format, only version 1 can be read");
    fs::write(&weights, &whole).unwrap();
    assert!(PackedModel::load(&path).is_ok());
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    assert!(PackedModel::load(&path).is_err());
}
