//! Capturing launches and products into a CUDA graph.
//!
//! Work is captured on a stream of its own, so that what other threads ask of the card meanwhile stays
//! out of the graph; the graph is launched into the card's stream, in the order of everything else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstream, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaStream, DriverError, result};

use super::CudaError;

/// The stream to capture on, and the thread that does, if one does.
pub(super) struct Capturing {
    stream: Arc<CudaStream>,
    thread: Mutex<Option<ThreadId>>,
}

impl Capturing {
    pub(super) const fn new(stream: Arc<CudaStream>) -> Self {
        Self { stream, thread: Mutex::new(None) }
    }

    /// The stream, when the calling thread captures on it.
    pub(super) fn stream(&self) -> Option<&CudaStream> {
        (*self.thread() == Some(thread::current().id())).then_some(&*self.stream)
    }

    /// Capture what `work` launches on this thread; `None` when another thread captures, or the driver
    /// or the work refuses.
    pub(super) fn capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Graph> {
        let _end = self.begin()?;
        self.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED).ok()?;
        let worked = work().is_ok();
        // Also after a refusal: the stream would go on capturing.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0)).ok()??;
        worked.then(|| Graph(Mutex::new(Handles(graph))))
    }

    fn begin(&self) -> Option<End<'_>> {
        let mut thread = self.thread();
        if thread.is_some() {
            return None;
        }
        *thread = Some(thread::current().id());
        Some(End(self))
    }

    fn thread(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a capture when it is dropped, also when the work panics.
struct End<'a>(&'a Capturing);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.thread() = None;
    }
}

/// Captured work.
pub(super) struct Graph(Mutex<Handles>);

struct Handles(CudaGraph);

// SAFETY: the driver's graphs may be used by any thread, one at a time, which the lock sees to.
unsafe impl Send for Handles {}

impl Graph {
    /// Queue the work on a stream.
    ///
    /// # Safety
    /// The stream is one of the graph's context, and all memory that the work uses lives until it is done.
    pub(super) unsafe fn launch(&self, stream: CUstream) -> Result<(), DriverError> {
        let graph = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the graph is instantiated and lives as long as this; the rest the caller promises.
        unsafe { result::graph::launch(graph.0.cu_graph_exec(), stream) }
    }
}
