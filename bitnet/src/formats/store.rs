use std::{collections::BTreeMap, ops::Range};

use half::{bf16, f16};
use rayon::prelude::*;

use super::{Encoding, FormatError, codes, mapped::Mapped};

/// Named tensors in mapped files.
#[derive(Debug, Default)]
pub struct Store {
    files: Vec<Mapped>,
    tensors: BTreeMap<String, Entry>,
}

/// Where a tensor is.
#[derive(Debug)]
struct Entry {
    encoding: Encoding,
    shape: Vec<usize>,
    file: usize,
    range: Range<usize>,
}

impl Store {
    /// Adds a file; returns its number.
    pub(super) fn add_file(&mut self, file: Mapped) -> usize {
        self.files.push(file);
        self.files.len() - 1
    }

    /// The bytes of a file.
    pub(super) fn file(&self, number: usize) -> &[u8] {
        self.files[number].bytes()
    }

    /// Adds a tensor of a file, of which the caller has checked that it holds the range; `false`
    /// if the name is taken.
    pub(super) fn add(
        &mut self,
        name: String,
        encoding: Encoding,
        shape: Vec<usize>,
        file: usize,
        range: Range<usize>,
    ) -> bool {
        self.tensors.insert(name, Entry { encoding, shape, file, range }).is_none()
    }

    /// Renames a tensor; `false` if it is not there, or the new one is.
    pub(crate) fn rename(&mut self, from: &str, to: String) -> bool {
        match self.tensors.remove(from) {
            Some(entry) => self.tensors.insert(to, entry).is_none(),
            None => false,
        }
    }

    /// Takes the bytes of a tensor for ternary codes of four times as many rows
    /// ([`Encoding::Strided`]).
    pub(crate) fn unstride(&mut self, name: &str) {
        if let Some(Entry { encoding, shape, .. }) = self.tensors.get_mut(name)
            && let (Encoding::Bytes, [rows, _]) = (*encoding, &mut shape[..])
        {
            *encoding = Encoding::Strided;
            // Bytes in a file are fewer than half of what a size can be.
            *rows *= 4;
        }
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, entry) = self.tensors.get_key_value(name)?;
        Some(TensorView { store: self, name, entry })
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.tensors.values().map(|entry| entry.range.len()).sum()
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> usize {
        self.files.iter().map(|file| file.bytes().len()).sum()
    }
}

/// A tensor in a file.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    store: &'a Store,
    name: &'a str,
    entry: &'a Entry,
}

impl<'a> TensorView<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// How its numbers are stored.
    pub fn encoding(&self) -> Encoding {
        self.entry.encoding
    }

    /// Its shape, the last dimension being that of rows.
    pub fn shape(&self) -> &'a [usize] {
        &self.entry.shape
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.entry.shape.iter().rev().skip(1).product()
    }

    /// Numbers of a row.
    pub fn columns(&self) -> usize {
        self.entry.shape.last().copied().unwrap_or(1)
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> &'a [u8] {
        &self.store.files[self.entry.file].bytes()[self.entry.range.clone()]
    }

    /// Lets the system have back the memory of its bytes; they are read from the file again if
    /// need be.
    pub fn release(&self) {
        self.store.files[self.entry.file].release(self.entry.range.clone());
    }

    /// The bytes of a row.
    fn row_bytes(&self, row: usize) -> &'a [u8] {
        let (values, bytes) = self.encoding().block();
        let len = self.columns() / values * bytes;
        &self.bytes()[row * len..][..len]
    }

    /// Reads a row of floats.
    ///
    /// # Panics
    /// If there is no such row, `out` has not its length, or the numbers are codes: those have
    /// scales elsewhere.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.columns(), "numbers of a row");
        let bytes = self.row_bytes(row);
        match self.encoding() {
            Encoding::F32 => {
                for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *out = f32::from_le_bytes(bytes);
                }
            }
            Encoding::F16 => {
                for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *out = f16::from_le_bytes(bytes).to_f32();
                }
            }
            Encoding::Bf16 => {
                for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *out = bf16::from_le_bytes(bytes).to_f32();
                }
            }
            Encoding::Q8_0 => {
                for (block, out) in bytes.chunks(34).zip(out.chunks_mut(32)) {
                    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                    for (out, &byte) in out.iter_mut().zip(&block[2..]) {
                        *out = f32::from(byte.cast_signed()) * scale;
                    }
                }
            }
            other => panic!("{} are no floats", other.name()),
        }
    }

    /// Checks that the numbers are floats for which `is_good` holds, which is said to be finite.
    ///
    /// # Errors
    /// [`FormatError::Tensor`] if not.
    pub fn check_floats(&self, is_good: impl Fn(f32) -> bool + Sync) -> Result<(), FormatError> {
        let encoding = self.encoding();
        if encoding.is_ternary() || encoding == Encoding::Bytes {
            let reason = format!("is stored as {}, floats are expected", encoding.name());
            return Err(FormatError::tensor(self.name, reason));
        }
        let room = || vec![0.0; self.columns()];
        let finite = (0..self.rows()).into_par_iter().map_init(room, |values, row| {
            self.row(row, values);
            values.iter().all(|&value| is_good(value))
        });
        match finite.all(|finite| finite) {
            true => Ok(()),
            false => Err(FormatError::tensor(self.name, "holds values that are not finite")),
        }
    }

    /// All numbers of a tensor of floats.
    ///
    /// # Errors
    /// As [`check_floats`](Self::check_floats).
    pub fn floats(&self) -> Result<Vec<f32>, FormatError> {
        self.check_floats(f32::is_finite)?;
        let mut values = vec![0.0; self.rows() * self.columns()];
        for (row, out) in values.chunks_mut(self.columns().max(1)).enumerate() {
            self.row(row, out);
        }
        Ok(values)
    }

    /// Reads a row of ternary codes, which are −1, 0 and 1; 2 stands for bits that are no code.
    ///
    /// # Panics
    /// If there is no such row, `out` has not its length, or the numbers are floats.
    pub fn codes(&self, row: usize, out: &mut [i8]) {
        assert_eq!(out.len(), self.columns(), "codes of a row");
        match self.encoding() {
            Encoding::Tq1_0 => codes::read_tq1_0(self.row_bytes(row), out),
            Encoding::Tq2_0 => codes::read_tq2_0(self.row_bytes(row), out),
            Encoding::I2S => codes::read_i2_s(self.row_bytes(row), out),
            Encoding::Strided => codes::read_strided(self.bytes(), self.rows(), row, out),
            other => panic!("{} are no codes", other.name()),
        }
    }

    /// The one scale of the codes that is stored with them; `None` where all of them are zero
    /// anyway, or the scale is a tensor of its own.
    ///
    /// # Errors
    /// [`FormatError::Tensor`] if blocks have different scales.
    pub fn inner_scale(&self) -> Result<Option<f32>, FormatError> {
        let bytes = self.bytes();
        match self.encoding() {
            Encoding::I2S => {
                let tail = &bytes[bytes.len() - 32..];
                Ok(Some(f32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]])))
            }
            Encoding::Tq1_0 | Encoding::Tq2_0 => {
                let mut scales = codes::block_scales(bytes, self.encoding().block().1)
                    .filter(|&scale| scale != f16::ZERO);
                let first = scales.next();
                match scales.find(|&scale| Some(scale) != first) {
                    Some(other) => {
                        let first = first.unwrap_or_default();
                        let reason = format!("has several scales, {first} and {other} for two");
                        Err(FormatError::tensor(self.name, reason))
                    }
                    None => Ok(first.map(f16::to_f32)),
                }
            }
            _ => Ok(None),
        }
    }
}
