//! SentencePiece's table of normalisations, before the library walks it: it indexes the table with
//! what stands in it.

use base64::{Engine, prelude::BASE64_STANDARD};

/// Most entries: those of published models have some ten thousands.
const MAX_UNITS: usize = 1 << 20;
/// Most bytes that one byte may become. The longest in Unicode is U+FDFA, three bytes and then 33.
const MAX_GROWTH: usize = 32;

/// An entry of the double array, of which each byte of a text is one step:
/// bits 0 to 7 are the byte that leads here, 8 tells that a text ends here, 9 and on tell where the
/// next are.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    fn is_reached_by(self, byte: u8) -> bool {
        self.0 & (1 << 31 | 0xFF) == u32::from(byte)
    }

    fn has_leaf(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn offset(self) -> usize {
        let shift = if self.0 >> 9 & 1 == 1 { 8 } else { 0 };
        ((self.0 >> 10) as usize) << shift
    }

    /// Where the replacement begins, of a leaf.
    fn value(self) -> usize {
        (self.0 & (u32::MAX >> 1)) as usize
    }
}

/// Checks a table in base 64: whatever the text, no step leads out of it, and each replacement is
/// one, and a short one.
///
/// # Errors
/// What is wrong.
pub(super) fn check(base64: &str) -> Result<(), &'static str> {
    let damaged = "its table of normalisations is damaged";
    let bytes = BASE64_STANDARD.decode(base64).map_err(|_| damaged)?;
    let (size, rest) = bytes.split_first_chunk().ok_or(damaged)?;
    let size = u32::from_le_bytes(*size) as usize / 4 * 4;
    let (units, texts) = rest.split_at_checked(size).ok_or(damaged)?;
    let texts = str::from_utf8(texts).map_err(|_| damaged)?;
    let (units, _) = units.as_chunks();
    let units: Vec<Unit> = units.iter().map(|unit| Unit(u32::from_le_bytes(*unit))).collect();
    if units.len() > MAX_UNITS {
        return Err("its table of normalisations is too large");
    }

    // The replacement that begins at each byte ends at a zero.
    let mut lengths = vec![0; texts.len() + 1];
    for (at, byte) in texts.bytes().enumerate().rev() {
        lengths[at] = if byte == 0 { 0 } else { lengths[at + 1] + 1 };
    }
    let mut is_seen = vec![false; units.len()];
    // What is to be looked at: the places from which so many bytes of a text lead on.
    let root = units.first().ok_or(damaged)?.offset();
    let mut places = vec![root];
    for bytes in 1.. {
        let mut next = Vec::new();
        for place in std::mem::take(&mut places) {
            // All 256 that one byte leads to.
            if place | 0xFF >= units.len() {
                return Err(damaged);
            }
            if std::mem::replace(&mut is_seen[place], true) {
                continue;
            }
            for byte in 1..=u8::MAX {
                let at = place ^ usize::from(byte);
                let unit = units[at];
                if !unit.is_reached_by(byte) {
                    continue;
                }
                let on = at ^ unit.offset();
                if unit.has_leaf() {
                    let start = units.get(on).ok_or(damaged)?.value();
                    if !texts.is_char_boundary(start) {
                        return Err(damaged);
                    }
                    if lengths[start] > MAX_GROWTH * bytes {
                        return Err("its table of normalisations makes texts too long");
                    }
                }
                next.push(on);
            }
        }
        places = next;
        if places.is_empty() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A table that replaces "A" by a text.
    pub(crate) fn table(replacement: &str) -> Vec<u8> {
        let mut units = [0u32; 512];
        // From the root to the first block; there 'A' leads to a leaf in the second.
        units[0] = 0;
        units[usize::from(b'A')] = u32::from(b'A') | 1 << 8 | (256 ^ u32::from(b'A')) << 10;
        units[256] = 1 << 31;
        let units = units.iter().flat_map(|unit| unit.to_le_bytes());
        [2048u32.to_le_bytes().into_iter().chain(units).collect(), replacement.as_bytes().to_vec()]
            .concat()
    }

    fn encoded(table: &[u8]) -> String {
        BASE64_STANDARD.encode(table)
    }

    #[test]
    fn the_library_reads_it_alike() {
        use tokenizers::{NormalizedString, Normalizer, normalizers::Precompiled};

        let table = table("ñandú\0");
        assert_eq!(check(&encoded(&table)), Ok(()));
        let mut text = NormalizedString::from("bAc");
        Precompiled::from(&table).unwrap().normalize(&mut text).unwrap();
        assert_eq!(text.get(), "bñandúc");
    }

    #[test]
    fn damaged_tables_are_refused() {
        let whole = table("x\0");
        for cut in [0, 3, 4, 1000, 2000, 2051] {
            assert!(check(&encoded(&whole[..cut])).is_err(), "{cut}");
        }
        assert!(check("no base 64").is_err());
        assert!(check(&encoded(&[255, 255, 255, 255])).is_err());
        assert!(check(&encoded(&table(&"x".repeat(33)))).is_err());
        let unit = |at: usize, unit: u32| {
            let mut table = whole.clone();
            table[4 + 4 * at..][..4].copy_from_slice(&unit.to_le_bytes());
            check(&encoded(&table))
        };
        assert_eq!(unit(1, 0), Ok(()));
        // Out of the table, and in the middle of the texts.
        for (at, value) in [(0, 512 << 10), (65, u32::MAX >> 1 & !0xFF | 65), (256, 1 << 31 | 7)] {
            assert!(unit(at, value).is_err(), "{at}");
        }
        // A circle ends.
        assert_eq!(unit(66, 66 | 66 << 10), Ok(()));
    }

    proptest::proptest! {
        /// What is let through, the library can use.
        #[test]
        fn no_table_makes_the_library_panic(
            changes in proptest::collection::vec((0usize..512, 0u32..=u32::MAX), 0..4),
            text: String,
        ) {
            use tokenizers::{NormalizedString, Normalizer, normalizers::Precompiled};

            let mut table = table("é\0y\0");
            for (at, unit) in changes {
                table[4 + 4 * at..][..4].copy_from_slice(&unit.to_le_bytes());
            }
            if check(&encoded(&table)).is_ok() {
                let precompiled = Precompiled::from(&table).unwrap();
                for text in [&text[..], "A", "BAé\u{301}A"] {
                    precompiled.normalize(&mut NormalizedString::from(text)).unwrap();
                }
            }
        }
    }
}
