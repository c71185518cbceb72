//! What is learned is what a source means: kinds of files, what is no text, and what is said.

use std::{fs, io::Write, path::PathBuf, sync::Mutex};

use bitnet::{
    data::{Corpus, DataOptions, End},
    progress::Progress,
};

struct Playground {
    root: tempfile::TempDir,
    options: DataOptions,
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

impl Playground {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), options: DataOptions::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    /// The documents of a source, each followed by `|`, and the lines that are said meanwhile.
    fn read(&self, source: &str) -> (Result<Vec<u8>, String>, Vec<String>) {
        let lines = Lines::default();
        let source = self.path(source);
        let read = || {
            let corpus = Corpus::open(&[source.to_str().unwrap()], &self.options, &lines)?;
            let mut text = Vec::new();
            for chunk in corpus.chunks(&lines) {
                let chunk = chunk?;
                text.extend(chunk.text);
                if chunk.end != End::Within {
                    text.push(b'|');
                }
            }
            Ok(text)
        };
        let text = read().map_err(|error: bitnet::data::DataError| error.to_string());
        let name = format!("{}/", self.root.path().display());
        let text = text.map_err(|error| error.replace(&name, ""));
        let lines = lines.0.into_inner().unwrap();
        (text, lines.iter().map(|line| line.replace(&name, "")).collect())
    }

    #[track_caller]
    fn gives(&self, source: &str, expected: &str) {
        let (text, lines) = self.read(source);
        let text = text.map(|text| String::from_utf8(text).unwrap());
        assert_eq!(text.as_deref(), Ok(expected), "{source}");
        assert_eq!(lines, [""; 0], "{source}");
    }

