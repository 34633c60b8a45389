//! Real search indexes for tests of storage alone.

use std::io::{self, Write};
use std::sync::Arc;

use twinbit_kernels::{Codes, MultiIndex, MultiIndexBuilder};
use twinbit_storage::{BoxedError, IndexBuild, IndexBytes, OpenIndex, SegmentIndexer};

/// Makes the indexes that a database makes, and writes them from the thread that asks for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Indexer;

impl SegmentIndexer for Indexer {
    fn build(
        &self,
        codes: Codes<'_>,
        build: IndexBuild,
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        MultiIndexBuilder::new(codes).memory_bytes(build.memory_bytes).write_to(&mut Out(out))
    }

    fn open(&self, bytes: IndexBytes, codes: Codes<'_>) -> Result<OpenIndex, BoxedError> {
        MultiIndex::from_bytes(&bytes)?.check_fits(codes)?;
        Ok(Arc::new(bytes))
    }

    fn verify(&self, index: &OpenIndex, codes: Codes<'_>) -> Result<(), BoxedError> {
        let bytes = index.downcast_ref::<IndexBytes>().ok_or("another kind of index")?;
        Ok(MultiIndex::from_bytes(bytes)?.verify(codes)?)
    }
}

struct Out<'f>(&'f mut dyn FnMut(&[u8]) -> io::Result<()>);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
