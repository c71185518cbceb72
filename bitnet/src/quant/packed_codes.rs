use burn::tensor::{Tensor, backend::Backend};

/// Codes in a word, two bits each.
const CODES: usize = 32;
/// The lower bit of each code.
const LOW: u64 = 0x5555_5555_5555_5555;

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
        let words = values.chunks(CODES).map(|chunk| {
            let code = |(at, &value): (usize, &f32)| ((value as i8 + 1) as u64) << (2 * at);
            chunk.iter().enumerate().map(code).sum()
        });
        Self { words: words.collect(), len: values.len() }
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
        self.words.iter().map(|word| (word & LOW).count_ones() as usize).sum()
    }

    /// Number of codes that differ from those of `other`, which must be as many.
    pub fn flips(&self, other: &Self) -> usize {
        let differing = self.words.iter().zip(&other.words).map(|(a, b)| {
            let bits = a ^ b;
            ((bits | (bits >> 1)) & LOW).count_ones() as usize
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
    /// gives.
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
