//! From sources to files of tokens: documents, formats, and what a cache must bear.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bitnet::{
    data::{Corpus, DataError, DataOptions, TokenFile},
    progress::{Progress, Silent},
    tokenizer::{ByteTokenizer, SubwordTokenizer, Tokenizer, train_bpe},
};
use parquet::{
    basic::Compression,
    data_type::ByteArrayType,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

struct Playground {
    root: tempfile::TempDir,
}

impl Playground {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().into()
    }

    fn tokens(&self, source: &str, tokenizer: &dyn Tokenizer) -> Result<TokenFile, DataError> {
        self.tokens_with(&DataOptions::default(), source, tokenizer, &Silent)
    }

    fn tokens_with(
        &self,
        options: &DataOptions,
        source: &str,
        tokenizer: &dyn Tokenizer,
        progress: &dyn Progress,
    ) -> Result<TokenFile, DataError> {
        Corpus::open(&[source], options, progress)?.tokens(tokenizer, &self.path("cache"), progress)
    }

    /// The files of tokens in the cache.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("cache/tokens")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|name| name == "tokens")).collect()
    }
}

fn ids(file: &TokenFile) -> Vec<u32> {
    file.tokens.iter().collect()
}

fn bpe() -> SubwordTokenizer {
    train_bpe(300, (0..300).map(|n| format!("the text of document {n}\n"))).unwrap()
}

#[test]
fn documents_end_with_the_token_or_a_line() {
    let playground = Playground::new();
    let lines = playground.write("a.jsonl", "{\"text\": \"the text\"}\n{\"text\": \"\"}\n");
    let plain = playground.write("b.txt", "the text");
    let bytes = |source: &str| {
        let file = playground.tokens(source, &ByteTokenizer).unwrap();
        (ByteTokenizer.decode(&ids(&file)), file.bytes)
    };
    // An empty text is no document.
    assert_eq!(bytes(&lines), (b"the text\n".to_vec(), 9));
    assert_eq!(bytes(&plain), (b"the text".to_vec(), 8));

    let bpe = bpe();
    let end = bpe.end_of_text().unwrap();
    let text = bpe.encode(b"the text").unwrap();
    let file = playground.tokens(&lines, &bpe).unwrap();
    assert_eq!((ids(&file), file.bytes), ([&text[..], &[end]].concat(), 8));
    let file = playground.tokens(&plain, &bpe).unwrap();
    assert_eq!(ids(&file), [&text[..], &[end]].concat());
}

#[test]
fn text_and_tokenizer_name_the_file() {
    let playground = Playground::new();
    let source = playground.write("a.txt", "the text");
    playground.tokens(&source, &ByteTokenizer).unwrap();
    // Elsewhere it is the same text.
    let moved = playground.write("b.txt", "the text");
    playground.tokens(&moved, &ByteTokenizer).unwrap();
    assert_eq!(playground.files().len(), 1);
    playground.tokens(&source, &bpe()).unwrap();
    assert_eq!(playground.files().len(), 2);
    let options = DataOptions { first_bytes: Some(3), ..DataOptions::default() };
    let cut = playground.tokens_with(&options, &source, &ByteTokenizer, &Silent).unwrap();
    assert_eq!((ids(&cut), playground.files().len()), (vec![116, 104, 101], 3));
    // Another text of the same length, in the same place.
    playground.write("a.txt", "a text..");
    let file = playground.tokens(&source, &ByteTokenizer).unwrap();
    assert_eq!(
        (ByteTokenizer.decode(&ids(&file)), playground.files().len()),
        (b"a text..".into(), 4)
    );
}

