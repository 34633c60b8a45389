//! Row 8: a segment file truncated or replaced by another program while the database has it open.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use twinbit_storage::Durability;
use twinbit_tests::{COMPLETE, FAILED, READY, Row, Scratch, Workload, scratch};

use crate::recording::victim_as;

const SIGBUS: i32 = 7;

/// A database with segments.
fn database() -> Scratch {
    let folder = scratch();
    let workload = Workload::wide(Durability::Immediate);
    let store = workload.open(folder.path()).unwrap();
    let id = workload.collection(&store).unwrap();
    (1..=40).for_each(|number| workload.step(&store, id, number).unwrap());
    store.flush(id).unwrap();
    folder
}

/// The rows files of a database.
fn rows_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "rows")).collect()
}

/// Lets a process open the database, does something to its files, and lets it read everything.
fn read_after(how: &str, folder: &Path, harm: impl Fn(&Path)) -> (ExitStatus, String) {
    let mut command = victim_as("read", folder, how);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == READY));
    rows_files(folder).iter().for_each(|path| harm(path));
    let _ = child.stdin.take().unwrap().write_all(b"\n");
    let told = lines.collect::<Vec<_>>().join("\n");
    (child.wait().unwrap(), told)
}

fn truncate(path: &Path) {
    File::options().write(true).open(path).unwrap().set_len(4096).unwrap();
}

/// Another file takes the name, as programs do that save their files safely.
fn replace(path: &Path) {
    let other = path.with_extension("other");
    fs::write(&other, b"something else").unwrap();
    fs::rename(other, path).unwrap();
}

#[test]
fn files_changed_under_an_open_database_have_the_documented_outcome() {
    let row = Row::begin(8, "segments truncated or replaced under an open database");
    for how in ["mapped", "read"] {
        let (status, told) = read_after(how, database().path(), |_| {});
        assert!(status.success() && told.contains(COMPLETE), "{how}, untouched: {status} {told}");
        // The open file stays what it was, whatever gets its name.
        if how == "mapped" {
            let (status, told) = read_after(how, database().path(), replace);
            assert!(status.success() && told.contains(COMPLETE), "{how}, replaced: {status} {told}");
        }
    }
    let (status, told) = read_after("mapped", database().path(), truncate);
    assert_eq!(status.signal(), Some(SIGBUS), "mapped, truncated: {status} {told}");
    let (status, told) = read_after("read", database().path(), truncate);
    assert!(status.success() && told.contains(FAILED), "read, truncated: {status} {told}");
    let (status, told) = read_after("read", database().path(), replace);
    assert!(status.success(), "read, replaced: {status} {told}");
    let replaced = if told.contains(COMPLETE) { "right answers" } else { "typed error" };
    row.passed(
        "2 ways of reading",
        &format!(
            "mapped: replaced right answers, truncated SIGBUS as documented; read: replaced {replaced}, truncated typed error"
        ),
    );
}
