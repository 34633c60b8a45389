//! The pages of a column, unpacked under limits.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::{Compression, CompressionCodec, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length, SerializedPageReader};
use parquet::schema::types::ColumnDescriptor;

/// The largest page, packed or not.
const MAX_PAGE_BYTES: u64 = 256 << 20;
/// The most entries of a dictionary.
const MAX_DICTIONARY: u64 = 1 << 20;
/// The most elements of the lists in one batch of rows.
pub(super) const MAX_ELEMENTS_A_BATCH: u64 = 1 << 22;

fn refused(what: impl Into<String>) -> ParquetError {
    ParquetError::General(what.into())
}

/// A file of which no more than a page is read at once.
#[derive(Debug)]
pub(super) struct BoundedFile {
    file: File,
    length: u64,
}

impl BoundedFile {
    pub(super) fn new(file: File) -> std::io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(BoundedFile { file, length })
    }
}

impl Length for BoundedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for BoundedFile {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(file))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.saturating_add(length as u64);
        if length as u64 > MAX_PAGE_BYTES || end > self.length {
            return Err(refused(format!("a page of {length} bytes is beyond what is allowed or there")));
        }
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Hands the pages of one column of a row group to the decoder.
///
/// The decoder of the format is told that they are not packed, and unpacking is done here, where it
/// ends at a limit. What the decoder would stumble over is refused.
pub(super) struct Pages {
    pages: SerializedPageReader<BoundedFile>,
    compression: Compression,
    levels: [bool; 2],
    has_dictionary: bool,
    elements: Arc<AtomicU64>,
}

impl Pages {
    /// `elements` counts down what lists may still hold.
    pub(super) fn new(
        file: &Arc<BoundedFile>,
        chunk: &ColumnChunkMetaData,
        rows: usize,
        elements: Arc<AtomicU64>,
    ) -> Result<Pages> {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let end = start.checked_add(chunk.compressed_size());
        let inside = start >= 0
            && chunk.compressed_size() >= 0
            && end.is_some_and(|end| u64::try_from(end).is_ok_and(|end| end <= file.length));
        if !inside {
            return Err(refused("a column lies outside the file"));
        }
        let compression = chunk.compression();
        let unpacked =
            chunk.clone().into_builder().set_compression_codec(CompressionCodec::UNCOMPRESSED).build()?;
        let column: &ColumnDescriptor = chunk.column_descr();
        Ok(Pages {
            pages: SerializedPageReader::new(Arc::clone(file), &unpacked, rows, None)?,
            compression,
            levels: [column.max_rep_level() > 0, column.max_def_level() > 0],
            has_dictionary: false,
            elements,
        })
    }

    fn unpack(&self, packed: &[u8]) -> Result<Bytes> {
        let too_large = || refused(format!("a page unpacks to more than the {MAX_PAGE_BYTES} bytes allowed"));
        let limited = |reader: &mut dyn Read| -> Result<Bytes> {
            let mut bytes = Vec::new();
            reader.take(MAX_PAGE_BYTES + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_PAGE_BYTES { Err(too_large()) } else { Ok(bytes.into()) }
        };
        let failed = |error: &dyn std::fmt::Display| refused(format!("a page cannot be unpacked: {error}"));
        if packed.is_empty() {
            return Ok(Bytes::new());
        }
        match self.compression {
            Compression::UNCOMPRESSED => Ok(Bytes::copy_from_slice(packed)),
            Compression::SNAPPY => {
                let length = snap::raw::decompress_len(packed).map_err(|error| failed(&error))?;
                if length as u64 > MAX_PAGE_BYTES {
                    return Err(too_large());
                }
                let unpacked = snap::raw::Decoder::new().decompress_vec(packed);
                Ok(unpacked.map_err(|error| failed(&error))?.into())
            }
            Compression::GZIP(_) => limited(&mut flate2::read::MultiGzDecoder::new(packed)),
            Compression::ZSTD(_) => {
                let mut decoder =
                    ruzstd::decoding::StreamingDecoder::new(packed).map_err(|error| failed(&error))?;
                limited(&mut decoder)
            }
            other => Err(refused(format!("{other:?} is not read; use snappy, gzip, zstd or nothing"))),
        }
    }

    /// The page as the decoder can take it.
    fn checked(&mut self, page: Page) -> Result<Page> {
        self.count_elements(&page)?;
        self.check_encoding(page.encoding())?;
        Ok(match page {
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let buf = self.unpacked(buf)?;
                if u64::from(num_values) > MAX_DICTIONARY.min(buf.len() as u64) {
                    return Err(refused(format!("a dictionary of {num_values} entries is not read")));
                }
                self.has_dictionary = true;
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
                let encodings = [rep_level_encoding, def_level_encoding];
                let used = self.levels.into_iter().zip(encodings).filter(|(used, _)| *used);
                if let Some((_, other)) = used.into_iter().find(|(_, encoding)| *encoding != Encoding::RLE) {
                    return Err(refused(format!("levels in the encoding {other} are not read")));
                }
                let buf = self.unpacked(buf)?;
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
                // The levels stand in front and are never packed.
                let levels = (def_levels_byte_len as usize).saturating_add(rep_levels_byte_len as usize);
                let Some((levels, values)) = buf.split_at_checked(levels) else {
                    return Err(refused("a page is shorter than its levels"));
                };
                let buf = if is_compressed && self.compression != Compression::UNCOMPRESSED {
                    Bytes::from([levels, &self.unpack(values)?].concat())
                } else {
                    buf
                };
                Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed: false,
                    statistics,
                }
            }
        })
    }

    fn unpacked(&self, buf: Bytes) -> Result<Bytes> {
        if self.compression == Compression::UNCOMPRESSED { Ok(buf) } else { self.unpack(&buf) }
    }

    /// Counts the elements of lists: a run of a few bytes can stand for any number of them.
    fn count_elements(&self, page: &Page) -> Result<()> {
        let [lists, _] = self.levels;
        if !lists || !page.is_data_page() {
            return Ok(());
        }
        let elements = u64::from(page.num_values());
        let left = self.elements.load(Ordering::Relaxed).checked_sub(elements);
        let left = left.ok_or_else(|| {
            refused(format!("lists of more than {MAX_ELEMENTS_A_BATCH} elements in few rows are not read"))
        })?;
        self.elements.store(left, Ordering::Relaxed);
        Ok(())
    }

    fn check_encoding(&self, encoding: Encoding) -> Result<()> {
        match encoding {
            Encoding::PLAIN | Encoding::RLE | Encoding::DELTA_BINARY_PACKED | Encoding::BYTE_STREAM_SPLIT => {
                Ok(())
            }
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                // The page of the dictionary itself has this encoding, too.
                Ok(())
            }
            // These decoders make room for as many values as a page claims to hold.
            other => Err(refused(format!("the encoding {other} is not read; use plain or a dictionary"))),
        }
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(page) = self.pages.get_next_page()? else { return Ok(None) };
        let page = self.checked(page)?;
        let dictionary = matches!(page.encoding(), Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        if page.is_data_page() && dictionary && !self.has_dictionary {
            return Err(refused("a page needs a dictionary that is not there"));
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
