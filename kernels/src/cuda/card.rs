//! A card through its driver, which is opened when the program runs.

use std::ffi::c_void;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DriverError, result};

use super::card_capture::{Capturing, Graph};
use super::card_module;
use super::card_products::Blas;
use super::card_staging::Staging;
use super::{Captured, CudaError, Identity, Launch, Machine, Memory};

/// The CUDA version whose PTX the embedded kernels are.
const NEEDED: i32 = 13_000;
/// The oldest cards that the kernels run on, by the major number of their compute capability.
const OLDEST: i32 = 8;
/// Blocks per multiprocessor in a launch: more than run at once, so that all of them stay busy.
const BLOCKS: u32 = 8;
/// Freed memory up to this many bytes is kept for the next search, which then allocates for free.
const KEPT_BYTES: u64 = 1 << 30;

/// An NVIDIA card, with the kernels loaded.
pub struct Card {
    identity: Identity,
    /// Before the stream, which it uses until it is dropped.
    blas: Mutex<Option<Blas>>,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    capturing: Capturing,
    functions: Vec<card_module::Function>,
    staging: Staging,
    name: String,
    capability: (i32, i32),
    cuda_version: i32,
    multiprocessors: u32,
}

/// Memory of a [`Card`].
#[derive(Debug)]
pub struct CardMemory {
    owner: Identity,
    slice: CudaSlice<u8>,
    address: u64,
}

impl Memory for CardMemory {
    fn address(&self) -> u64 {
        self.address
    }

    fn owner(&self) -> Identity {
        self.owner
    }

