//! Files of texts that are damaged or not meant well: an error or texts, never a panic, and never
//! more memory than a few pieces.

use std::{fs, io::Write, path::Path, sync::Arc};

use bitnet::{
    data::{Corpus, DataError, DataOptions},
    progress::Silent,
};
use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding},
    column::{
        page::{CompressedPage, Page, PageWriter},
        writer::ColumnCloseResult,
    },
    file::{
        metadata::ColumnChunkMetaData,
        writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite},
    },
    schema::parser::parse_message_type,
};
use proptest::prelude::*;

use crate::{cases, damage, memory};

/// What reading takes besides the pieces it holds: buffers and windows of decompression.
const CONSTANT: usize = 32 << 20;

/// Reads all texts; returns how many bytes they are, and the most memory taken.
fn read(path: &Path, options: &DataOptions) -> (Result<usize, DataError>, usize) {
    memory::peak(|| {
        let corpus = Corpus::open(&[path.to_str().unwrap()], options, &Silent)?;
        // A few bytes may stand for many a text.
        corpus.chunks(&Silent).take(10_000).map(|chunk| chunk.map(|chunk| chunk.text.len())).sum()
    })
}

fn options(piece_mib: u64) -> DataOptions {
    DataOptions { piece_mib, skip_bad: 10, ..DataOptions::default() }
}

#[test]
fn damaged_parquet_files() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.parquet");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/parquet");
    for entry in fs::read_dir(folder).unwrap() {
        let whole = entry.unwrap().path();
        if whole.extension().is_none_or(|name| name != "parquet") {
            continue;
        }
        let whole = fs::read(whole).unwrap();
        proptest!(cases(300), |(damage in damage())| {
            fs::write(&path, damage.apply(&whole)).unwrap();
            let (_, peak) = read(&path, &options(1));
            assert!(peak <= whole.len() + CONSTANT, "{peak} bytes");
        });
    }
}

#[test]
fn damaged_lines_and_values() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let lines = "{\"text\": \"\\ud83e\\udd80 a\", \"n\": [NaN, {\"a\": 1e9}]}\n{\"text\": null}\n"
        .repeat(9);
    let array = format!("[{}]", lines.trim_end().replace('\n', ","));
    for (name, whole) in [("a.jsonl", &lines), ("b.json", &lines), ("c.json", &array)] {
        let path = root.path().join(name);
        proptest!(cases(300), |(damage in damage())| {
            fs::write(&path, damage.apply(whole.as_bytes())).unwrap();
            let (_, peak) = read(&path, &options(1));
            assert!(peak <= whole.len() + CONSTANT, "{peak} bytes");
        });
    }
    // Deeper than any stack, and longer than a piece.
    for name in ["a.jsonl", "b.json"] {
        let path = root.path().join(name);
        fs::write(&path, "[".repeat(1 << 20)).unwrap();
        assert!(read(&path, &DataOptions::default()).0.is_err());
        fs::write(&path, format!("{{\"a\": {}", "[".repeat(8 << 20))).unwrap();
        let (result, peak) = read(&path, &options(1));
        assert!(result.unwrap_err().to_string().contains("longer than 1 MiB"));
        assert!(peak < CONSTANT, "{peak} bytes");
    }
}

/// A Parquet file of one page, whose bytes are those given.
fn parquet(path: &Path, codec: Compression, page: Page, size: usize) {
    let schema =
        Arc::new(parse_message_type("message m { REQUIRED BYTE_ARRAY text (UTF8); }").unwrap());
    let mut column = TrackedWrite::new(Vec::new());
    let len = page.buffer().len();
    SerializedPageWriter::new(&mut column).write_page(CompressedPage::new(page, size)).unwrap();
    let column = column.into_inner().unwrap();
    let bytes = column.len() as i64;
    assert!(column.len() > len);
    let mut writer =
        SerializedFileWriter::new(fs::File::create(path).unwrap(), schema, Default::default())
            .unwrap();
    let description = writer.schema_descr().column(0);
    let metadata = ColumnChunkMetaData::builder(description)
        .set_compression(codec)
        .set_total_compressed_size(bytes)
        .set_total_uncompressed_size(bytes)
        .set_num_values(1)
        .set_data_page_offset(0)
        .build()
        .unwrap();
    let close = ColumnCloseResult {
        bytes_written: column.len() as u64,
        rows_written: 1,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: None,
    };
    let mut group = writer.next_row_group().unwrap();
    group.append_column(&Bytes::from(column), close).unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

fn data(buf: Vec<u8>, num_values: u32, encoding: Encoding) -> Page {
    let (def_level_encoding, rep_level_encoding) = (Encoding::RLE, Encoding::RLE);
    let (buf, statistics) = (buf.into(), None);
    Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics }
}

