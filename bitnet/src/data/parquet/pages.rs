use std::{io::Read, sync::Arc};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use lz4_flex::block::DecompressError;
use parquet::{
    basic::{Compression, Encoding},
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::{metadata::ColumnChunkMetaData, serialized_reader::SerializedPageReader},
};
use zstd::zstd_safe::{DCtx, get_error_name, get_frame_content_size};

use super::{
    delta,
    source::{LimitedFile, PageSource},
};

/// What a value of a dictionary takes in memory.
const BYTES_PER_VALUE: u64 = size_of::<parquet::data_type::ByteArray>() as u64;
/// Snappy makes no more of a byte.
const MAX_SNAPPY_RATIO: usize = 64;
/// What Zstandard calls an output that does not fit.
const ZSTD_TOO_SMALL: &str = "Destination buffer is too small";

/// The pages of a column, in a group of rows. The crate reads them as if they were not compressed;
/// they are decompressed here, none to more than a piece.
pub(super) struct Pages {
    inner: SerializedPageReader<PageSource>,
    source: Arc<LimitedFile>,
    codec: Compression,
    has_levels: bool,
    zstd: Option<DCtx<'static>>,
}

/// Whether pages in that compression are read.
pub(super) fn is_supported(codec: Compression) -> bool {
    !matches!(codec, Compression::LZ4 | Compression::LZO)
}

impl Pages {
    pub(super) fn new(
        source: Arc<LimitedFile>,
        column: &ColumnChunkMetaData,
        rows: i64,
    ) -> Result<Self> {
        let codec = column.compression();
        let has_levels = column.column_descr().max_def_level() > 0;
        let plain = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
        let rows = usize::try_from(rows)?;
        let pages = Arc::new(PageSource(source.clone()));
        let inner = SerializedPageReader::new(pages, &plain.build()?, rows, None)?;
        Ok(Self { inner, source, codec, has_levels, zstd: None })
    }

