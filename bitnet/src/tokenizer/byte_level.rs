/// The printable stand-ins of the 256 bytes, as GPT-2's byte-level BPE writes them: a byte without
/// a printable character of its own gets one from U+0100 on, in order.
pub(super) fn stand_ins() -> [char; 256] {
    let mut others = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        byte @ (b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) => char::from(byte),
        _ => others.next().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    use super::*;

    #[test]
    fn agrees_with_the_tokenizers_library() {
        let ours: HashSet<char> = stand_ins().into();
        assert_eq!(ours, ByteLevel::alphabet().into_iter().collect());
        assert_eq!((ours.len(), stand_ins()[b' ' as usize]), (256, 'Ġ'));
    }
}
