use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::Path,
};

use ::safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, json};

use super::{
    Encoding, FormatError, PRODUCER, Store,
    mapped::{Mapped, name_of, read_text},
};

/// Largest header, and largest index of shards: those of models of hundreds of billions of
/// parameters are a few megabytes.
const MAX_HEADER_BYTES: usize = 1 << 24;
/// Most shards of a model.
const MAX_SHARDS: usize = 1 << 12;
/// Where the metadata say who wrote a file.
const PRODUCER_KEY: &str = "producer";
/// Where a header is written up to: tensors begin at such a multiple.
const HEADER_ALIGNMENT: usize = 8;

impl Store {
    /// Maps a safetensors file.
    ///
    /// # Errors
    /// [`FormatError`] if it cannot be read, is damaged, or holds tensors of other types than F32,
    /// F16, BF16 and U8.
    pub fn safetensors(path: &Path) -> Result<Self, FormatError> {
        let mut store = Self::default();
        store.add_safetensors(path)?;
        Ok(store)
    }

    /// Maps the safetensors files that an index, `model.safetensors.index.json`, names. They stand
    /// beside it.
    ///
    /// # Errors
    /// As [`safetensors`](Self::safetensors); [`FormatError::Damaged`] too if files and index do
    /// not hold the same tensors.
    pub fn sharded(index: &Path) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let name = name_of(index);
        let damaged = |reason: String| FormatError::damaged(&name, reason);
        let Index { weight_map } =
            serde_json::from_str(&read_text(index, MAX_HEADER_BYTES as u64)?)
                .map_err(|error| damaged(error.to_string()))?;
        let files: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
        if files.len() > MAX_SHARDS {
            return Err(damaged(format!("it names {} files", files.len())));
        }
        let mut store = Self::default();
        for file in files {
            // A file elsewhere is not part of this model.
            if Path::new(file).file_name() != Some(file.as_ref()) {
                return Err(damaged(format!("\"{file}\" is not the name of a file beside it")));
            }
            for tensor in store.add_safetensors(&index.with_file_name(file))? {
                if weight_map.get(&tensor).map(String::as_str) != Some(file) {
                    return Err(damaged(format!("it has no tensor \"{tensor}\" in {file}")));
                }
            }
        }
        match weight_map.keys().find(|&tensor| store.tensor(tensor).is_none()) {
            Some(tensor) => {
                Err(damaged(format!("tensor \"{tensor}\" is not in {}", weight_map[tensor])))
            }
            None => Ok(store),
        }
    }

    /// Returns the names of the tensors.
    fn add_safetensors(&mut self, path: &Path) -> Result<Vec<String>, FormatError> {
        let file = name_of(path);
        let damaged = |reason: String| FormatError::damaged(&file, reason);
        let mapped = Mapped::open(path)?;
        let bytes = mapped.bytes();
        let header = bytes.first_chunk().map_or(0, |&length| u64::from_le_bytes(length));
        if header > MAX_HEADER_BYTES as u64 {
            return Err(damaged(format!("its header has {header} bytes")));
        }
        // Checks that the header's offsets are those of its shapes, one after the other, up to the
        // end of the file.
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        // Behind the length of the header and itself.
        let first = size_of::<u64>() + header;
        let tensors = metadata.tensors();
        let mut found = Vec::with_capacity(tensors.len());
        let number = self.add_file(mapped);
        for (name, info) in tensors {
            let encoding = match info.dtype {
                Dtype::F32 => Encoding::F32,
                Dtype::F16 => Encoding::F16,
                Dtype::BF16 => Encoding::Bf16,
                Dtype::U8 => Encoding::Bytes,
                other => {
                    let dtype = format!("{other:?}");
                    return Err(FormatError::Dtype {
                        name,
                        dtype,
                        readable: "F32, F16, BF16 and U8",
                    });
                }
            };
            let (start, end) = info.data_offsets;
            let range = first + start..first + end;
            if encoding.bytes(&info.shape) != Some(range.len()) {
                return Err(damaged(format!(
                    "tensor \"{name}\" has another length than its shape"
                )));
            }
            found.push(name.clone());
            if !self.add(name, encoding, info.shape.clone(), number, range) {
                return Err(damaged("it has a tensor of an earlier file once more".into()));
            }
        }
        Ok(found)
    }
}

/// What the header of a safetensors file says of a tensor.
#[derive(Debug, Clone)]
pub struct TensorHeader {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: usize,
}

impl TensorHeader {
    /// A tensor of `shape`. Ternary codes are written strided: four rows in a row of bytes.
    ///
    /// # Panics
    /// If it cannot be stored so.
    pub fn new(name: &str, encoding: Encoding, mut shape: Vec<usize>) -> Self {
        let bytes = encoding.bytes(&shape);
        let dtype = match encoding {
            Encoding::F32 => "F32",
            Encoding::F16 => "F16",
            Encoding::Bf16 => "BF16",
            Encoding::Bytes => "U8",
            Encoding::Strided => {
                shape[0] /= 4;
                "U8"
            }
            other => panic!("safetensors have no {}", other.name()),
        };
        let bytes = bytes.unwrap_or_else(|| panic!("{shape:?} cannot be {}", encoding.name()));
        Self { name: name.into(), dtype, shape, bytes }
    }
}

/// Whether [`write_safetensors`] has written a file. One that is no safetensors file it has not.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn is_own_safetensors(path: &Path) -> Result<bool, FormatError> {
    let mapped = Mapped::open(path)?;
    let metadata = SafeTensors::read_metadata(mapped.bytes()).ok();
    let producer =
        metadata.and_then(|(_, metadata)| metadata.metadata().as_ref()?.get(PRODUCER_KEY).cloned());
    Ok(producer.as_deref() == Some(PRODUCER))
}

/// Writes a safetensors file: the header, then what `fill` writes for each tensor in turn.
///
/// # Errors
/// Those of `fill` and `out`.
pub fn write_safetensors<W: Write, E: From<io::Error>>(
    out: &mut W,
    tensors: &[TensorHeader],
    mut fill: impl FnMut(usize, &mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut header = Map::new();
    // The framework whose tensors these are, which `transformers` insists on; and by what they are
    // known again.
    header.insert("__metadata__".into(), json!({"format": "pt", (PRODUCER_KEY): PRODUCER}));
    let mut end = 0;
    for TensorHeader { name, dtype, shape, bytes } in tensors {
        let start = end;
        end += bytes;
        let info = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), info);
    }
    let mut header = serde_json::to_vec(&header).map_err(io::Error::from)?;
    header.resize(header.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    (0..tensors.len()).try_for_each(|index| fill(index, out))
}
