//! The examples of the library run to their end. Cargo builds them with the tests.

use std::path::PathBuf;
use std::process::Command;

const EXAMPLES: [&str; 4] = ["quickstart", "cross_modal_photos", "filters", "external_codes"];

/// Lines that an example may have.
const LINES: usize = 60;

fn built(example: &str) -> PathBuf {
    // This test is `target/release/deps/examples-…`, an example `target/release/examples/NAME`.
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap();
    folder.join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION)
}

#[test]
fn every_example_runs() {
    for example in EXAMPLES {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(built(example))
            .current_dir(folder.path())
            .output()
            .unwrap_or_else(|error| panic!("{example}: {error}; `cargo test --workspace` builds it"));
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!printed.trim().is_empty(), "{example} prints what it found");
    }
}

#[test]
fn examples_are_short_and_all_listed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../engine/examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < LINES, "{} has {lines} lines", path.display());
        names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    let mut expected = EXAMPLES;
    expected.sort_unstable();
    assert_eq!(names, expected);
}
