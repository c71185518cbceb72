use half::{bf16, f16};

use super::Encoding;

/// Writes a row of floats.
///
/// # Panics
/// If `encoding` is none of floats.
pub(crate) fn write_floats(encoding: Encoding, values: &[f32], out: &mut Vec<u8>) {
    match encoding {
        Encoding::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Encoding::F16 => {
            out.extend(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()));
        }
        Encoding::Bf16 => {
            out.extend(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()));
        }
        Encoding::Q8_0 => values.chunks(32).for_each(|block| write_q8_0(block, out)),
        other => panic!("{} are no floats", other.name()),
    }
}

fn write_q8_0(block: &[f32], out: &mut Vec<u8>) {
    let magnitude = block.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
    // Ternary codes stay what they are.
    let is_code = |value: &f32| [-1.0, 0.0, 1.0].contains(value);
    let scale = if block.iter().all(is_code) { 1.0 } else { magnitude / 127.0 };
    let inverse = if scale == 0.0 { 0.0 } else { scale.recip() };
    out.extend(f16::from_f32(scale).to_le_bytes());
    out.extend(block.iter().map(|value| ((value * inverse).round() as i8).cast_unsigned()));
}

/// Whether a number is finite in an encoding.
pub(crate) fn holds(encoding: Encoding, value: f32) -> bool {
    match encoding {
        Encoding::F16 => f16::from_f32(value).is_finite(),
        Encoding::Bf16 => bf16::from_f32(value).is_finite(),
        // The scale of a block is an f16.
        Encoding::Q8_0 => f16::from_f32(value / 127.0).is_finite(),
        _ => value.is_finite(),
    }
}
