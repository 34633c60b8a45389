//! Copies from the host's memory to the card's, through page-locked buffers.
//!
//! From memory that is not page-locked the driver may or may not have taken the bytes when its call
//! returns: where the card reads the host's pages by itself, it may not. So every copy goes through buffers
//! of ours, large ones in pieces: while some are on their way, the next one is filled.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, PinnedHostSlice, result};

/// Buffers, so many that the few small copies of a search wait for none before them.
const BUFFERS: usize = 8;
/// Bytes of a buffer: a copy of as many takes ten times as long as to ask for it.
const BUFFER_BYTES: usize = 2 << 20;

/// The buffers, allocated when they are first needed.
#[derive(Default)]
pub(super) struct Staging(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    buffers: Vec<Buffer>,
    next: usize,
}

/// A page-locked buffer and the event after which it may be filled again.
struct Buffer {
    bytes: PinnedHostSlice<u8>,
    copied: CudaEvent,
}

impl Buffer {
    fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        // SAFETY: the buffer is read only where it was written before.
        let bytes = unsafe { context.alloc_pinned(BUFFER_BYTES) }?;
        Ok(Self { bytes, copied: context.new_event(None)? })
    }
}

impl Ring {
    /// The buffer that was used longest ago.
    fn next(&mut self, context: &Arc<CudaContext>) -> Result<&mut Buffer, DriverError> {
        let number = self.next;
        if number == self.buffers.len() {
            self.buffers.push(Buffer::new(context)?);
        }
        self.next = (number + 1) % BUFFERS;
        Ok(&mut self.buffers[number])
    }
}

impl Staging {
    /// Copy bytes to an address in the order of a stream. They may be changed after the call.
    ///
    /// # Safety
    /// The address leads to memory of the stream's context, which is the current one, that is as long as
    /// the bytes and lives until the copy is done.
    pub(super) unsafe fn copy(
        &self,
        stream: &Arc<CudaStream>,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), DriverError> {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, piece) in bytes.chunks(BUFFER_BYTES).enumerate() {
            let buffer = ring.next(stream.context())?;
            buffer.copied.synchronize()?;
            let place = &mut buffer.bytes.as_mut_slice()?[..piece.len()];
            place.copy_from_slice(piece);
            let to = address + (number * BUFFER_BYTES) as u64;
            // SAFETY: the caller's memory is as long as the bytes; the buffer is neither written nor
            // freed before `copied`, which is recorded next (the card waits for its stream before it
            // lets the buffers go).
            unsafe { result::memcpy_htod_async(to, place, stream.cu_stream()) }?;
            buffer.copied.record(stream)?;
        }
        Ok(())
    }
}
