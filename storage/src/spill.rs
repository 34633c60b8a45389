//! Rows that a thread writes as a segment while their transaction gathers the next ones.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::buffer::RowBuffer;
use crate::error::Error;
use crate::segment::Segment;

type Write = dyn Fn(&RowBuffer) -> Result<Segment, Error> + Send + Sync;

/// Rows on their way into a segment. Dropping it waits for the thread, so that nothing writes to the
/// database's folder any more once a transaction is gone.
pub(crate) struct Spill {
    rows: Arc<RowBuffer>,
    write: Arc<Write>,
    /// `None` when there is none, or when what it wrote has been asked for.
    thread: Option<JoinHandle<Result<Segment, Error>>>,
}

impl Spill {
    /// Begins writing the rows.
    pub(crate) fn start(
        rows: RowBuffer,
        write: impl Fn(&RowBuffer) -> Result<Segment, Error> + Send + Sync + 'static,
    ) -> Self {
        let (rows, write): (_, Arc<Write>) = (Arc::new(rows), Arc::new(write));
        let thread = {
            let (rows, write) = (rows.clone(), write.clone());
            std::thread::Builder::new().name("twinbit-segment".to_owned()).spawn(move || write(&rows))
        };
        // Where no thread can be had, `finish` writes.
        Spill { rows, write, thread: thread.ok() }
    }

    /// Waits for the segment. After a failure the rows are still there, and the next call writes them
    /// again.
    pub(crate) fn finish(&mut self) -> Result<Segment, Error> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(segment)) => segment,
            Some(Err(panic)) => resume_unwind(panic),
            None => (self.write)(&self.rows),
        }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A segment that no commit names removes its files when it is dropped.
            drop(thread.join());
        }
    }
}
