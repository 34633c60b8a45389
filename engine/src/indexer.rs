//! Search indexes of segments, made and read by the kernels' multi-index.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use rayon::{ThreadPool, ThreadPoolBuilder};
use twinbit_kernels::{Codes, Modality, MultiIndex, MultiIndexBuilder};
use twinbit_storage::{BoxedError, IndexBuild, IndexBytes, OpenIndex, Part, SegmentIndexer};

/// Bytes handed over at once from the threads that make an index to the one that writes it.
const BLOCK: usize = 1 << 20;
/// Blocks that may wait to be written.
const BLOCKS: usize = 4;
/// How often it is asked whether an index is still wanted while it has no bytes to give.
const PATIENCE: Duration = Duration::from_millis(20);

self_cell::self_cell!(
    /// A multi-index over bytes that it keeps.
    struct OpenMultiIndex {
        owner: IndexBytes,
        #[covariant]
        dependent: MultiIndex,
    }
);

/// Makes and reads the indexes of a database.
#[derive(Debug)]
pub(crate) struct MultiIndexer {
    pool: Arc<ThreadPool>,
}

impl MultiIndexer {
    /// Indexes made by hand are made on these threads; those in the background on a thread of their own.
    pub(crate) fn new(pool: Arc<ThreadPool>) -> Self {
        Self { pool }
    }
}

impl SegmentIndexer for MultiIndexer {
    fn build(
        &self,
        codes: Codes<'_>,
        build: IndexBuild,
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let alone;
        let pool = if build.background {
            let thread = ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "twinbit-index".to_owned());
            alone = thread.build().map_err(io::Error::other)?;
            &alone
        } else {
            &*self.pool
        };
        let stopped = AtomicBool::new(false);
        let (sender, receiver) = channel::bounded(BLOCKS);
        // This thread writes, and may wait for the disk or for its share of it.
        pool.in_place_scope(|scope| {
            scope.spawn(|_| {
                let stop = || stopped.load(Ordering::Relaxed);
                let builder = MultiIndexBuilder::new(codes).memory_bytes(build.memory_bytes).stop(&stop);
                let mut blocks = BufWriter::with_capacity(BLOCK, Blocks(sender.clone()));
                if let Err(error) = builder.write_to(&mut blocks).and_then(|()| blocks.flush()) {
                    // Nobody may be there any more to be told.
                    let _ = sender.send(Err(error));
                }
                drop((blocks, sender));
            });
            let written = pass_on(receiver, out);
            stopped.store(true, Ordering::Relaxed);
            written
        })
    }

    fn open(&self, bytes: IndexBytes, codes: Codes<'_>) -> Result<OpenIndex, BoxedError> {
        let index = OpenMultiIndex::try_new(bytes, |bytes| MultiIndex::from_bytes(bytes))?;
        index.borrow_dependent().check_fits(codes)?;
        Ok(Arc::new(index))
    }

    fn verify(&self, index: &OpenIndex, codes: Codes<'_>) -> Result<(), BoxedError> {
        match index.downcast_ref::<OpenMultiIndex>() {
            Some(index) => Ok(index.borrow_dependent().verify(codes)?),
            None => Err("it was opened as something else".into()),
        }
    }
}

/// The index of the codes of a modality, where there is one.
pub(crate) fn index_of(part: &Part, modality: Modality) -> Option<&MultiIndex<'_>> {
    part.index(modality)?.downcast_ref::<OpenMultiIndex>().map(|index| index.borrow_dependent())
}

/// Gives blocks to `out` as they come, to the last one or the first error.
fn pass_on(
    blocks: Receiver<io::Result<Vec<u8>>>,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        match blocks.recv_timeout(PATIENCE) {
            Ok(block) => out(&block?)?,
            Err(RecvTimeoutError::Timeout) => out(&[])?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Hands over what is written to it.
struct Blocks(Sender<io::Result<Vec<u8>>>);

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let block = bytes.get(..BLOCK).unwrap_or(bytes);
        let gone = |_| io::Error::other("the index is not wanted any more");
        self.0.send(Ok(block.to_vec())).map_err(gone)?;
        Ok(block.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use twinbit_kernels::{CodeBits, CodesBuf};

    use super::*;

    fn indexer() -> MultiIndexer {
        MultiIndexer::new(Arc::new(ThreadPoolBuilder::new().num_threads(2).build().unwrap()))
    }

    fn codes() -> CodesBuf {
        let packed: Vec<u8> =
            (0..40_000_u32).flat_map(|row| row.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
        CodesBuf::from_packed(CodeBits::B32, &packed).unwrap()
    }

    #[test]
    fn an_index_is_the_same_wherever_it_is_made() {
        let codes = codes();
        let mut expected = Vec::new();
        MultiIndexBuilder::new(codes.as_codes()).write_to(&mut expected).unwrap();
        for background in [false, true] {
            let mut bytes = Vec::new();
            let build = IndexBuild { memory_bytes: 100_000, background };
            let built = indexer().build(codes.as_codes(), build, &mut |block| {
                bytes.extend_from_slice(block);
                Ok(())
            });
            assert!(built.is_ok());
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn an_index_that_is_not_wanted_any_more_is_given_up() {
        let codes = codes();
        let build = IndexBuild { memory_bytes: 1 << 20, background: true };
        let refused = indexer().build(codes.as_codes(), build, &mut |_| Err(io::Error::other("enough")));
        assert_eq!(refused.unwrap_err().to_string(), "enough");
    }
}
