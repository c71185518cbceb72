//! Ternary codes as they stand in files: from and to −1, 0 and 1.
//!
//! Layouts: TQ1_0 and TQ2_0 as llama.cpp's `ggml-quants.c` has them, I2_S as bitnet.cpp's x86
//! kernels, the strided one as `transformers`' BitNet.

use half::f16;

/// Codes of a TQ block.
const CODES_PER_TQ_BLOCK: usize = 256;
/// Codes of an I2_S block.
const CODES_PER_I2S_BLOCK: usize = 128;

/// Parts of a TQ1_0 block: first code, codes from one digit to the next, digits, first byte, bytes.
/// Four digits are a fifth of zero.
const TQ1_PARTS: [(usize, usize, usize, usize, usize); 3] =
    [(0, 32, 5, 0, 32), (160, 16, 5, 32, 16), (240, 4, 4, 48, 4)];

/// The two bits of a code.
fn bits(code: i8) -> u8 {
    (code + 1).cast_unsigned()
}

/// The code of two bits; 2 for what is none.
fn code(bits: u8) -> i8 {
    (bits & 3).cast_signed() - 1
}

/// Scale of a TQ block.
fn scale(block: &[u8]) -> f16 {
    let at = block.len() - 2;
    f16::from_le_bytes([block[at], block[at + 1]])
}

/// Scales of the TQ blocks `bytes`, of a size each.
pub(super) fn block_scales(bytes: &[u8], size: usize) -> impl Iterator<Item = f16> {
    bytes.chunks_exact(size).map(scale)
}

/// Reads a row of TQ2_0. A block whose scale is zero is zero.
pub(super) fn read_tq2_0(row: &[u8], out: &mut [i8]) {
    for (block, out) in row.chunks_exact(66).zip(out.chunks_exact_mut(CODES_PER_TQ_BLOCK)) {
        if scale(block) == f16::ZERO {
            out.fill(0);
            continue;
        }
        for (bytes, out) in block[..64].chunks(32).zip(out.chunks_mut(CODES_PER_TQ_BLOCK / 2)) {
            for (plane, out) in out.chunks_mut(32).enumerate() {
                for (out, byte) in out.iter_mut().zip(bytes) {
                    *out = code(byte >> (2 * plane));
                }
            }
        }
    }
}

/// Writes a row of TQ2_0 whose scale is one.
pub(crate) fn write_tq2_0(codes: &[i8], out: &mut Vec<u8>) {
    for block in codes.chunks_exact(CODES_PER_TQ_BLOCK) {
        for half in block.chunks(CODES_PER_TQ_BLOCK / 2) {
            out.extend((0..32).map(|at| {
                (0..4).fold(0, |byte, plane| byte | bits(half[32 * plane + at]) << (2 * plane))
            }));
        }
        out.extend(f16::ONE.to_le_bytes());
    }
}

/// Reads a row of TQ1_0. A block whose scale is zero is zero.
pub(super) fn read_tq1_0(row: &[u8], out: &mut [i8]) {
    for (block, out) in row.chunks_exact(54).zip(out.chunks_exact_mut(CODES_PER_TQ_BLOCK)) {
        if scale(block) == f16::ZERO {
            out.fill(0);
            continue;
        }
        for (first, step, digits, byte, bytes) in TQ1_PARTS {
            for at in 0..bytes {
                // A fraction of 256ths, whose digits to the base of three come out at the top.
                let mut fraction = block[byte + at];
                for digit in 0..digits {
                    let product = u16::from(fraction) * 3;
                    out[first + digit * step + at] = (product >> 8) as i8 - 1;
                    fraction = product as u8;
                }
            }
        }
    }
}

