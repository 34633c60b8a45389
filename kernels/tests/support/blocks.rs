//! A machine that runs the CUDA kernels on the CPU: their sources compiled by g++ (`cu/cpu`).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

use libloading::Library;
use twinbit_kernels::cuda::train::{self, Multiply, Operand, Precision, Product};
use twinbit_kernels::cuda::{ARGUMENT_BYTES, Captured, CudaError, Identity, Kernel, Launch, Machine, Memory};

use crate::compiled::{KernelFunction, compile, run_kernel};

/// Bytes before and after each piece of memory that no kernel may change.
const GUARD: usize = 256;
const GUARD_BYTE: u8 = 0x5c;

/// Runs kernels on the CPU; every launch has a schedule of its own, drawn from the seed.
#[derive(Debug)]
pub(crate) struct Blocks {
    identity: Identity,
    seed: u64,
    launches: AtomicU64,
    /// The thread that captures, if one does, and what it noted.
    capturing: Mutex<Option<(ThreadId, Vec<Noted>)>>,
    health: Arc<Health>,
}

/// Work that was captured.
#[derive(Debug)]
enum Noted {
    /// The argument as words, where its structure can lie.
    Launch(Launch, Vec<u64>),
    Product(Product),
}

/// What a card of [`Blocks`] can still do; changed by tests that keep it.
#[derive(Debug)]
pub(crate) struct Health {
    /// Bytes of memory.
    pub(crate) memory: AtomicUsize,
    /// Bytes of them that are taken.
    pub(crate) taken: AtomicUsize,
    /// Bytes that were copied to it.
    pub(crate) written: AtomicUsize,
    /// Whether every launch fails.
    pub(crate) broken: AtomicBool,
    /// Whether it lacks what products need.
    pub(crate) without_products: AtomicBool,
    /// Whether work can be captured.
    pub(crate) captures: AtomicBool,
    /// How often captured work was done.
    pub(crate) replays: AtomicU64,
}

/// Memory of [`Blocks`] between two guards.
#[derive(Debug)]
pub(crate) struct GuardedMemory {
    owner: Identity,
    lines: Vec<Line>,
    len: usize,
    health: Arc<Health>,
}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(256))]
struct Line([u8; GUARD]);

impl GuardedMemory {
    fn new(owner: Identity, len: usize, health: Arc<Health>) -> Self {
        health.taken.fetch_add(len, Ordering::Relaxed);
        // Content that no test can mistake for zeros.
        let mut lines = vec![Line([0xdb; GUARD]); len.div_ceil(GUARD) + 2];
        lines[0].0.fill(GUARD_BYTE);
        let end = GUARD + len;
        for (number, line) in lines.iter_mut().enumerate() {
            for (place, byte) in line.0.iter_mut().enumerate() {
                if number * GUARD + place >= end {
                    *byte = GUARD_BYTE;
                }
            }
        }
        Self { owner, lines, len, health }
    }

    fn pointer(&self) -> *mut u8 {
        self.lines.as_ptr().cast::<u8>().cast_mut()
    }

    fn byte(&self, place: usize) -> u8 {
        self.lines[place / GUARD].0[place % GUARD]
    }
}

impl Drop for GuardedMemory {
    fn drop(&mut self) {
        self.health.taken.fetch_sub(self.len, Ordering::Relaxed);
        let end = GUARD + self.len;
        let guards = (0..GUARD).chain(end..self.lines.len() * GUARD);
        for place in guards {
            let intact = self.byte(place) == GUARD_BYTE;
            assert!(
                intact || std::thread::panicking(),
                "a kernel wrote beside its memory, at {place} of {end}"
            );
        }
    }
}

impl Memory for GuardedMemory {
    fn address(&self) -> u64 {
        self.pointer().expose_provenance() as u64 + GUARD as u64
    }