    #[track_caller]
    fn fails(&self, source: &str, expected: &str) {
        let error = self.read(source).0.unwrap_err();
        assert!(error.starts_with(source) && error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

#[test]
fn endings_count_in_capital_letters_and_json_is_read_as_it_comes() {
    let playground = Playground::new();
    let lines = b"{\"text\": \"a\"}\n{\"text\": \"b\", \"n\": NaN}\n";
    for name in ["A.JSONL", "a.NdJson", "a.json", "A.JSON"] {
        playground.write(name, lines);
        playground.gives(name, "a|b|");
    }
    for name in ["A.JSONL.GZ", "a.json.gz", "a.Json.Gz"] {
        playground.write(name, gz(lines));
        playground.gives(name, "a|b|");
    }
    playground.write("a.JSONL.ZST", zstd::encode_all(&lines[..], 0).unwrap());
    playground.gives("a.JSONL.ZST", "a|b|");
    playground.write("array.json", "[{\"text\": \"a\"},\n {\"text\": \"b\"}]\n");
    playground.gives("array.json", "a|b|");
    playground.write("pretty.json.gz", gz(b"[\n  {\n    \"text\": \"a\"\n  }\n]\n"));
    playground.gives("pretty.json.gz", "a|");
    playground.write("A.TXT.GZ", [gz(b"one "), gz(b"two"), vec![0; 512]].concat());
    playground.gives("A.TXT.GZ", "one two|");
    let parquet = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/parquet/zstd-v2.parquet");
    playground.write("A.PARQUET", fs::read(parquet).unwrap());
    assert!(
        playground.read("A.PARQUET").0.unwrap().starts_with("text 0 of a file, señor|".as_bytes())
    );
}

#[test]
fn what_is_no_text_is_refused_by_its_bytes() {
    let mut playground = Playground::new();
    for (name, bytes, expected) in [
        ("a.txt", gz(b"text"), "compressed with gzip: it is read if its name ends in .gz"),
        (
            "a",
            zstd::encode_all(&b"text"[..], 0).unwrap(),
            "zstd: it is read if its name ends in .zst",
        ),
        ("a.xz", b"\xfd7zXZ\0\0\x04".to_vec(), "compressed with xz: unpack it first"),
        ("a.bz2", b"BZh91AY&SY".to_vec(), "compressed with bzip2: unpack it first"),
        ("a.zip", b"PK\x03\x04\x14\0".to_vec(), "a zip archive: unpack it first"),
        ("a.arrow", b"ARROW1\0\0".to_vec(), "an Arrow file: convert it first"),
        ("a.png", b"\x89PNG\r\n\x1a\n".to_vec(), "a PNG image: name the files of text"),
        ("a.tar.gz", gz(&[&[b'a'; 257][..], b"ustar"].concat()), "a tar archive: unpack it"),
        ("a.parquet.gz", gz(b"PAR1"), "a Parquet file: it is read if its name ends"),
        ("a.bin", [&b"text"[..], &[0]].concat(), "binary (byte 5 is zero)"),
    ] {
        playground.write(name, &bytes);
        playground.fails(name, expected);
        assert!(
            playground
                .read(name)
                .0
                .unwrap_err()
                .ends_with("; data.binary = true takes its bytes as they are")
        );
    }
    // Records are never taken as bytes.
    playground.write("a.jsonl", gz(b"{}"));
    playground.fails("a.jsonl", "compressed with gzip");
    assert!(!playground.read("a.jsonl").0.unwrap_err().contains("binary"));
    // One of a folder is one too many.
    playground.write("f/a.txt", "text");
    playground.write("f/b.png", b"\x89PNG\r\n\x1a\n");
    playground.fails("f", "f/b.png is a PNG image");

    playground.options.binary = true;
    playground.write("mark", "\u{feff}text");
    for name in ["a.txt", "a.png", "a.bin", "mark"] {
        let (text, lines) = playground.read(name);
        let bytes = fs::read(playground.path(name)).unwrap();
        assert_eq!((text.unwrap(), lines.len()), ([&bytes[..], b"|"].concat(), 0));
    }
    playground.fails("a.jsonl", "compressed with gzip");
}

#[test]
fn marks_are_no_text_and_utf_16_is_decoded() {
    let playground = Playground::new();
    let le = |text: &str| {
        [b"\xff\xfe".to_vec(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat()
    };
    let be = |text: &str| {
        [b"\xfe\xff".to_vec(), text.encode_utf16().flat_map(u16::to_be_bytes).collect()].concat()
    };
    playground.write("a.txt", "\u{feff}señor 🦀\n");
    playground.write("b.txt", le("señor 🦀\n"));
    playground.write("c.txt.gz", gz(&be("señor 🦀\n")));
    for name in ["a.txt", "b.txt", "c.txt.gz"] {
        playground.gives(name, "señor 🦀\n|");
    }
    let line = "{\"text\": \"ñ\"}\n";
    playground.write("a.jsonl", format!("\u{feff}{line}\u{feff}{line}"));
    playground.write("b.json", le(line));
    playground.gives("a.jsonl", "ñ|ñ|");
    playground.gives("b.json", "ñ|");
}

#[test]
fn what_is_passed_over_or_looks_wrong_is_said_once() {
    let mut playground = Playground::new();
    playground.write("f/a.jsonl", "{\"text\": null}\n{\"text\": \"a\"}\n{\"n\": 1}\n");
    playground.write("f/b.json", "[{\"text\": \"b\"}, {\"text\": null}]");
    playground.write("f/latin.txt", b"se\xf1or");
    playground.write("f/.hidden", "x");
    playground.write("f/README.md", "# Data");
    let (text, lines) = playground.read("f");
    assert_eq!(text.unwrap(), b"a|b|se\xf1or|");
    let expected = [
        "f: without .hidden and README.md",
        "passed over: 3 rows without a text (the first: f/a.jsonl, line 1); f/latin.txt has 20.0 % \
         that is no UTF-8: its bytes are learned as they are",
    ];
    assert_eq!(lines, expected);

    playground
        .write("bad.jsonl", "{\"text\": \"a\"}\nnonsense\n{\"text\": \"b\"}\n{\"text\": 5}\n");
    playground.fails("bad.jsonl", "line 2: no valid JSON: expected ident at byte 2; data.skip_bad");
    playground.options.skip_bad = 1;
    playground.fails("bad.jsonl", "line 4: field \"text\" is no string; data.skip_bad");
    playground.options.skip_bad = 2;
    let (text, lines) = playground.read("bad.jsonl");
    assert_eq!(text.unwrap(), b"a|b|");
    let expected = "passed over: 2 bad rows (the first: bad.jsonl, line 2: no valid JSON: ";
    assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
    // Said, too, where the text is cut before its end.
    playground.options.first_bytes = Some(2);
    let (text, lines) = playground.read("f");
    assert_eq!((text.unwrap(), lines.len()), (b"a|b|".into(), 2));
}

#[test]
fn fields_within_others() {
    let mut playground = Playground::new();
    playground.options.text_field = "meta.text".into();
    playground.write("a.jsonl", "{\"meta\": {\"text\": \"a\"}}\n{\"meta\": null}\n");
    assert_eq!(playground.read("a.jsonl").0.unwrap(), b"a|");
    playground.write("b.jsonl", "{\"text\": \"a\"}\n");
    playground.fails("b.jsonl", "line 1: no field \"meta.text\" (data.text_field); there is text");
}

#[test]
fn parquet_files_of_other_programs() {
    let mut playground = Playground::new();
    let text = |n: usize| format!("text {} of a file, señor|", n % 50);
    let expected: String = (0..300).map(text).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/parquet");
    let mut files = 0;
    for field in ["text", "meta.text"] {
        playground.options.text_field = field.into();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|name| name != "parquet") {
                continue;
            }
            files += 1;
            playground.write("a.parquet", fs::read(&path).unwrap());
            let (text, lines) = playground.read("a.parquet");
            assert_eq!(
                text.as_deref().map(String::from_utf8_lossy),
                Ok(expected.as_str().into()),
                "{path:?}"
            );
            let line = "passed over: 1 row without a text (the first: a.parquet, row 101)";
            assert_eq!(lines, [line], "{path:?}");
        }
    }
    assert_eq!(files, 14);
}