/// Writes a row of TQ1_0 whose scale is one.
pub(crate) fn write_tq1_0(codes: &[i8], out: &mut Vec<u8>) {
    for block in codes.chunks_exact(CODES_PER_TQ_BLOCK) {
        for (first, step, digits, _, bytes) in TQ1_PARTS {
            out.extend((0..bytes).map(|at| {
                let number = (0..5).fold(0, |number: u16, digit| {
                    let code =
                        if digit < digits { block[first + digit * step + at] + 1 } else { 0 };
                    3 * number + code as u16
                });
                // Rounded up, so that the digits come out of the fraction.
                ((number * 256).div_ceil(243)) as u8
            }));
        }
        out.extend(f16::ONE.to_le_bytes());
    }
}

/// Reads a row of I2_S.
pub(super) fn read_i2_s(row: &[u8], out: &mut [i8]) {
    for (block, out) in row.chunks_exact(32).zip(out.chunks_exact_mut(CODES_PER_I2S_BLOCK)) {
        for (plane, out) in out.chunks_mut(32).enumerate() {
            for (out, byte) in out.iter_mut().zip(block) {
                *out = code(byte >> (6 - 2 * plane));
            }
        }
    }
}

/// Writes a row of I2_S.
pub(crate) fn write_i2_s(codes: &[i8], out: &mut Vec<u8>) {
    for block in codes.chunks_exact(CODES_PER_I2S_BLOCK) {
        out.extend((0..32).map(|at| {
            (0..4).fold(0, |byte, plane| byte | bits(block[32 * plane + at]) << (6 - 2 * plane))
        }));
    }
}

/// Reads a row of strided codes, of `rows`: row `r` stands in the bits 2i of the row `r − i·rows/4`
/// of bytes.
pub(super) fn read_strided(bytes: &[u8], rows: usize, row: usize, out: &mut [i8]) {
    let (plane, row) = (row / (rows / 4), row % (rows / 4));
    let bytes = &bytes[row * out.len()..];
    for (out, byte) in out.iter_mut().zip(bytes) {
        *out = code(byte >> (2 * plane));
    }
}

/// Writes the row of bytes that holds four rows of codes.
pub(crate) fn write_strided(rows: [&[i8]; 4], out: &mut Vec<u8>) {
    out.extend((0..rows[0].len()).map(|at| {
        rows.iter().enumerate().fold(0, |byte, (plane, row)| byte | bits(row[at]) << (2 * plane))
    }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codes(len: usize) -> impl Strategy<Value = Vec<i8>> {
        prop::collection::vec(-1i8..=1, len)
    }

    proptest! {
        #[test]
        fn rows_come_back(codes in codes(512)) {
            type Write = fn(&[i8], &mut Vec<u8>);
            type Read = fn(&[u8], &mut [i8]);
            let formats: [(Write, Read); 3] = [
                (write_tq2_0, read_tq2_0), (write_tq1_0, read_tq1_0), (write_i2_s, read_i2_s),
            ];
            for (write, read) in formats {
                let mut bytes = Vec::new();
                write(&codes, &mut bytes);
                let mut back = vec![9; codes.len()];
                read(&bytes, &mut back);
                prop_assert_eq!(&back, &codes);
            }
        }

        #[test]
        fn strided_rows_come_back(codes in codes(8 * 5)) {
            let rows: Vec<&[i8]> = codes.chunks(5).collect();
            let mut bytes = Vec::new();
            for row in 0..2 {
                write_strided([0, 2, 4, 6].map(|plane| rows[row + plane]), &mut bytes);
            }
            for (index, row) in rows.into_iter().enumerate() {
                let mut back = [9; 5];
                read_strided(&bytes, 8, index, &mut back);
                prop_assert_eq!(&back[..], row);
            }
        }
    }

    /// The example of the documentation of `transformers`: four rows of a column in a byte.
    #[test]
    fn strided_by_hand() {
        let mut out = Vec::new();
        write_strided([&[0], &[-1], &[1], &[1]], &mut out);
        assert_eq!(out, [0b10_10_00_01]);
    }
}