    fn page(&mut self, page: Page) -> Result<Page> {
        Ok(match page {
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let buf = self.decompressed(&[], buf)?;
                // Each is preceded by its length.
                if u64::from(num_values) > buf.len() as u64 / 4 {
                    return Err(damaged("a dictionary is shorter than it says"));
                }
                self.source.check_piece(u64::from(num_values) * BYTES_PER_VALUE)?;
                Page::DictionaryPage { buf, num_values, encoding, is_sorted }
            }
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                statistics,
            } => {
                let buf = self.decompressed(&[], buf)?;
                self.check(&buf, num_values, encoding, |buf| {
                    let len = match (self.has_levels, def_level_encoding) {
                        (false, _) => 0,
                        (true, Encoding::RLE) => {
                            4 + u64::from(u32::from_le_bytes(*buf.first_chunk()?))
                        }
                        _ => return None,
                    };
                    buf.get(usize::try_from(len).ok()?..)
                })?;
                Page::DataPage {
                    buf,
                    num_values,
                    encoding,
                    def_level_encoding,
                    rep_level_encoding,
                    statistics,
                }
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                statistics,
            } => {
                let levels = def_levels_byte_len as usize + rep_levels_byte_len as usize;
                if levels > buf.len() {
                    return Err(damaged("a page is shorter than its levels"));
                }
                let buf = match is_compressed {
                    true => self.decompressed(&buf[..levels], buf.slice(levels..))?,
                    false => buf,
                };
                self.check(&buf, num_values, encoding, |buf| buf.get(levels..))?;
                Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed,
                    statistics,
                }
            }
        })
    }

    /// Checks the numbers that memory is taken by, of which `values` finds what follows the levels.
    fn check<'b>(
        &self,
        page: &'b [u8],
        count: u32,
        encoding: Encoding,
        values: impl FnOnce(&'b [u8]) -> Option<&'b [u8]>,
    ) -> Result<()> {
        let prefixes = match encoding {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => false,
            Encoding::DELTA_BYTE_ARRAY => true,
            _ => return Ok(()),
        };
        self.source.check_piece(u64::from(count) * 4)?;
        match values(page) {
            Some(values) if delta::are_at_most(values, count.into(), prefixes) => Ok(()),
            _ => Err(damaged("the lengths of its texts make no sense")),
        }
    }

    /// What is compressed in `packed`, after `first`.
    fn decompressed(&mut self, first: &[u8], packed: Bytes) -> Result<Bytes> {
        if self.codec == Compression::UNCOMPRESSED && first.is_empty() {
            return Ok(packed);
        }
        let mut page = first.to_vec();
        if !packed.is_empty() {
            self.decompress(&packed, &mut page)?;
        }
        Ok(page.into())
    }

    fn decompress(&mut self, packed: &[u8], page: &mut Vec<u8>) -> Result<()> {
        let start = page.len();
        match self.codec {
            Compression::UNCOMPRESSED => page.extend_from_slice(packed),
            Compression::SNAPPY => {
                let len = snap::raw::decompress_len(packed).map_err(worded)?;
                self.source.check_piece(len as u64)?;
                if len / MAX_SNAPPY_RATIO > packed.len() {
                    return Err(damaged("a page is shorter than it says"));
                }
                page.resize(start + len, 0);
                snap::raw::Decoder::new().decompress(packed, &mut page[start..]).map_err(worded)?;
            }
            Compression::GZIP(_) => self.read(MultiGzDecoder::new(packed), page)?,
            Compression::BROTLI(_) => {
                self.read(brotli_decompressor::Decompressor::new(packed, 1 << 12), page)?;
            }
            Compression::ZSTD(_) => {
                let len = get_frame_content_size(packed).ok().flatten();
                self.source.check_piece(len.unwrap_or(0))?;
                let zstd = self.zstd.get_or_insert_default();
                // In one go: a stream takes memory for a window, which a few bytes make large.
                grow(&self.source, packed, len, page, |packed, page| {
                    match zstd.decompress(page, packed) {
                        Ok(len) => Ok(Some(len)),
                        Err(code) if get_error_name(code) == ZSTD_TOO_SMALL => Ok(None),
                        Err(code) => Err(damaged(get_error_name(code))),
                    }
                })?;
            }
            Compression::LZ4_RAW => grow(&self.source, packed, None, page, |packed, page| {
                match lz4_flex::block::decompress_into(packed, page) {
                    Ok(len) => Ok(Some(len)),
                    Err(DecompressError::OutputTooSmall { .. }) => Ok(None),
                    Err(error) => Err(worded(error)),
                }
            })?,
            Compression::LZ4 | Compression::LZO => {
                return Err(ParquetError::NYI("this compression".into()));
            }
        }
        Ok(())
    }

    /// Reads all, or an error if it is more than a piece.
    fn read(&self, packed: impl Read, page: &mut Vec<u8>) -> Result<()> {
        let piece = self.source.piece() as u64;
        let read = packed.take(piece.saturating_add(1)).read_to_end(page)?;
        self.source.check_piece(read as u64)
    }
}

/// Decompresses into a part of `page` that is as long as is expected, or as large as it takes, up
/// to a piece. `decompress` returns the length, or none if there is too little room.
fn grow(
    source: &LimitedFile,
    packed: &[u8],
    expected: Option<u64>,
    page: &mut Vec<u8>,
    mut decompress: impl FnMut(&[u8], &mut [u8]) -> Result<Option<usize>>,
) -> Result<()> {
    let start = page.len();
    let mut room = expected.map_or(4 * packed.len(), |len| len as usize);
    loop {
        room = room.min(source.piece());
        page.resize(start + room, 0);
        if let Some(len) = decompress(packed, &mut page[start..])? {
            page.truncate(start + len);
            return Ok(());
        }
        if room == source.piece() {
            return source.check_piece(u64::MAX);
        }
        room = (2 * room).max(1 << 10);
    }
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(what.into())
}

fn worded(error: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(error.to_string())
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        page.map(|page| self.page(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }
}
