//! Lengths that are packed as differences say themselves how many they are, and memory is taken
//! for them all at once.

/// Whether the values of a page with packed lengths are no more than `most`: those of
/// `DELTA_LENGTH_BYTE_ARRAY`, or with `prefixes` those of `DELTA_BYTE_ARRAY`.
pub(super) fn are_at_most(values: &[u8], most: u64, prefixes: bool) -> bool {
    let first = run(values, most);
    match first {
        Some(end) if prefixes => run(&values[end..], most).is_some(),
        first => first.is_some(),
    }
}

/// Where a run of packed numbers ends; `None` if there are more than `most`, or it is damaged.
fn run(bytes: &[u8], most: u64) -> Option<usize> {
    let mut at = 0;
    let block = number(bytes, &mut at)?;
    let blocks = number(bytes, &mut at)?;
    let count = number(bytes, &mut at)?;
    number(bytes, &mut at)?;
    if blocks == 0 || !block.is_multiple_of(blocks) || count > most {
        return None;
    }
    let (each, mut left) = (block / blocks, count.saturating_sub(1));
    if each == 0 {
        return None;
    }
    while left > 0 {
        number(bytes, &mut at)?;
        let start = at;
        at = at.checked_add(usize::try_from(blocks).ok()?)?;
        for &width in bytes.get(start..at)? {
            if left > 0 {
                let packed = u64::from(width).checked_mul(each)? / 8;
                at = at.checked_add(usize::try_from(packed).ok()?)?;
            }
            left = left.saturating_sub(each);
        }
    }
    (at <= bytes.len()).then_some(at)
}

fn number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_by_hand() {
        // Blocks of 128 in four parts of 32: three numbers of two bits in the first part.
        let three = [&[0x80, 1, 4, 3, 0, 0, 2, 0, 0, 0][..], &[0; 8]].concat();
        assert_eq!(run(&three, 3), Some(18));
        assert_eq!(run(&three, 2), None);
        assert_eq!(run(&three[..17], 3), None);
        // Widths of parts that are not used say nothing.
        let unused = [&[0x80, 1, 4, 3, 0, 0, 2, 9, 9, 9][..], &[0; 8]].concat();
        assert_eq!(run(&unused, 3), Some(18));
        let one = [0x80, 1, 4, 1, 0];
        assert_eq!(run(&one, 1), Some(5));
        assert_eq!(run(&[0x80, 1, 4, 0, 0], 1), Some(5));
        // More than fit into memory.
        let many = [0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0];
        assert_eq!(run(&many, 1 << 20), None);
        assert_eq!(run(&[0x80, 1, 0, 1, 0], 1), None);
        assert!(are_at_most(&[&one[..], &three].concat(), 3, true));
        assert!(!are_at_most(&[&one[..], &many].concat(), 3, true));
        assert!(are_at_most(&[&one[..], &many].concat(), 3, false));
    }
}
