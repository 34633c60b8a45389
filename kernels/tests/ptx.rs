//! The committed PTX belongs to the committed sources; no CUDA compiler is needed to see that.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The files that decide what the kernels compile to, and the results, with their hashes.
fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for (prefix, place) in [("", folder.to_path_buf()), ("ptx/", folder.join("ptx"))] {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let counts = [".cu", ".cuh", ".ptx"].iter().any(|end| name.ends_with(end))
                || ["compile.sh", "toolchain.txt"].contains(&name.as_str());
            if counts {
                let hash = Sha256::digest(std::fs::read(&path).unwrap());
                let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                hashes.insert(format!("{prefix}{name}"), hash);
            }
        }
    }
    hashes
}

#[test]
fn the_kernels_belong_to_their_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cu");
    let committed: BTreeMap<String, String> = std::fs::read_to_string(folder.join("ptx/SHA256SUMS"))
        .unwrap()
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
        .collect();
    assert_eq!(hashes(&folder), committed, "run `make kernels` and commit kernels/cu/ptx");
}
