//! Array files: `.npy`, `.npz` and MATLAB files of any content are read or refused.

#![no_main]
#![allow(dead_code, unused_imports, reason = "parts of other packages are included")]

mod arrays;

use arrays::Array;
use libfuzzer_sys::fuzz_target;

/// Arrays of more values are opened only: what their shape alone takes is row 12's.
const VALUES: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("twinbit-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("a file");
    if let Ok(array) = Array::open(&path)
        && array.rows().saturating_mul(array.width()) <= VALUES
    {
        let _ = (array.to_f32(), array.to_u8());
    }
});
