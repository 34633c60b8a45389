//! Kernels compiled by g++ for the CPU, as a shared library (`cu/cpu`).

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use libloading::Library;
use sha2::{Digest, Sha256};

/// The type of every kernel, see `KERNEL` in `cu/platform.cuh`.
pub(crate) type KernelFunction = unsafe extern "C" fn(*const u8);
type LaunchFunction =
    unsafe extern "C" fn(KernelFunction, *const u32, *const u32, u64, *const u8) -> *const c_char;

/// Compile a file of `cu/cpu` to a shared library, unless these sources were compiled before.
pub(crate) fn compile(name: &str) -> PathBuf {
    // Tests of other packages include this file.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/cu");
    let mut hash = Sha256::new();
    for file in [folder.clone(), folder.join("cpu")].iter().flat_map(|folder| sources(folder)) {
        hash.update(std::fs::read(file).unwrap());
    }
    // Tests of one process wait for each other; another process writes a file of its own.
    static COMPILING: Mutex<()> = Mutex::new(());
    let _compiling = COMPILING.lock();
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = target.join(format!("{name}-{hash}.so"));
    if library.exists() {
        return library;
    }
    let unfinished = target.join(format!("{name}-{hash}-{}.so", std::process::id()));
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".into());
    let output = Command::new(&compiler)
        .args(["-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-fPIC", "-shared"])
        .args(["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"])
        .arg(folder.join("cpu").join(name).with_extension("cpp"))
        .arg("-o")
        .arg(&unfinished)
        .output()
        .unwrap_or_else(|error| panic!("the C++ compiler {compiler} could not be run: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&unfinished, &library).unwrap();
    library
}

/// The source files of a folder, sorted.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension().is_some_and(|end| ["cu", "cuh", "h", "cpp"].iter().any(|e| end == *e))
        })
        .collect();
    files.sort();
    files
}

/// Run a kernel of a library compiled from `cu/cpu`; on failure, what went wrong.
///
/// # Safety
/// `argument` is the kernel's argument structure, and its addresses lead to memory as the kernel
/// expects it.
pub(crate) unsafe fn run_kernel(
    library: &Library,
    kernel: &str,
    blocks: [u32; 2],
    threads: u32,
    seed: u64,
    argument: *const u8,
) -> Result<(), String> {
    // SAFETY: every kernel is a symbol of this type, see `KERNEL` in `cu/platform.cuh`.
    let kernel = unsafe { library.get::<KernelFunction>(kernel) }.unwrap();
    // SAFETY: `launch` has this type in every file of `cu/cpu`.
    let launch = unsafe { library.get::<LaunchFunction>("launch") }.unwrap();
    let blocks = [blocks[0], blocks[1], 1];
    let threads = [threads, 1, 1];
    // SAFETY: the kernel gets its argument, which the caller promises.
    let failure = unsafe { launch(*kernel, blocks.as_ptr(), threads.as_ptr(), seed, argument) };
    if failure.is_null() {
        return Ok(());
    }
    // SAFETY: `launch` gives null or a literal of the library, which is still loaded.
    Err(unsafe { CStr::from_ptr(failure) }.to_string_lossy().into_owned())
}
