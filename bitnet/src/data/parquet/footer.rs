//! What stands at the end of a Parquet file is looked through before it is used: its schema says
//! how many children each element has, and memory is taken and functions call themselves for as
//! many as it says.

use parquet::{
    errors::{ParquetError, Result},
    file::reader::ChunkReader,
};

use super::{
    source::LimitedFile,
    thrift::{I32_TYPE, LIST_TYPE, MAX_DEPTH, STRUCT_TYPE, Thrift},
};

/// Number of the schema among the fields of the whole, and of the children's number in an element.
const SCHEMA_FIELD: i64 = 2;
const CHILDREN_FIELD: i64 = 5;

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
            let children = children(&mut thrift).ok_or_else(damaged)?;
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

/// The number of children of each element of the schema.
fn children(thrift: &mut Thrift<'_>) -> Option<Vec<u64>> {
    let (count, kind) = thrift.list()?;
    if count > 0 && kind != STRUCT_TYPE {
        return None;
    }
    let mut children = Vec::new();
    for _ in 0..count {
        let (mut field, mut number) = (0, 0);
        while let Some(kind) = thrift.field(&mut field)? {
            if field == CHILDREN_FIELD && kind == I32_TYPE {
                number = u64::try_from(thrift.signed()?).ok()?;
            } else {
                thrift.skip(kind, MAX_DEPTH)?;
            }
        }
        children.push(number);
    }
    Some(children)
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
