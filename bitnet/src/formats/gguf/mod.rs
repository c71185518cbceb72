//! GGUF, the files of llama.cpp and bitnet.cpp: metadata, then tensors.
//!
//! Versions 2 and 3 are read, 3 is written, both little-endian.

mod cursor;
mod read;
mod write;

use std::{collections::BTreeMap, ops::Range};

pub use write::{Field, GgufTensor, write_gguf};

use super::{Encoding, Store};

/// What a file begins with.
const MAGIC: &[u8; 4] = b"GGUF";
/// Where tensors begin unless the metadata says otherwise: at such a multiple.
const ALIGNMENT: usize = 32;

/// A mapped GGUF file.
#[derive(Debug)]
pub struct Gguf {
    /// Its tensors, named and encoded as in the file.
    pub store: Store,
    metadata: BTreeMap<String, Value>,
}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    /// Left in the file, and checked.
    Array(Array),
}

/// An array in the file.
#[derive(Debug, Clone, PartialEq)]
struct Array {
    kind: u32,
    count: usize,
    range: Range<usize>,
}

impl Gguf {
    /// A whole number.
    pub fn integer(&self, key: &str) -> Option<i128> {
        match self.metadata.get(key)? {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// A number.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.metadata.get(key)? {
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The numbers of types of tensors, and what they are called.
const TYPE_NAMES: [(u32, &str); 31] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (8, "Q8_0"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (30, "BF16"),
    (38, "TL1"),
    (39, "TL2 or MXFP4"),
];

/// Those that are read and written.
const ENCODINGS: [(u32, Encoding); 7] = [
    (0, Encoding::F32),
    (1, Encoding::F16),
    (8, Encoding::Q8_0),
    (30, Encoding::Bf16),
    (34, Encoding::Tq1_0),
    (35, Encoding::Tq2_0),
    (36, Encoding::I2S),
];
