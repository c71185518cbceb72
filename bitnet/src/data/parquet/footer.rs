//! What stands at the end of a Parquet file is looked through before it is used: its schema says
//! how many children each element has, and memory is taken and functions call themselves for as
//! many as it says.

use parquet::{
    errors::{ParquetError, Result},
    file::reader::ChunkReader,
};

use super::source::LimitedFile;

/// How deep groups may lie in one another.
const MAX_DEPTH: usize = 64;
/// Number of the schema among the fields of the whole, and of the children's number in an element.
const SCHEMA_FIELD: i64 = 2;
const CHILDREN_FIELD: i64 = 5;

/// Types of the compact protocol of Thrift.
const I32_TYPE: u8 = 5;
const LIST_TYPE: u8 = 9;
const STRUCT_TYPE: u8 = 12;

/// Checks the footer's schema. A file that has no footer passes: it is no Parquet file.
///
/// # Errors
/// What is wrong.
pub(super) fn check(source: &LimitedFile) -> Result<()> {
    let Some(start) = source.len().checked_sub(8) else { return Ok(()) };
    let end = source.get_bytes(start, 8)?;
    let len = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
    match start.checked_sub(len.into()) {
        Some(start) if &end[4..] == b"PAR1" => {
            check_schema(&source.get_bytes(start, len as usize)?)
        }
        _ => Ok(()),
    }
}

fn check_schema(footer: &[u8]) -> Result<()> {
    let damaged = || ParquetError::General("its schema makes no sense".into());
    let mut thrift = Thrift(footer);
    let mut field = 0;
    while let Some(kind) = thrift.field(&mut field).ok_or_else(damaged)? {
        if field == SCHEMA_FIELD && kind == LIST_TYPE {
            let children = thrift.children().ok_or_else(damaged)?;
            if !is_tree(&children) {
                return Err(damaged());
            }
        } else {
            thrift.skip(kind, MAX_DEPTH).ok_or_else(damaged)?;
        }
    }
    Ok(())
}

/// Whether numbers of children, each element before those below it, are those of a tree that is
/// not too deep.
fn is_tree(children: &[u64]) -> bool {
    let mut open: Vec<u64> = Vec::new();
    for &count in children {
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if count > children.len() as u64 || open.len() > MAX_DEPTH {
            return false;
        }
        open.push(count);
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    true
}

/// Bytes of the compact protocol. `None` is damage.
struct Thrift<'a>(&'a [u8]);

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

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    /// The type of the next field, whose number replaces that of the last one; `None` within at
    /// the end of the struct.
    fn field(&mut self, number: &mut i64) -> Option<Option<u8>> {
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
    fn list(&mut self) -> Option<(u64, u8)> {
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

    /// The number of children of each element of the schema.
    fn children(&mut self) -> Option<Vec<u64>> {
        let (count, kind) = self.list()?;
        if count > 0 && kind != STRUCT_TYPE {
            return None;
        }
        let mut children = Vec::new();
        for _ in 0..count {
            let (mut field, mut number) = (0, 0);
            while let Some(kind) = self.field(&mut field)? {
                if field == CHILDREN_FIELD && kind == I32_TYPE {
                    number = u64::try_from(self.signed()?).ok()?;
                } else {
                    self.skip(kind, MAX_DEPTH)?;
                }
            }
            children.push(number);
        }
        Some(children)
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_by_hand() {
        // A root with a leaf and a group of two leaves.
        assert!(is_tree(&[2, 0, 2, 0, 0]));
        assert!(is_tree(&[]));
        assert!(is_tree(&[0]));
        assert!(!is_tree(&[2, 0, 99]));
        let deep = |depth: usize| [vec![1; depth], vec![0]].concat();
        assert!(is_tree(&deep(MAX_DEPTH)));
        assert!(!is_tree(&deep(MAX_DEPTH + 1)));
        let wide: Vec<u64> = [2].into_iter().chain(vec![1, 0]).chain(vec![1, 0]).collect();
        assert!(is_tree(&wide));
    }

    #[test]
    fn a_schema_that_asks_for_memory_is_refused() {
        // A version, then a schema of two elements: a group of `children` and a leaf.
        let footer = |children: &[u8]| {
            let group = [b"\x48\x01m\x15", children, b"\0"].concat();
            [b"\x15\x04\x19\x2c", &group[..], b"\x25\x0c\x18\x01t\0", b"\0"].concat()
        };
        assert!(check_schema(&footer(b"\x02")).is_ok());
        assert!(check_schema(&footer(b"\xfe\xff\xff\xff\x0f")).is_err());
        assert!(check_schema(&footer(b"\x03")).is_err(), "less than none");
        let whole = footer(b"\x02");
        for len in 0..whole.len() {
            assert!(check_schema(&whole[..len]).is_err());
        }
    }
}