    fn len(&self) -> usize {
        self.slice.len()
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Card {
    /// Open a card, numbered from 0 as the driver numbers them, and load the kernels.
    ///
    /// # Errors
    /// [`CudaError::NoDriver`], [`CudaError::DriverTooOld`], [`CudaError::NoDevice`],
    /// [`CudaError::CardTooOld`], and what the driver reports.
    pub fn open(device: usize) -> Result<Self, CudaError> {
        // SAFETY: loads the driver's library and lets it go again; its constructors are NVIDIA's.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        // A library without one of the driver's functions makes the bindings panic.
        catch_unwind(AssertUnwindSafe(|| Self::open_present(device))).unwrap_or(Err(CudaError::NoDriver))
    }

    fn open_present(device: usize) -> Result<Self, CudaError> {
        let mut found = 0;
        // SAFETY: the place for the answer is there; the call may come before any other.
        let asked = unsafe { sys::cuDriverGetVersion(&raw mut found) };
        asked.result().map_err(failed("tell its version"))?;
        if found < NEEDED {
            return Err(CudaError::DriverTooOld { found, needed: NEEDED });
        }
        let count = match CudaContext::device_count() {
            Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => 0,
            other => other.map_err(failed("count its devices"))?,
        };
        let count = usize::try_from(count).unwrap_or(0);
        if device >= count {
            return Err(CudaError::NoDevice { device, count });
        }
        let context = CudaContext::new(device).map_err(failed("open the device"))?;
        let capability = context.compute_capability();
        let (major, minor) = capability.map_err(failed("tell the card's compute capability"))?;
        if major < OLDEST {
            return Err(CudaError::CardTooOld { major, minor });
        }
        // SAFETY: all work goes to one stream, in whose order memory is written, read and freed.
        unsafe { context.disable_event_tracking() };
        let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors =
            context.attribute(attribute).map_err(failed("tell the number of multiprocessors"))?;
        keep_freed_memory(&context)?;
        Ok(Self {
            identity: Identity::new(),
            blas: Mutex::new(None),
            stream: context.new_stream().map_err(failed("open a stream"))?,
            capturing: Capturing::new(context.new_stream().map_err(failed("open a stream"))?),
            functions: card_module::load_kernels()?,
            staging: Staging::default(),
            name: context.name().map_err(failed("tell the card's name"))?,
            capability: (major, minor),
            cuda_version: found,
            multiprocessors: multiprocessors.unsigned_abs(),
            context,
        })
    }

    /// The card's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The card's compute capability, major and minor number.
    #[must_use]
    pub const fn compute_capability(&self) -> (i32, i32) {
        self.capability
    }

    /// The CUDA version that the driver speaks, as 1000 times the major plus 10 times the minor number.
    #[must_use]
    pub const fn cuda_version(&self) -> i32 {
        self.cuda_version
    }

    /// Free and total memory in bytes.
    ///
    /// # Errors
    /// What the driver reports.
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.context.mem_get_info().map_err(failed("tell the free memory"))
    }

    /// Work with cuBLAS, opened by `open` at the first call, on the stream that work goes to.
    pub(crate) fn with_blas(
        &self,
        open: impl FnOnce(&Arc<CudaStream>) -> Result<Blas, CudaError>,
        work: impl FnOnce(&Blas, &CudaStream) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        self.bind()?;
        let mut blas = self.blas.lock().unwrap_or_else(PoisonError::into_inner);
        let blas = match &mut *blas {
            Some(blas) => blas,
            none => none.insert(open(&self.stream)?),
        };
        work(blas, self.work_stream())
    }

    /// Where launches and products of this thread go: the card's stream, or the one that notes them.
    fn work_stream(&self) -> &CudaStream {
        self.capturing.stream().unwrap_or(&self.stream)
    }

    fn bind(&self) -> Result<(), CudaError> {
        self.context.bind_to_thread().map_err(failed("use the card on this thread"))
    }

    /// Let go of the memory that was freed and is kept for the next search, so that others can have it.
    fn release_freed(&self) -> Result<(), DriverError> {
        // Memory is freed in the order of the stream.
        self.stream.synchronize()?;
        if !self.context.has_async_alloc() {
            return Ok(());
        }
        // SAFETY: the context's device exists.
        let pool = unsafe { result::device::get_default_mem_pool(self.context.cu_device()) }?;
        // SAFETY: the pool is the device's.
        unsafe { sys::cuMemPoolTrimTo(pool, 0) }.result()
    }

    fn allocate_once(&self, bytes: usize) -> Result<CudaSlice<u8>, DriverError> {
        // The driver refuses to allocate nothing.
        // SAFETY: whoever reads the memory has written it before, in copies or in kernels.
        unsafe { self.stream.alloc::<u8>(bytes.max(1)) }
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // The staging buffers may still be on their way; when the driver fails, nothing is.
        let _ = self.stream.synchronize();
    }
}

// SAFETY: `allocate` gives memory of the device at the address that the driver reports. It is freed
// in the order of the stream, after all launches before.
unsafe impl Machine for Card {
    type Memory = CardMemory;

    fn identity(&self) -> Identity {
        self.identity
    }

    fn allocate(&self, bytes: usize) -> Result<CardMemory, CudaError> {
        let refused = |error: DriverError| error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY;
        // What was freed a moment ago may not be where it can be used again.
        let slice = match self.allocate_once(bytes) {
            Err(error) if refused(error) => self.release_freed().and_then(|()| self.allocate_once(bytes)),
            other => other,
        };
        let slice = slice.map_err(|error| {
            if refused(error) { CudaError::OutOfMemory { bytes } } else { failed("allocate memory")(error) }
        })?;
        let address = slice.device_ptr(&self.stream).0;
        Ok(CardMemory { owner: self.identity, slice, address })
    }

    fn write(&self, memory: &mut CardMemory, offset: usize, bytes: &[u8]) -> Result<(), CudaError> {
        self.identity.check(memory.owner)?;
        assert!(offset + bytes.len() <= memory.len(), "bytes within the memory");
        if bytes.is_empty() {
            return Ok(());
        }
        self.bind()?;
        let to = memory.address + offset as u64;
        // SAFETY: the memory is as long as the bytes, as asserted, and is freed in the order of the stream.
        unsafe { self.staging.copy(&self.stream, to, bytes) }.map_err(failed("copy to the card"))
    }

