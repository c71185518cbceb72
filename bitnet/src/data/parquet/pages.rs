use std::{
    io::{Cursor, Read},
    sync::Arc,
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::{
    basic::{Compression, Encoding},
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::{metadata::ColumnChunkMetaData, serialized_reader::SerializedPageReader},
};
use zstd::{bulk::Decompressor as Zstd, zstd_safe::get_frame_content_size};

use super::{delta, source::Source};

/// What a value of a dictionary takes in memory.
const VALUE: u64 = size_of::<parquet::data_type::ByteArray>() as u64;
/// Snappy makes no more of a byte.
const MOST_OF_SNAPPY: usize = 64;

/// The pages of a column, in a group of rows. The crate reads them as if they were not compressed;
/// they are decompressed here, none to more than a piece.
pub(super) struct Pages {
    inner: SerializedPageReader<Source>,
    source: Arc<Source>,
    codec: Compression,
    has_levels: bool,
    zstd: Option<Zstd<'static>>,
}

/// Whether pages in that compression are read.
pub(super) fn is_supported(codec: Compression) -> bool {
    !matches!(codec, Compression::LZ4 | Compression::LZO)
}

impl Pages {
    pub(super) fn new(
        source: Arc<Source>,
        column: &ColumnChunkMetaData,
        rows: i64,
    ) -> Result<Self> {
        let codec = column.compression();
        let has_levels = column.column_descr().max_def_level() > 0;
        let plain = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
        let rows = usize::try_from(rows)?;
        let inner = SerializedPageReader::new(source.clone(), &plain.build()?, rows, None)?;
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
                self.source.check_piece(u64::from(num_values) * VALUE)?;
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
                if len / MOST_OF_SNAPPY > packed.len() {
                    return Err(damaged("a page is shorter than it says"));
                }
                page.resize(start + len, 0);
                snap::raw::Decoder::new().decompress(packed, &mut page[start..]).map_err(worded)?;
            }
            Compression::GZIP(_) => self.read(MultiGzDecoder::new(packed), page)?,
            Compression::BROTLI(_) => {
                self.read(brotli_decompressor::Decompressor::new(packed, 1 << 12), page)?;
            }
            Compression::ZSTD(_) => match get_frame_content_size(packed) {
                Ok(Some(len)) => {
                    self.source.check_piece(len)?;
                    let zstd = match &mut self.zstd {
                        Some(zstd) => zstd,
                        none => none.insert(Zstd::new()?),
                    };
                    page.reserve(len as usize);
                    let mut rest = Cursor::new(page);
                    rest.set_position(start as u64);
                    zstd.decompress_to_buffer(packed, &mut rest)?;
                }
                _ => self.read(zstd::stream::read::Decoder::with_buffer(packed)?, page)?,
            },
            Compression::LZ4_RAW => loop {
                // It does not say how long it is.
                let len = (4 * packed.len()).max(2 * (page.len() - start)).min(self.source.piece());
                page.resize(start + len, 0);
                match lz4_flex::block::decompress_into(packed, &mut page[start..]) {
                    Ok(len) => break page.truncate(start + len),
                    Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) => {
                        if len == self.source.piece() {
                            return self.source.check_piece(u64::MAX);
                        }
                    }
                    Err(error) => return Err(worded(error)),
                }
            },
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