    fn owner(&self) -> Identity {
        self.owner
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl Blocks {
    pub(crate) fn new(seed: u64) -> Self {
        let health = Health {
            memory: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            without_products: AtomicBool::new(false),
            captures: AtomicBool::new(true),
            replays: AtomicU64::new(0),
        };
        Self {
            identity: Identity::new(),
            seed,
            launches: AtomicU64::new(0),
            capturing: Mutex::new(None),
            health: Arc::new(health),
        }
    }

    pub(crate) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    pub(crate) fn launches(&self) -> u64 {
        self.launches.load(Ordering::Relaxed)
    }

    /// Note work instead of doing it, when this thread captures.
    fn note(&self, work: impl FnOnce() -> Noted) -> bool {
        match &mut *self.capturing.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((thread, noted)) if *thread == thread::current().id() => {
                noted.push(work());
                true
            }
            _ => false,
        }
    }
}

// SAFETY: `allocate` gives memory of the process, which lives until it is dropped; launches are done
// when `launch` returns.
unsafe impl Machine for Blocks {
    type Memory = GuardedMemory;

    fn identity(&self) -> Identity {
        self.identity
    }

    fn allocate(&self, bytes: usize) -> Result<GuardedMemory, CudaError> {
        let free = self.health.memory.load(Ordering::Relaxed);
        if self.health.taken.load(Ordering::Relaxed) + bytes > free {
            return Err(CudaError::OutOfMemory { bytes });
        }
        Ok(GuardedMemory::new(self.identity, bytes, self.health()))
    }

    fn write(&self, memory: &mut GuardedMemory, offset: usize, bytes: &[u8]) -> Result<(), CudaError> {
        self.identity.check(memory.owner)?;
        assert!(offset + bytes.len() <= memory.len, "bytes within the memory");
        self.health.written.fetch_add(bytes.len(), Ordering::Relaxed);
        // SAFETY: the place is within the lines, as asserted, and `memory` is borrowed exclusively.
        let place = unsafe { memory.pointer().add(GUARD + offset) };
        // SAFETY: as many bytes from there are within the lines, and two objects do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }

    fn read(&self, memory: &GuardedMemory, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.identity.check(memory.owner)?;
        assert!(offset + bytes.len() <= memory.len, "bytes within the memory");
        // SAFETY: the place is within the lines, as asserted.
        let place = unsafe { memory.pointer().add(GUARD + offset) };
        // SAFETY: as many bytes from there are within the lines, and two objects do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn launch(&self, launch: Launch, argument: &[u8]) -> Result<(), CudaError> {
        let words = || {
            let mut words = vec![0_u64; argument.len().div_ceil(8)];
            // SAFETY: there are at least as many bytes in the words, and two objects do not overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(argument.as_ptr(), words.as_mut_ptr().cast(), argument.len());
            }
            words
        };
        // What every card refuses.
        let [across, down] = launch.blocks;
        let fits = (1..=i32::MAX as u32).contains(&across) && (1..=65_535).contains(&down);
        assert!(fits && argument.len() <= 4096, "{launch:?} with {} bytes", argument.len());
        if self.note(|| Noted::Launch(launch, words())) {
            return Ok(());
        }
        if self.health.broken.load(Ordering::Relaxed) {
            let reason = "the test says so".to_owned();
            return Err(CudaError::Driver { action: "run a kernel on the CPU", reason });
        }
        let number = self.launches.fetch_add(1, Ordering::Relaxed);
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(number);
        // SAFETY: the argument is the kernel's and its addresses are good, which the caller promises.
        unsafe {
            let threads = launch.kernel.threads();
            run_kernel(library(), launch.kernel.name(), launch.blocks, threads, seed, argument.as_ptr())
        }
        .map_err(|reason| CudaError::Driver { action: "run a kernel on the CPU", reason })
    }

    fn capture(&self, work: &mut dyn FnMut() -> Result<(), CudaError>) -> Option<Captured> {
        if !self.health.captures.load(Ordering::Relaxed) {
            return None;
        }
        let capturing = || self.capturing.lock().unwrap_or_else(PoisonError::into_inner);
        *capturing() = Some((thread::current().id(), Vec::new()));
        let worked = work().is_ok();
        let (_, noted) = capturing().take()?;
        worked.then(|| Captured::new(self.identity, noted))
    }

