use std::{collections::BTreeMap, ops::Range, path::Path};

use super::{
    ALIGNMENT, Array, ENCODINGS, Gguf, MAGIC, TYPE_NAMES, Value,
    cursor::{Cursor, Stop},
};
use crate::formats::{
    Encoding, FormatError, Store,
    mapped::{Mapped, name_of},
};

/// Most entries of the metadata, and most tensors.
const MAX_COUNT: u64 = 1 << 16;
/// Longest name of a tensor; llama.cpp's are below 64 bytes.
const MAX_NAME: usize = 256;
/// Most dimensions.
const MAX_DIMENSIONS: u32 = 4;
const STRING_TYPE: u32 = 8;
const ARRAY_TYPE: u32 = 9;

/// A tensor as the file names it.
struct Entry {
    name: String,
    encoding: Encoding,
    shape: Vec<usize>,
    /// From the end of the metadata.
    offset: usize,
    bytes: usize,
}

impl Gguf {
    /// Maps a file.
    ///
    /// # Errors
    /// [`FormatError`] if it cannot be read, is damaged, or has tensors of a type that is not read.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let file = name_of(path);
        let damaged = |reason: String| FormatError::damaged(&file, reason);
        let mapped = Mapped::open(path)?;
        let bytes = mapped.bytes();
        let mut cursor = Cursor::new(bytes, 0);
        let Head { metadata, entries } = head(&mut cursor).map_err(|error| error.in_file(&file))?;

        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(&Value::Integer(n)) if (1..=1 << 16).contains(&n) && (n & (n - 1)) == 0 => {
                n as usize
            }
            Some(_) => return Err(damaged("its alignment is no power of two".into())),
        };
        let start = cursor.at().next_multiple_of(alignment);
        let mut ranges: Vec<(Range<usize>, &str)> = Vec::with_capacity(entries.len());
        for Entry { name, offset, bytes: len, .. } in &entries {
            let first = start.checked_add(*offset).filter(|_| offset.is_multiple_of(alignment));
            let end = first.and_then(|first| first.checked_add(*len));
            match (first, end) {
                (Some(first), Some(end)) if end <= bytes.len() => ranges.push((first..end, name)),
                _ => {
                    let reason = format!("tensor \"{name}\" does not lie in the file");
                    return Err(damaged(reason));
                }
            }
        }
        let mut sorted = ranges.clone();
        sorted.sort_by_key(|(range, _)| (range.start, range.end));
        if let Some([(_, a), (_, b)]) =
            sorted.array_windows().find(|[(a, _), (b, _)]| a.end > b.start)
        {
            return Err(damaged(format!("tensors \"{a}\" and \"{b}\" overlap")));
        }
        let ranges: Vec<Range<usize>> = ranges.into_iter().map(|(range, _)| range).collect();
        let mut store = Store::default();
        let number = store.add_file(mapped);
        for (entry, range) in entries.into_iter().zip(ranges) {
            let Entry { name, encoding, shape, .. } = entry;
            if !store.add(name, encoding, shape, number, range) {
                return Err(damaged("two of its tensors have the same name".into()));
            }
        }
        Ok(Self { store, metadata })
    }

    /// The texts of an array.
    pub fn texts(&self, key: &str) -> Option<impl Iterator<Item = &str>> {
        let Value::Array(Array { kind: STRING_TYPE, count, range }) = self.metadata.get(key)?
        else {
            return None;
        };
        let mut cursor = Cursor::new(self.store.file(0), range.start);
        // Checked when the file was opened.
        Some((0..*count).map_while(move |_| cursor.text().ok()))
    }

    /// The whole numbers of an array.
    pub fn integers(&self, key: &str) -> Option<impl Iterator<Item = i128>> {
        let Value::Array(Array { kind, count, range }) = self.metadata.get(key)? else {
            return None;
        };
        let mut cursor = Cursor::new(self.store.file(0), range.start);
        let kind = *kind;
        let numbers = (0..*count).map_while(move |_| match scalar(&mut cursor, kind) {
            Ok(Some(Value::Integer(number))) => Some(number),
            _ => None,
        });
        (!matches!(kind, STRING_TYPE | ARRAY_TYPE | 6 | 7 | 12)).then_some(numbers)
    }
}

struct Head {
    metadata: BTreeMap<String, Value>,
    entries: Vec<Entry>,
}

/// What is wrong with a file whose name is not known here.
enum Wrong {
    Stop(Stop),
    Reason(String),
    Dtype(String, String),
}