/// A frame of so many blocks of 128 KiB, four bytes each.
fn zstd_bomb(blocks: u64, says_its_size: bool) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
    match says_its_size {
        true => frame.extend([&[0xe0][..], &(blocks << 17).to_le_bytes()].concat()),
        false => frame.extend([0, 0x38]),
    }
    for block in 1..=blocks {
        let head = (1u32 << 17) << 3 | 1 << 1 | u32::from(block == blocks);
        frame.extend(&head.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn a_window_takes_no_memory() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.parquet");
    // The smallest stream with the large window of Brotli, of 2^30 bytes.
    let packed = vec![0x11, 0x1e | 3 << 6, 0];
    let codec = Compression::BROTLI(Default::default());
    parquet(&path, codec, data(packed, 1, Encoding::PLAIN), 1);
    let (result, peak) = read(&path, &options(1));
    assert!(result.is_err() && peak < CONSTANT, "{peak} bytes");
}

#[test]
fn frames_need_not_say_how_long_they_are() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.parquet");
    // Much longer than the first guess.
    let text = vec![b'a'; 900_000];
    let page = [&(text.len() as u32).to_le_bytes()[..], &text].concat();
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    zstd.write_all(&page).unwrap();
    for (codec, packed) in [
        (Compression::ZSTD(Default::default()), zstd.finish().unwrap()),
        (Compression::LZ4_RAW, lz4_flex::block::compress(&page)),
    ] {
        parquet(&path, codec, data(packed, 1, Encoding::PLAIN), page.len());
        assert_eq!(read(&path, &options(1)).0.unwrap(), text.len(), "{codec:?}");
    }
}

#[test]
fn pages_are_bounded_before_they_are_decompressed() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.parquet");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    (0..64).for_each(|_| gzip.write_all(&[0; 1 << 20]).unwrap());
    let lz4 = [&[0x1f, 0, 1, 0][..], &vec![255; 300_000], &[0; 6]].concat();
    for (codec, packed) in [
        // A page of a gigabyte in 32 KiB.
        (Compression::ZSTD(Default::default()), zstd_bomb(8192, true)),
        (Compression::ZSTD(Default::default()), zstd_bomb(8192, false)),
        (Compression::GZIP(Default::default()), gzip.finish().unwrap()),
        (Compression::LZ4_RAW, lz4),
        // A length that says more than there is.
        (Compression::SNAPPY, vec![0xff, 0xff, 0xff, 0xff, 7, 0, 0]),
    ] {
        parquet(&path, codec, data(packed, 1, Encoding::PLAIN), 1 << 30);
        for first_bytes in [None, Some(10)] {
            let (result, peak) = read(&path, &DataOptions { first_bytes, ..options(8) });
            let error = result.unwrap_err().to_string();
            assert!(error.contains("takes more than 8 MiB; data.piece_mib"), "{codec:?}: {error}");
            assert!(peak < CONSTANT, "{codec:?}: {peak} bytes");
        }
    }
}

#[test]
fn numbers_in_pages_are_bounded_before_memory_is_taken() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.parquet");
    let packed = |count: u8| [0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, count, 0].to_vec();
    let dictionary = Page::DictionaryPage {
        buf: vec![0; 8].into(),
        num_values: u32::MAX,
        encoding: Encoding::PLAIN,
        is_sorted: false,
    };
    for page in [
        data(packed(3), 9, Encoding::DELTA_LENGTH_BYTE_ARRAY),
        data(packed(3), u32::MAX, Encoding::DELTA_LENGTH_BYTE_ARRAY),
        data(packed(3), 9, Encoding::DELTA_BYTE_ARRAY),
        data([&[0x80, 1, 4, 1, 0], &packed(3)[..]].concat(), 9, Encoding::DELTA_BYTE_ARRAY),
        dictionary,
    ] {
        let kind = format!("{page:?}");
        parquet(&path, Compression::UNCOMPRESSED, page, 10);
        let (result, peak) = read(&path, &options(8));
        assert!(result.is_err() && peak < CONSTANT, "{peak} bytes for {kind}");
    }
    // A page without its dictionary is where the crate panics.
    parquet(&path, Compression::UNCOMPRESSED, data(vec![1, 0], 1, Encoding::RLE_DICTIONARY), 2);
    let error = read(&path, &options(8)).0.unwrap_err().to_string();
    assert!(error.contains("a.parquet: damaged: ") && error.lines().count() == 1, "{error}");
}

#[test]
fn unsupported_parquet_is_not_called_damaged() {
    let _turn = memory::turn();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.parquet");
    for (codec, expected) in [
        (Compression::LZ4, "not supported: compressed with the LZ4 of Hadoop; Snappy, "),
        (Compression::LZO, "not supported: compressed with LZO; Snappy, gzip, Zstandard, Brotli"),
    ] {
        parquet(&path, codec, data(vec![0; 9], 1, Encoding::PLAIN), 9);
        let error = read(&path, &options(8)).0.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
