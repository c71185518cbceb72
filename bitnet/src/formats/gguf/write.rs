use std::io::{self, Write};

use super::{ALIGNMENT, ENCODINGS, MAGIC};
use crate::formats::Encoding;

/// A value of the metadata, to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// A whole number.
    U32(u32),
    /// A number.
    F32(f32),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Whole numbers.
    I32s(Vec<i32>),
}

impl Field {
    fn write(&self, out: &mut Vec<u8>) {
        let mut kind = |kinds: &[u32]| kinds.iter().for_each(|kind| out.extend(kind.to_le_bytes()));
        match self {
            Self::U32(value) => {
                kind(&[4]);
                out.extend(value.to_le_bytes());
            }
            Self::F32(value) => {
                kind(&[6]);
                out.extend(value.to_le_bytes());
            }
            Self::Bool(value) => {
                kind(&[7]);
                out.push((*value).into());
            }
            Self::Text(value) => {
                kind(&[8]);
                text(value, out);
            }
            Self::Texts(values) => {
                kind(&[9, 8]);
                out.extend((values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| text(value, out));
            }
            Self::I32s(values) => {
                kind(&[9, 5]);
                out.extend((values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
        }
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A tensor to be written.
#[derive(Debug, Clone)]
pub struct GgufTensor {
    /// Its name.
    pub name: String,
    /// Its type.
    pub encoding: Encoding,
    /// Its shape, the last dimension being that of rows.
    pub shape: Vec<usize>,
}

/// Writes a GGUF file: metadata and header, then what `fill` writes for each tensor in turn.
///
/// # Errors
/// Those of `fill` and `out`; [`io::ErrorKind::InvalidInput`] for a tensor that cannot be stored
/// so.
pub fn write_gguf<W: Write, E: From<io::Error>>(
    out: &mut W,
    metadata: &[(String, Field)],
    tensors: &[GgufTensor],
    mut fill: impl FnMut(usize, &mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut head = MAGIC.to_vec();
    head.extend(3u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, field) in metadata {
        text(key, &mut head);
        field.write(&mut head);
    }
    let mut offset = 0;
    let mut sizes = Vec::with_capacity(tensors.len());
    for GgufTensor { name, encoding, shape } in tensors {
        let number = ENCODINGS.iter().find(|(_, known)| known == encoding);
        let (Some((number, _)), Some(bytes)) = (number, encoding.bytes(shape)) else {
            let reason = format!("tensor \"{name}\" {shape:?} cannot be {}", encoding.name());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason).into());
        };
        text(name, &mut head);
        head.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|&size| head.extend((size as u64).to_le_bytes()));
        head.extend(number.to_le_bytes());
        head.extend((offset as u64).to_le_bytes());
        sizes.push(bytes);
        offset = (offset + bytes).next_multiple_of(ALIGNMENT);
    }
    out.write_all(&head)?;
    pad(out, head.len())?;
    for (index, bytes) in sizes.into_iter().enumerate() {
        fill(index, out)?;
        pad(out, bytes)?;
    }
    Ok(())
}

/// Zeros up to where the next tensor begins.
fn pad(out: &mut impl Write, written: usize) -> io::Result<()> {
    out.write_all(&[0; ALIGNMENT][..written.next_multiple_of(ALIGNMENT) - written])
}
