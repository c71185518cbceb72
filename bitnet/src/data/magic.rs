//! What the first bytes of a file say that it is.

use super::compression::Compression;

/// What marks a kind of file, and what to do with it.
struct Sign {
    at: usize,
    bytes: &'static [u8],
    what: &'static str,
    advice: Advice,
}

#[derive(Clone, Copy)]
enum Advice {
    /// It is read under a name with this ending.
    Name(&'static str),
    /// It is read under a name with this ending, if it holds a text.
    Decompress(Compression, &'static str),
    Unpack,
    Convert,
    /// It holds no text.
    None,
}

const fn sign(bytes: &'static [u8], what: &'static str, advice: Advice) -> Sign {
    Sign { at: 0, bytes, what, advice }
}

const SIGNATURES: [Sign; 30] = [
    sign(b"\x1f\x8b", "compressed with gzip", Advice::Decompress(Compression::Gzip, ".gz")),
    sign(
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd",
        Advice::Decompress(Compression::Zstd, ".zst"),
    ),
    sign(b"PAR1", "a Parquet file", Advice::Name(".parquet")),
    sign(b"\xfd7zXZ\0", "compressed with xz", Advice::Unpack),
    sign(b"BZh91AY&SY", "compressed with bzip2", Advice::Unpack),
    sign(b"LZIP\x01", "compressed with lzip", Advice::Unpack),
    sign(b"\x04\x22\x4d\x18", "compressed with LZ4", Advice::Unpack),
    sign(b"\xff\x06\0\0sNaPpY", "compressed with Snappy", Advice::Unpack),
    sign(b"\x1f\x9d", "compressed with compress", Advice::Unpack),
    sign(b"PK\x03\x04", "a zip archive", Advice::Unpack),
    sign(b"PK\x05\x06", "an empty zip archive", Advice::Unpack),
    sign(b"7z\xbc\xaf\x27\x1c", "a 7z archive", Advice::Unpack),
    sign(b"Rar!\x1a\x07", "a RAR archive", Advice::Unpack),
    Sign { at: 257, bytes: b"ustar", what: "a tar archive", advice: Advice::Unpack },
    sign(b"ARROW1\0\0", "an Arrow file", Advice::Convert),
    sign(b"\xff\xff\xff\xff", "an Arrow stream or another binary file", Advice::Convert),
    sign(b"Obj\x01", "an Avro file", Advice::Convert),
    sign(b"\x89HDF\r\n", "an HDF5 file", Advice::Convert),
    sign(b"\x93NUMPY", "a NumPy array", Advice::Convert),
    sign(b"SQLite format 3\0", "an SQLite database", Advice::Convert),
    sign(b"\xff\xfe\0\0", "UTF-32 text", Advice::Convert),
    sign(b"\0\0\xfe\xff", "UTF-32 text", Advice::Convert),
    sign(b"%PDF-", "a PDF document", Advice::Convert),
    sign(b"\x89PNG\r\n", "a PNG image", Advice::None),
    sign(b"\xff\xd8\xff", "a JPEG image", Advice::None),
    sign(b"GIF87a", "a GIF image", Advice::None),
    sign(b"GIF89a", "a GIF image", Advice::None),
    sign(b"\x7fELF", "a program", Advice::None),
    sign(b"GGUF", "a GGUF model", Advice::None),
    sign(b"BITNETTK", "a file of tokens", Advice::None),
];

/// What a file is that is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    /// The words for it.
    pub(super) what: String,
    /// What to do.
    pub(super) advice: String,
    /// How what is in it is compressed, if that can be read.
    pub(super) compression: Compression,
}

/// What a file is that begins with `head` and is no text. A zero byte is in no text but UTF-16, and
/// in the first kilobytes of nearly all that is compressed or binary.
pub(super) fn foreign(head: &[u8]) -> Option<Foreign> {
    let is = |sign: &&Sign| head.get(sign.at..).is_some_and(|rest| rest.starts_with(sign.bytes));
    if let Some(Sign { what, advice, .. }) = SIGNATURES.iter().find(is) {
        let compression = match advice {
            Advice::Decompress(compression, _) => *compression,
            _ => Compression::None,
        };
        let advice = match advice {
            Advice::Name(ending) | Advice::Decompress(_, ending) => {
                format!("it is read if its name ends in {ending}")
            }
            Advice::Unpack => "unpack it first".into(),
            Advice::Convert => "convert it first, to UTF-8 text, JSONL or Parquet".into(),
            Advice::None => "name the files of text, as in \"texts/*.txt\"".into(),
        };
        return Some(Foreign { what: (*what).into(), advice, compression });
    }
    let zero = head.iter().position(|&byte| byte == 0)?;
    let advice = "name the files of text, or convert it first, to UTF-8";
    let what = format!("binary (byte {} is zero)", zero + 1);
    Some(Foreign { what, advice: advice.into(), compression: Compression::None })
}

/// A mark of the encoding, at the beginning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl Mark {
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0xef, 0xbb, 0xbf, ..] => Self::Utf8,
            [0xff, 0xfe, 0, 0, ..] => Self::None,
            [0xff, 0xfe, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] => Self::Utf16Be,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_text_are_known() {
        let mut tar = vec![b'a'; 300];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, expected) in [
            (&b"\x1f\x8b\x08"[..], "gzip"),
            (b"PK\x03\x04", "zip"),
            (b"\x89PNG\r\n\x1a\n", "PNG"),
            (b"\xfd7zXZ\0", "xz"),
            (&tar, "tar"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
            (b"text\0", "byte 5 is zero"),
        ] {
            let what = foreign(head).unwrap().what;
            assert!(what.contains(expected), "{what}");
        }
        for text in [&b""[..], b"PK", b"BZh", b"LZIP is", b"caf\xe9", b"\xef\xbb\xbfa", b"\x1b[1m"]
        {
            assert_eq!(foreign(text), None);
        }
    }

    #[test]
    fn marks_by_hand() {
        for (head, expected) in [
            (&b"\xef\xbb\xbfa"[..], Mark::Utf8),
            (b"\xff\xfea\0", Mark::Utf16Le),
            (b"\xfe\xff\0a", Mark::Utf16Be),
            (b"\xff\xfe\0\0", Mark::None),
            (b"\xef\xbb", Mark::None),
            (b"", Mark::None),
        ] {
            assert_eq!(Mark::of(head), expected);
        }
    }
}
