//! The library of matrix products, cuBLAS, as a file that may be there or not.

use std::panic::catch_unwind;
use std::path::PathBuf;

use cudarc::cublas::sys;

use super::CudaError;

/// What its file's name begins with on Linux; that of cuBLASLt, which it opens, begins otherwise.
const NAME: &str = "libcublas.so";

/// Open cuBLAS, which products on a card need, and keep it open; no card is needed for that. The file that it
/// is in, where the system tells (Linux), and its name elsewhere.
///
/// # Errors
/// [`CudaError::NoBlas`].
pub fn open_blas() -> Result<PathBuf, CudaError> {
    // SAFETY: loads the library and lets it go again; its constructors are NVIDIA's.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoBlas);
    }
    // SAFETY: as above, but that it is kept. The bindings panic where it is gone since.
    catch_unwind(|| unsafe { sys::culib() }).map_err(|_| CudaError::NoBlas)?;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    Ok(mapped_file(&maps).unwrap_or_else(|| PathBuf::from("cuBLAS")))
}

/// The library's file in a list of mapped files as Linux writes it, where the path is what follows the first
/// slash of a line.
fn mapped_file(maps: &str) -> Option<PathBuf> {
    let mut files = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    files.find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_library_is_found_among_those_mapped() {
        let maps = "\
7f0a00000000-7f0a00001000 r--p 00000000 fe:00 41    /opt/cuda 13/lib/libcublasLt.so.13
7f0b00000000-7f0b00001000 r--p 00000000 fe:00 42    /opt/cuda 13/lib/libcublas.so.13.1.0
7ffd00000000-7ffd00001000 rw-p 00000000 00:00 0     [stack]
";
        assert_eq!(mapped_file(maps), Some("/opt/cuda 13/lib/libcublas.so.13.1.0".into()));
        assert_eq!(mapped_file("7ffd-7ffe rw-p 0 00:00 0 [heap]\n"), None);
    }

    #[test]
    fn a_library_that_was_opened_has_a_file() {
        match open_blas() {
            Ok(file) => assert_eq!(cfg!(target_os = "linux"), file.is_file(), "{}", file.display()),
            Err(error) => assert_eq!(error, CudaError::NoBlas),
        }
    }
}