/// Keeps the lines it is told.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Progress for Lines {
    fn start(&self, _what: &str, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn finish(&self) {}

    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

#[test]
fn a_damaged_file_is_made_again_with_a_line() {
    let playground = Playground::new();
    let source = playground.write("a.txt", "the text");
    let options = DataOptions::default();
    let whole = ids(&playground.tokens(&source, &ByteTokenizer).unwrap());
    let path = playground.files().remove(0);
    let bytes = fs::read(&path).unwrap();
    let mut flipped = bytes.clone();
    flipped[70] ^= 1;
    for (damage, says) in [
        (&bytes[..bytes.len() - 3], "is cut short or too long"),
        (&bytes[..20], "is no file of tokens, or of another version"),
        (b"something else that is long enough to have a header of 64 bytes .....", "is no file"),
        (&flipped, "is damaged"),
    ] {
        fs::write(&path, damage).unwrap();
        let lines = Lines::default();
        let file = playground.tokens_with(&options, &source, &ByteTokenizer, &lines).unwrap();
        assert_eq!(ids(&file), whole);
        let lines = lines.0.into_inner().unwrap();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains(says) && line.ends_with(": made again"), "{line}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn what_a_killed_process_left_is_removed_and_two_at_once_agree() {
    let playground = Arc::new(Playground::new());
    let source = playground.write("a.txt", "the text ".repeat(100_000));
    fs::create_dir_all(playground.path("cache/tokens")).unwrap();
    fs::write(playground.path("cache/tokens/.bitnet-0123456789abcdef.tmp"), "half").unwrap();
    let run = || {
        let (playground, source) = (playground.clone(), source.clone());
        std::thread::spawn(move || ids(&playground.tokens(&source, &ByteTokenizer).unwrap()))
    };
    let [a, b] = [run(), run()].map(|thread| thread.join().unwrap());
    assert!(a == b && a.len() == 900_000);
    let left = fs::read_dir(playground.path("cache/tokens")).unwrap().count();
    assert_eq!(left, 2, "the tokens and the lock");
}

#[test]
fn errors_leave_no_file() {
    let playground = Playground::new();
    let empty = playground.write("empty.txt", "");
    let error = playground.tokens(&empty, &ByteTokenizer).unwrap_err();
    assert!(matches!(error, DataError::Empty(_)), "{error}");
    let lines = playground.write("a.jsonl", "{\"text\": \"the text\"}\nnonsense\n");
    let error = playground.tokens(&lines, &ByteTokenizer).unwrap_err();
    assert!(matches!(error, DataError::Row { number: 2, .. }), "{error}");
    assert_eq!(playground.files().len(), 0);
    fs::remove_dir_all(playground.path("cache")).unwrap();
    playground.write("cache", "a file in the way");
    let plain = playground.write("b.txt", "the text");
    let error = playground.tokens(&plain, &ByteTokenizer).unwrap_err();
    assert!(
        error.to_string().contains("BITNET_CACHE or data.cache names another folder"),
        "{error}"
    );
}

/// Writes a Parquet file of an id and a text, two groups of rows.
fn parquet(path: &Path, compression: Compression, groups: [&[&[u8]]; 2]) {
    let schema = "message m { REQUIRED INT64 id; OPTIONAL BYTE_ARRAY text (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for texts in groups {
        let mut group = writer.next_row_group().unwrap();
        let ids: Vec<i64> = (0..texts.len() as i64).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<parquet::data_type::Int64Type>();
        typed.write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        // A text of one zero is none.
        let levels: Vec<i16> = texts.iter().map(|&text| i16::from(text != b"\0")).collect();
        let values = texts.iter().filter(|&&text| text != b"\0");
        let values: Vec<_> = values.map(|text| text.to_vec().into()).collect();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn parquet_columns_are_read_in_every_compression() {
    let playground = Playground::new();
    let many: Vec<Vec<u8>> = (0..200).map(|n| format!("text {n} ñ").into_bytes()).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let expected = [&[&b"one"[..]], &many[..], &[b""]].concat().join(&b'\n');
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
    ] {
        let path = playground.path(&format!("{compression:?}.parquet"));
        parquet(&path, compression, [&[b"one"], &many]);
        let file = playground.tokens(path.to_str().unwrap(), &ByteTokenizer).unwrap();
        assert_eq!(ByteTokenizer.decode(&ids(&file)), expected);
    }
}

#[test]
fn bad_parquet_files_are_named() {
    let playground = Playground::new();
    let path = playground.path("a.parquet");
    let says = |field: &str, expected: &str| {
        let options = DataOptions { text_field: field.into(), ..DataOptions::default() };
        let source = path.to_str().unwrap();
        let read = playground.tokens_with(&options, source, &ByteTokenizer, &Silent);
        let error = read.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{source}: ")) && error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1);
    };
    parquet(&path, Compression::SNAPPY, [&[b"a", b"b"], &[b"c", b"d", b"\0"]]);
    says("body", "no column \"body\" (data.text_field); there is id, text");
    says("id", "column \"id\" holds no strings");
    let whole = fs::read(&path).unwrap();
    for len in [0, 3, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        says("text", "damaged: ");
    }
    parquet(&path, Compression::SNAPPY, [&[b"a"], &[b"\xff"]]);
    let options = DataOptions::default();
    let read = playground.tokens_with(&options, path.to_str().unwrap(), &ByteTokenizer, &Silent);
    let error = read.unwrap_err();
    assert!(matches!(error, DataError::Row { unit: "row", number: 2, .. }), "{error}");
}

#[test]
fn the_way_of_reading_names_the_file() {
    let playground = Playground::new();
    let source = playground.write("a.jsonl", "{\"text\": \"a\"}\nbad\n");
    let options = DataOptions { skip_bad: 1, ..DataOptions::default() };
    playground.tokens_with(&options, &source, &ByteTokenizer, &Silent).unwrap();
    // What was passed over then is an error now.
    assert!(playground.tokens(&source, &ByteTokenizer).is_err());

    // A mark is a part of the text only where bytes are taken as they are.
    let source = playground.write("b.txt", "\u{feff}text");
    let options = DataOptions { binary: true, ..DataOptions::default() };
    let binary = playground.tokens_with(&options, &source, &ByteTokenizer, &Silent).unwrap();
    let text = playground.tokens(&source, &ByteTokenizer).unwrap();
    assert_eq!((binary.bytes, text.bytes), (7, 4));
}

#[test]
fn the_names_of_tokens_do_not_change() {
    let playground = Playground::new();
    let name = |source: &str| {
        fs::remove_dir_all(playground.path("cache")).ok();
        playground.tokens(source, &ByteTokenizer).unwrap();
        playground.files()[0].file_stem().unwrap().to_str().unwrap().to_owned()
    };
    let plain = playground.write("a.txt", "the text");
    let lines = playground.write("a.jsonl", "{\"text\": \"the text\"}\n");
    assert_eq!(name(&plain), "949d61ba5b7d6d7982c62d05998c832f");
    assert_eq!(name(&lines), "a81bb7885e320ad92e8312448e838a0d");
}
