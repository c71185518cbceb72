use burn::tensor::{Tensor, backend::Backend};

use crate::cpu::float::ROUNDING_ADDEND;

/// Codes in a word, two bits each.
const CODES_PER_WORD: usize = 32;
/// The lower bit of each code.
const LOWER_BITS: u64 = 0x5555_5555_5555_5555;

/// The codes of a quantised weight on the host, two bits each (code + 1), for comparing them with
/// later ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackedCodes {
    words: Vec<u64>,
    len: usize,
}

impl PackedCodes {
    /// Reads codes −1, 0 and 1 from the device.
    pub fn new<B: Backend, const D: usize>(codes: Tensor<B, D>) -> Self {
        let data = codes.into_data().convert::<f32>();
        let values = data.as_slice::<f32>().unwrap_or_default();
        let (words, rest) = values.as_chunks();
        let mut last = [-1.0; CODES_PER_WORD];
        last[..rest.len()].copy_from_slice(rest);
        let last = (!rest.is_empty()).then_some(&last);
        Self { words: words.iter().chain(last).map(word).collect(), len: values.len() }
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of zeros among them.
    pub fn zeros(&self) -> usize {
        // A zero is stored as 1, the only code with its lower bit set.
        self.words.iter().map(|word| (word & LOWER_BITS).count_ones() as usize).sum()
    }

    /// Number of codes that differ from those of `other`, which must be as many.
    pub fn flips(&self, other: &Self) -> usize {
        let differing = self.words.iter().zip(&other.words).map(|(a, b)| {
            let bits = a ^ b;
            ((bits | (bits >> 1)) & LOWER_BITS).count_ones() as usize
        });
        differing.sum()
    }

    /// The codes as bytes, the first one lowest; the last byte is filled up with zero bits.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(4));
        bytes
    }

    /// Reads back `len` codes; `None` if `bytes` are not as many as [`to_bytes`](Self::to_bytes)
    /// returns.
    pub fn from_bytes(bytes: &[u8], len: usize) -> Option<Self> {
        if bytes.len() != len.div_ceil(4) {
            return None;
        }
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        Some(Self { words: bytes.chunks(8).map(word).collect(), len })
    }
}

/// Packs some codes, in steps that vector units can take.
fn word(codes: &[f32; CODES_PER_WORD]) -> u64 {
    // The last byte of the sum with 1.5 · 2²³ is the integer.
    let bytes = codes.map(|code| ((code + ROUNDING_ADDEND).to_bits() as u8).wrapping_add(1));
    let quads = bytes.as_chunks::<4>().0.iter();
    let pack = |quad: &[u8; 4]| {
        let wide = u32::from_le_bytes(*quad);
        u64::from((wide | wide >> 6 | wide >> 12 | wide >> 18) & 0xff)
    };
    quads.map(pack).enumerate().map(|(at, byte)| byte << (8 * at)).sum()
}
