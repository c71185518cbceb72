/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// 32 bits.
    F32,
    /// IEEE's 16 bits.
    F16,
    /// The upper half of 32 bits.
    Bf16,
    /// GGUF: 32 integers of 8 bits and their f16 scale.
    Q8_0,
    /// GGUF: 256 ternary codes, five a byte, and their f16 scale (llama.cpp).
    Tq1_0,
    /// GGUF: 256 ternary codes, four a byte, and their f16 scale (llama.cpp).
    Tq2_0,
    /// GGUF: ternary codes, four a byte, and one f32 scale after them all (bitnet.cpp).
    I2S,
    /// Hugging Face BitNet: four rows of ternary codes in a row of bytes, the scale in a tensor of
    /// its own.
    Strided,
    /// Safetensors: bytes, whose meaning other tensors tell.
    Bytes,
}

impl Encoding {
    /// The name, as it is given and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Tq1_0 => "tq1_0",
            Self::Tq2_0 => "tq2_0",
            Self::I2S => "i2_s",
            Self::Strided => "packed",
            Self::Bytes => "u8",
        }
    }

    /// Whether the numbers are ternary codes and scales.
    pub fn is_ternary(self) -> bool {
        matches!(self, Self::Tq1_0 | Self::Tq2_0 | Self::I2S | Self::Strided)
    }

    /// Numbers of a block of a row, and bytes that it takes. Rows of [`Strided`](Self::Strided) are
    /// not blocks.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Tq1_0 => (256, 54),
            Self::Tq2_0 => (256, 66),
            Self::I2S => (128, 32),
            Self::Strided | Self::Bytes => (1, 1),
        }
    }

    /// Bytes of a tensor of a shape, the last dimension being that of its rows; `None` if it cannot
    /// be stored so, has no numbers, or would be larger than memory can be.
    pub fn bytes(self, shape: &[usize]) -> Option<usize> {
        let count = shape.iter().try_fold(1, |n: usize, &size| n.checked_mul(size))?;
        // Rows of nothing could be any number of rows.
        if count == 0 {
            return None;
        }
        let columns = shape.last().copied().unwrap_or(1);
        if self == Self::Strided {
            let fits = shape.len() == 2 && shape[0].is_multiple_of(4);
            return fits.then_some(count / 4);
        }
        let (values, bytes) = self.block();
        if !columns.is_multiple_of(values) {
            return None;
        }
        // The scale of I2_S stands after the codes, in 32 bytes.
        let tail = if self == Self::I2S { 32 } else { 0 };
        (count / values).checked_mul(bytes)?.checked_add(tail)
    }
}
