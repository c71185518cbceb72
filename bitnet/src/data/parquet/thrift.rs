//! The compact protocol of Thrift, in which Parquet describes itself: enough of it to check that what
//! it says can be, before it is believed.

/// How deep values may lie in one another.
pub(super) const MAX_DEPTH: usize = 64;

/// Types.
pub(super) const I32_TYPE: u8 = 5;
pub(super) const LIST_TYPE: u8 = 9;
pub(super) const STRUCT_TYPE: u8 = 12;

/// Bytes of the compact protocol. `None` is damage.
pub(super) struct Thrift<'a>(pub(super) &'a [u8]);

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    /// The type of the next field, whose number replaces that of the last one; `None` within at
    /// the end of the struct.
    pub(super) fn field(&mut self, number: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        let kind = byte & 0x0f;
        if kind == 0 {
            return Some(None);
        }
        *number = match byte >> 4 {
            0 => self.signed()?,
            more => number.checked_add(more.into())?,
        };
        Some(Some(kind))
    }

    /// Number and type of a list's elements.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => self.number()?,
            count => count.into(),
        };
        // Each takes a byte at least; truth values in lists are in no footer.
        let kind = byte & 0x0f;
        let fits = count <= self.0.len() as u64 && (count == 0 || kind > 2);
        fits.then_some((count, kind))
    }

    /// Passes a value. As each element of a list takes a byte at least, this takes no longer than
    /// there are bytes, for each level of depth.
    pub(super) fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Truth values stand in the type of a field.
            1 | 2 => Some(()),
            3 => self.pass(1),
            4..=6 => self.number().map(drop),
            7 => self.pass(8),
            8 => {
                let len = self.number()?;
                self.pass(len)
            }
            LIST_TYPE | 10 => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.skip(kind, depth))
            }
            11 => {
                let count = self.number()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                let (key, value) = (kinds >> 4, kinds & 0x0f);
                if count > self.0.len() as u64 || key < 3 || value < 3 {
                    return None;
                }
                (0..count).try_for_each(|_| {
                    self.skip(key, depth)?;
                    self.skip(value, depth)
                })
            }
            STRUCT_TYPE => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, depth)?;
                }
                Some(())
            }
            13 => self.pass(16),
            _ => None,
        }
    }
}

/// The length of the struct at the beginning of `bytes`; `None` if they end before it, or make no
/// sense.
pub(super) fn struct_len(bytes: &[u8]) -> Option<usize> {
    let mut thrift = Thrift(bytes);
    thrift.skip(STRUCT_TYPE, MAX_DEPTH)?;
    Some(bytes.len() - thrift.0.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_end_where_they_end() {
        // A number, a text, a list of two doubles, and a struct within.
        let bytes = [b"\x15\x04\x18\x01t\x19\x27", &[7; 16][..], b"\x1c\x15\x02\0\0"].concat();
        assert_eq!(struct_len(&[&bytes[..], b"more"].concat()), Some(bytes.len()));
        for len in 0..bytes.len() {
            assert_eq!(struct_len(&bytes[..len]), None);
        }
    }

    #[test]
    fn lists_are_no_longer_than_their_bytes() {
        // 2³¹ − 1 truth values, which would take no bytes, and as many doubles.
        for kind in [1, 7] {
            let bytes =
                [0x19, 0xf0 | kind, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(struct_len(&bytes), None);
        }
        let deep = [[0x1c; MAX_DEPTH + 1].as_slice(), &[0; MAX_DEPTH + 1]].concat();
        assert_eq!(struct_len(&deep), None);
    }
}
