//! An indexer whose index is a copy of the codes: as small as can be, and every misfit is seen.

use std::io;
use std::sync::Arc;

use twinbit_kernels::Codes;

use crate::{BoxedError, IndexBuild, IndexBytes, OpenIndex, SegmentIndexer};

const MAGIC: &[u8] = b"copy";

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CopyingIndexer;

/// What it keeps of an open index.
pub(crate) struct OpenCopy(IndexBytes);

impl OpenCopy {
    pub(crate) fn codes(&self) -> &[u8] {
        &self.0[MAGIC.len()..]
    }
}

impl SegmentIndexer for CopyingIndexer {
    fn build(
        &self,
        codes: Codes<'_>,
        _: IndexBuild,
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        out(MAGIC)?;
        codes.to_packed().chunks(10).try_for_each(out)
    }

    fn open(&self, bytes: IndexBytes, codes: Codes<'_>) -> Result<OpenIndex, BoxedError> {
        match bytes.starts_with(MAGIC) && bytes.len() == MAGIC.len() + codes.rows() * codes.bits().bytes() {
            true => Ok(Arc::new(OpenCopy(bytes))),
            false => Err("no copy of so many codes".into()),
        }
    }

    fn verify(&self, index: &OpenIndex, codes: Codes<'_>) -> Result<(), BoxedError> {
        match index.downcast_ref::<OpenCopy>().is_some_and(|copy| copy.codes() == codes.to_packed()) {
            true => Ok(()),
            false => Err("a copy of other codes".into()),
        }
    }
}
