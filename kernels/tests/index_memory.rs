//! Building a multi-index stays within its memory budget, however the codes lie.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use twinbit_kernels::{CodeBits, CodesBuf, MultiIndex, MultiIndexBuilder};

/// The system's allocator, which remembers how much was allocated at once.
struct Counting {
    now: AtomicUsize,
    most: AtomicUsize,
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = self.now.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        self.most.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are those of this call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.now.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those of this call.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static MEMORY: Counting = Counting { now: AtomicUsize::new(0), most: AtomicUsize::new(0) };

const ROWS: usize = 3 << 20;
const BUDGET: usize = 4 << 20;
/// Values of two chunks on two threads and of one more, a list of one chunk, and small things.
const BESIDE: usize = 7 << 20;

/// One test, so that nothing else allocates meanwhile.
#[test]
fn skewed_codes_take_no_more_memory_than_even_ones() {
    let bits = CodeBits::new(24).expect("a length that is allowed");
    let even = |row: usize| row.wrapping_mul(0x9e37_79b1) as u32;
    let skews: [(&str, &dyn Fn(usize) -> u32); 4] = [
        ("even", &even),
        ("all the same", &|_| 0x00ab_cdef),
        ("two values", &|row| 0x0011_1111 ^ u32::from(row % 3 == 0)),
        ("half the same", &|row| if row % 2 == 0 { 0 } else { even(row) }),
    ];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool of threads");
    for (name, value) in skews {
        let packed: Vec<u8> =
            (0..ROWS).flat_map(|row| value(row).to_le_bytes().into_iter().take(3)).collect();
        let codes = CodesBuf::from_packed(bits, &packed).expect("whole codes");
        drop(packed);
        let builder = MultiIndexBuilder::new(codes.as_codes()).memory_bytes(BUDGET);
        let before = MEMORY.now.load(Ordering::Relaxed);
        MEMORY.most.store(before, Ordering::Relaxed);
        pool.install(|| builder.write_to(&mut io::sink())).expect("a sink takes everything");
        let most = MEMORY.most.load(Ordering::Relaxed) - before;
        assert!(most <= BUDGET + BESIDE, "{name}: {most} bytes");

        let mut words = vec![0_u64; builder.byte_len() / 8];
        builder.write_to(&mut bytemuck::cast_slice_mut::<u64, u8>(&mut words)).expect("room for the index");
        let index = MultiIndex::from_bytes(bytemuck::cast_slice(&words)).expect("a sound index");
        index.verify(codes.as_codes()).expect("a sound index");
    }
}
