//! The machine that runs kernels on the CPU finds the faults it is there for.
#![cfg(target_os = "linux")]

#[path = "support/compiled.rs"]
mod compiled;

use compiled::{compile, run_kernel};
use libloading::Library;

const THREADS: u32 = 256;

/// The argument of the kernels in `cu/cpu/faulty.cpp`.
#[repr(C)]
struct SumArgument {
    values: *const u32,
    sum: *mut u32,
    barrier: u32,
    unused: u32,
}

/// Run a kernel on the numbers 1 to 256; the sum, or what went wrong.
fn run(kernel: &str, barrier: bool, seed: u64) -> Result<u32, String> {
    // SAFETY: the library has no constructors of its own.
    let library = unsafe { Library::new(compile("faulty")) }.unwrap();
    let values: Vec<u32> = (1..=THREADS).collect();
    let mut sum = 0;
    let argument =
        SumArgument { values: values.as_ptr(), sum: &raw mut sum, barrier: barrier.into(), unused: 0 };
    // SAFETY: the kernels of this library take this structure; 256 values and the sum are there.
    unsafe { run_kernel(&library, kernel, [1, 1], THREADS, seed, (&raw const argument).cast()) }?;
    Ok(sum)
}

#[test]
fn a_missing_barrier_shows_in_some_schedule() {
    let expected = THREADS * (THREADS + 1) / 2;
    let wrong = |barrier| (0..20).filter(|&seed| run("sum_values", barrier, seed) != Ok(expected)).count();
    assert_eq!(wrong(true), 0);
    assert!(wrong(false) >= 10, "wrong in {} of 20 schedules", wrong(false));
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    let sums = |_| (0..20).map(|seed| run("sum_values", false, seed)).collect::<Vec<_>>();
    assert_eq!(sums(1), sums(2));
}

#[test]
fn threads_that_wait_in_vain_are_reported() {
    let failure = run("wait_in_vain", true, 1).unwrap_err();
    assert!(failure.contains("wait for each other"), "{failure}");
    // The machine goes on with the next kernel.
    assert_eq!(run("sum_values", true, 1), Ok(THREADS * (THREADS + 1) / 2));
}