impl From<Stop> for Wrong {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl Wrong {
    fn in_file(self, file: &str) -> FormatError {
        match self {
            Self::Stop(Stop::End) => FormatError::damaged(file, "it is cut short"),
            Self::Stop(Stop::NoText) => FormatError::damaged(file, "a text in it is no UTF-8"),
            Self::Reason(reason) => FormatError::damaged(file, reason),
            Self::Dtype(name, dtype) => {
                let readable = "F32, F16, BF16, Q8_0, TQ1_0, TQ2_0 and I2_S";
                FormatError::Dtype { name, dtype, readable }
            }
        }
    }
}

fn head(cursor: &mut Cursor<'_>) -> Result<Head, Wrong> {
    let reason = |reason: String| Err(Wrong::Reason(reason));
    if &cursor.array()? != MAGIC {
        return reason("it is no GGUF file".into());
    }
    match cursor.u32()? {
        2 | 3 => {}
        version if version.swap_bytes() <= 3 => return reason("it is big-endian".into()),
        version => return reason(format!("it is of version {version}, 2 and 3 can be read")),
    }
    let [tensors, entries] = [cursor.u64()?, cursor.u64()?];
    if tensors > MAX_COUNT || entries > MAX_COUNT {
        return reason(format!("it says that it has {tensors} tensors and {entries} entries"));
    }
    let mut metadata = BTreeMap::new();
    for _ in 0..entries {
        let key = cursor.text()?;
        let value = match cursor.u32()? {
            ARRAY_TYPE => Value::Array(array(cursor, key)?),
            kind => match scalar(cursor, kind)? {
                Some(value) => value,
                None => return reason(format!("entry \"{key}\" is of the unknown type {kind}")),
            },
        };
        if metadata.insert(key.to_owned(), value).is_some() {
            return reason(format!("entry \"{key}\" occurs twice"));
        }
    }
    // As they come: a count alone takes no memory.
    let mut entries = Vec::new();
    for _ in 0..tensors {
        entries.push(entry(cursor)?);
    }
    Ok(Head { metadata, entries })
}

/// A value that is no array; `None` for an unknown type.
fn scalar(cursor: &mut Cursor<'_>, kind: u32) -> Result<Option<Value>, Stop> {
    Ok(Some(match kind {
        0 => Value::Integer(u8::from_le_bytes(cursor.array()?).into()),
        1 => Value::Integer(i8::from_le_bytes(cursor.array()?).into()),
        2 => Value::Integer(u16::from_le_bytes(cursor.array()?).into()),
        3 => Value::Integer(i16::from_le_bytes(cursor.array()?).into()),
        4 => Value::Integer(cursor.u32()?.into()),
        5 => Value::Integer(i32::from_le_bytes(cursor.array()?).into()),
        6 => Value::Float(f32::from_le_bytes(cursor.array()?).into()),
        7 => Value::Bool(cursor.array::<1>()? != [0]),
        STRING_TYPE => Value::Text(cursor.text()?.to_owned()),
        10 => Value::Integer(cursor.u64()?.into()),
        11 => Value::Integer(i64::from_le_bytes(cursor.array()?).into()),
        12 => Value::Float(f64::from_le_bytes(cursor.array()?)),
        _ => return Ok(None),
    }))
}

/// Steps over an array, and checks that it is whole.
fn array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, Wrong> {
    let kind = cursor.u32()?;
    let count = cursor.size()?;
    let start = cursor.at();
    let size = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        STRING_TYPE => {
            // A text has at least the eight bytes of its length.
            if count > cursor.left() / 8 {
                return Err(Stop::End.into());
            }
            for _ in 0..count {
                cursor.text()?;
            }
            return Ok(Array { kind, count, range: start..cursor.at() });
        }
        _ => return Err(Wrong::Reason(format!("entry \"{key}\" is an array of type {kind}"))),
    };
    cursor.take(count.checked_mul(size).ok_or(Stop::End)?)?;
    Ok(Array { kind, count, range: start..cursor.at() })
}

fn entry(cursor: &mut Cursor<'_>) -> Result<Entry, Wrong> {
    let name = cursor.text()?;
    if name.len() > MAX_NAME {
        return Err(Wrong::Reason(format!("the name of a tensor has {} bytes", name.len())));
    }
    let dimensions = cursor.u32()?;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(Wrong::Reason(format!("tensor \"{name}\" has {dimensions} dimensions")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(cursor.size()?);
    }
    // Written from the innermost one on.
    shape.reverse();
    let kind = cursor.u32()?;
    let offset = cursor.size()?;
    let Some(&(_, encoding)) = ENCODINGS.iter().find(|(number, _)| *number == kind) else {
        let dtype = match TYPE_NAMES.iter().find(|(number, _)| *number == kind) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("type {kind}"),
        };
        return Err(Wrong::Dtype(name.to_owned(), dtype));
    };
    match encoding.bytes(&shape) {
        Some(bytes) => Ok(Entry { name: name.to_owned(), encoding, shape, offset, bytes }),
        None => {
            let reason =
                format!("tensor \"{name}\" is {shape:?}, no shape for {}", encoding.name());
            Err(Wrong::Reason(reason))
        }
    }
}