    unsafe fn replay(&self, captured: &Captured) -> Result<(), CudaError> {
        self.health.replays.fetch_add(1, Ordering::Relaxed);
        for noted in captured.work::<Vec<Noted>>(self.identity)? {
            // SAFETY: the work was asked for with these arguments, and the caller promises that what they
            // demand still holds.
            match noted {
                Noted::Launch(launch, words) => {
                    // SAFETY: the words are initialized bytes.
                    let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), 8 * words.len()) };
                    // SAFETY: as above.
                    unsafe { self.launch(*launch, bytes) }?;
                }
                // SAFETY: as above.
                Noted::Product(product) => unsafe { self.multiply(*product) }?,
            }
        }
        Ok(())
    }

    fn busy_blocks(&self) -> u32 {
        3
    }
}

// SAFETY: products are done when `multiply` returns.
unsafe impl Multiply for Blocks {
    fn check_products(&self) -> Result<(), CudaError> {
        if self.health.without_products.load(Ordering::Relaxed) { Err(CudaError::NoBlas) } else { Ok(()) }
    }

    unsafe fn multiply(&self, product: Product) -> Result<(), CudaError> {
        if self.note(|| Noted::Product(product)) {
            return Ok(());
        }
        let ((rows, inner), (_, columns)) = (product.left.shape(), product.right.shape());
        let numbers = |factor: &Operand| {
            let pointer = std::ptr::with_exposed_provenance::<f32>(factor.address as usize);
            // SAFETY: the caller promises as many numbers as the shape says, which lie in memory of
            // this machine; nothing writes them meanwhile, as the product lies apart.
            unsafe { std::slice::from_raw_parts(pointer, factor.rows * factor.columns) }
        };
        let (left, right) = (numbers(&product.left), numbers(&product.right));
        let at = |factor: &Operand, row: usize, column: usize| {
            if factor.transposed { column * factor.columns + row } else { row * factor.columns + column }
        };
        let into = std::ptr::with_exposed_provenance_mut::<f32>(product.into as usize);
        // SAFETY: as above, of the product.
        let into = unsafe { std::slice::from_raw_parts_mut(into, rows * columns) };
        for (place, value) in into.iter_mut().enumerate() {
            let (row, column) = (place / columns, place % columns);
            let term = |i| {
                let [a, b] = [left[at(&product.left, row, i)], right[at(&product.right, i, column)]];
                round(a, product.precision) * round(b, product.precision)
            };
            let sum: f32 = (0..inner).map(term).sum();
            *value = if product.accumulate { *value + sum } else { sum };
        }
        Ok(())
    }
}

/// Round to the nearest number of fewer bits of mantissa, ties to even.
fn round(value: f32, precision: Precision) -> f32 {
    let dropped = match precision {
        Precision::Float32 => return value,
        Precision::Tf32 => 13,
        Precision::Bf16 => 16,
    };
    let bits = value.to_bits();
    let half = (1 << (dropped - 1)) - 1 + (bits >> dropped & 1);
    f32::from_bits(bits.wrapping_add(half) >> dropped << dropped)
}

/// The kernels compiled for the CPU, once in a process.
fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let path = compile("library");
        // SAFETY: the library has no constructors of its own; it is never unloaded.
        let library = unsafe { Library::new(&path) }.unwrap();
        // SAFETY: `argument_bytes` in `cu/cpu/library.cpp` is an array of that many numbers.
        let sizes = unsafe { library.get::<*const [u32; ARGUMENT_BYTES.len()]>("argument_bytes") }.unwrap();
        // SAFETY: as above, and the library is loaded.
        let sizes = unsafe { **sizes };
        assert_eq!(sizes.map(|bytes| bytes as usize), ARGUMENT_BYTES, "bytes of the argument structures");
        // SAFETY: `training_argument_bytes` is an array of that many numbers.
        let sizes =
            unsafe { library.get::<*const [u32; train::ARGUMENT_BYTES.len()]>("training_argument_bytes") };
        let sizes = sizes.unwrap();
        // SAFETY: as above, and the library is loaded.
        let sizes = unsafe { **sizes };
        assert_eq!(
            sizes.map(|bytes| bytes as usize),
            train::ARGUMENT_BYTES,
            "bytes of the argument structures"
        );
        assert!(Kernel::ALL.iter().all(|kernel| {
            // SAFETY: every kernel is a symbol of this type.
            unsafe { library.get::<KernelFunction>(kernel.name()) }.is_ok()
        }));
        library
    })
}
