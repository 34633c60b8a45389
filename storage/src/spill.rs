//! A segment that a thread writes while its transaction gathers the next one.

use std::panic::resume_unwind;
use std::thread::JoinHandle;

use crate::error::Error;
use crate::segment::Segment;

/// A segment being written. Dropping it waits for the writer, so that nothing writes to the
/// database's folder any more once a transaction is gone.
pub(crate) struct Spill {
    thread: Option<JoinHandle<Result<Segment, Error>>>,
}

impl Spill {
    /// Begins writing.
    pub(crate) fn start(
        write: impl FnOnce() -> Result<Segment, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let thread = std::thread::Builder::new()
            .name("twinbit-segment".to_owned())
            .spawn(write)
            .map_err(|source| Error::Thread { source })?;
        Ok(Spill { thread: Some(thread) })
    }

    /// Waits for the segment.
    pub(crate) fn finish(mut self) -> Result<Option<Segment>, Error> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(segment)) => segment.map(Some),
            Some(Err(panic)) => resume_unwind(panic),
            None => Ok(None),
        }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A segment that nobody asks for removes its files when it is dropped.
            drop(thread.join());
        }
    }
}
