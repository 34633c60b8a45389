//! `gpu.sh` on a machine without a card: programs that stand in for tests and benches pass, fail, fault or
//! hang, and the script runs all of them, keeps what they print and says how they ended.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What a run of the script printed, and its exit code.
struct Ended {
    text: String,
    code: i32,
}

/// A folder with the script and programs that stand in for those it runs.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu.sh"), folder.path().join("gpu.sh")).unwrap();
    let program = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let tests = "case \"$1 ${2:-}\" in
        --list*) printf '%s: test\\n' small_good small_bad large_hung large_killed large_good ;;
        *_good) echo checked ;;
        *_bad) echo wrong at 7; exit 101 ;;
        *_hung) echo begun; sleep 100 ;;
        *_killed) kill -ABRT $$ ;;
        esac";
    program("gpu_matches_cpu", tests);
    program(
        "cuda_search",
        "echo \"{\\\"part\\\": \\\"$1\\\", \\\"card\\\": \\\"$TWINBIT_REQUIRE_CARD\\\"}\"",
    );
    program("cuda_training", "echo '{\"part\": 1}'; exit 1");
    // No Python package of the machine is looked for.
    program("python3", "exit 1");
    program("compute-sanitizer", "shift 4; exec \"$@\"");
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Ended {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .arg(folder.join("gpu.sh"))
        .args(arguments)
        .env("PATH", path)
        .env("TWINBIT_SECONDS", "2")
        .env_remove("TWINBIT_RESULTS")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    Ended { text, code: output.status.code().unwrap() }
}

#[test]
fn every_test_runs_whatever_the_others_do() {
    let folder = folder();
    let ended = run(folder.path(), &["test"]);
    assert_eq!(ended.code, 1, "{}", ended.text);
    assert!(ended.text.contains("passed: test-small_good test-large_good\n"), "{}", ended.text);
    for failed in
        ["test-small_bad (exit code 101)", "test-large_hung (ended after 2 s", "test-large_killed ("]
    {
        assert!(ended.text.contains(failed), "{failed}: {}", ended.text);
    }
    let kept = |name: &str| fs::read_to_string(folder.path().join("results").join(name)).unwrap();
    assert_eq!(kept("test-small_bad.txt"), "wrong at 7\n");
    assert_eq!(kept("test-large_hung.txt"), "begun\n");
}

#[test]
fn sections_can_be_chosen() {
    let folder = folder();
    let ended = run(folder.path(), &["test", "small_good", "large_good"]);
    assert_eq!((ended.code, ended.text.matches("== ").count()), (0, 2), "{}", ended.text);
    let ended = run(folder.path(), &["bench", "batch", "pytorch"]);
    assert_eq!(ended.code, 0, "{}", ended.text);
    assert!(ended.text.contains("{\"part\": \"batch\", \"card\": \"1\"}"), "{}", ended.text);
    assert!(ended.text.contains("skipped: bench-pytorch"), "{}", ended.text);
    let ended = run(folder.path(), &["sanitize", "memcheck"]);
    assert_eq!(ended.code, 1, "{}", ended.text);
    assert!(ended.text.contains("passed: sanitize-memcheck-small_good\n"), "{}", ended.text);
    let ended = run(folder.path(), &["list"]);
    assert!(ended.text.starts_with("small_good\nsmall_bad\n") && ended.text.ends_with("pytorch\n"));
}

#[test]
fn a_bench_that_fails_keeps_its_lines_and_the_next_one_runs() {
    let folder = folder();
    let ended = run(folder.path(), &["bench", "steps", "scan", "unknown"]);
    assert_eq!(ended.code, 1, "{}", ended.text);
    assert!(ended.text.contains("{\"part\": 1}") && ended.text.contains("passed: bench-scan\n"));
    let failed = "failed: bench-steps (exit code 1) bench-unknown (no such section)";
    assert!(ended.text.contains(failed), "{}", ended.text);
}

#[test]
fn nothing_to_run_is_no_success() {
    let folder = folder();
    assert_eq!(run(folder.path(), &["test", "no_such_test"]).code, 1);
    assert_eq!(run(folder.path(), &["unknown"]).code, 2);
    assert_eq!(run(folder.path(), &[]).code, 2);
}