    fn read(&self, memory: &CardMemory, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.identity.check(memory.owner)?;
        assert!(offset + bytes.len() <= memory.len(), "bytes within the memory");
        if bytes.is_empty() {
            return Ok(());
        }
        self.bind()?;
        let from = memory.address + offset as u64;
        // SAFETY: the memory is as long as the bytes, as asserted, and the stream is waited for
        // before the bytes are used.
        unsafe { result::memcpy_dtoh_async(bytes, from, self.stream.cu_stream()) }
            .map_err(failed("copy from the card"))?;
        self.stream.synchronize().map_err(failed("finish the work on the card"))
    }

    unsafe fn launch(&self, launch: Launch, argument: &[u8]) -> Result<(), CudaError> {
        self.bind()?;
        let function = self.functions[launch.kernel as usize].handle();
        let blocks = (launch.blocks[0], launch.blocks[1], 1);
        let mut parameters = [argument.as_ptr().cast_mut().cast::<c_void>()];
        let threads = (launch.kernel.threads(), 1, 1);
        // SAFETY: the function is the kernel's, which takes this one structure, and its addresses are
        // good; both the caller promises. The driver copies the structure before the call returns.
        unsafe {
            let stream = self.work_stream();
            result::launch_kernel(function, blocks, threads, 0, stream.cu_stream(), &mut parameters)
        }
        .map_err(failed("launch a kernel"))
    }

    fn capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured> {
        self.bind().ok()?;
        let graph = self.capturing.capture(work)?;
        Some(Captured::new(self.identity, graph))
    }

    unsafe fn replay(&self, captured: &Captured) -> Result<(), CudaError> {
        let graph: &Graph = captured.work(self.identity)?;
        self.bind()?;
        // SAFETY: the stream is the card's; the caller promises that the memory lives.
        unsafe { graph.launch(self.stream.cu_stream()) }.map_err(failed("launch a graph"))
    }

    fn busy_blocks(&self) -> u32 {
        self.multiprocessors * BLOCKS
    }
}

/// Let the device keep some freed memory, where it can keep any.
fn keep_freed_memory(context: &Arc<CudaContext>) -> Result<(), CudaError> {
    if !context.has_async_alloc() {
        return Ok(());
    }
    // SAFETY: the context's device exists.
    let pool = unsafe { result::device::get_default_mem_pool(context.cu_device()) }
        .map_err(failed("find its memory pool"))?;
    let mut bytes = KEPT_BYTES;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is the device's, and the value of this attribute is a 64-bit number.
    unsafe { sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut bytes).cast()) }
        .result()
        .map_err(failed("set up its memory pool"))
}

/// The error for a call that the driver refused. The name of its number is ours: asking the driver
/// for it could fail again.
pub(super) fn failed(action: &'static str) -> impl FnOnce(DriverError) -> CudaError {
    move |error| CudaError::Driver { action, reason: reason(error.0) }
}

/// The name of an error, and what to do about those after which every call fails.
fn reason(error: CUresult) -> String {
    let lost = matches!(
        error,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
    );
    let advice = if lost { "; this process cannot use the card any more: start it again" } else { "" };
    format!("{error:?}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_card_gets_the_reason() {
        match Card::open(usize::MAX) {
            Ok(card) => panic!("{card:?} is no card of this machine"),
            Err(CudaError::NoDriver | CudaError::DriverTooOld { .. } | CudaError::NoDevice { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_lost_card_is_told_from_a_refused_call() {
        let text = |error| failed("launch a kernel")(DriverError(error)).to_string();
        let lost = text(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        assert!(lost.contains("CUDA_ERROR_ILLEGAL_ADDRESS") && lost.contains("start it again"), "{lost}");
        assert!(!text(CUresult::CUDA_ERROR_INVALID_VALUE).contains("start it again"));
    }
}
