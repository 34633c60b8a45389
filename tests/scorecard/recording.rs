//! A small workload, recorded call by call with `strace`; rows 2 and 3 take it apart.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use twinbit_storage::Durability;
use twinbit_tests::{
    COMMITS, Contents, Recorded, SPARE_CALLS, Workload, last_acknowledged, read_calls, scratch, strace,
};

/// Every call that can change a file, or tells which file is meant.
const TRACED: &str = "trace=openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,\
    pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,\
    symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,copy_file_range,sendfile,splice";

/// Kinds of calls that change files.
const CHANGING: [&str; 11] = [
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "link",
    "unlink",
    "mkdir",
    "ftruncate",
    "fallocate",
];
/// The name of the database in the recorded folder.
pub(crate) const DATABASE: &str = "db";

/// The victim as a command; `how` is what its mode takes.
pub(crate) fn victim_as(mode: &str, folder: &Path, how: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
    command.arg(mode).arg(folder).arg(how);
    command
}

/// The victim of a mode that writes.
pub(crate) fn victim(mode: &str, folder: &Path, durability: Durability) -> Command {
    let how = match durability {
        Durability::Immediate => "immediate",
        Durability::Eventual => "eventual",
    };
    victim_as(mode, folder, how)
}

/// Every call of the victim that changes a file: its kind, and its number among those of a thread. Calls of
/// several threads share a number.
pub(crate) fn points(mode: &str) -> Vec<(&'static str, u64)> {
    let (folder, traces) = (scratch(), scratch());
    let trace = traces.path().join("trace");
    let kinds = format!("trace={}", CHANGING.join(","));
    let victim = victim(mode, &folder.path().join(DATABASE), Durability::Immediate);
    let output =
        strace(&["--seccomp-bpf", "-o", &trace.to_string_lossy(), "-e", &kinds], &victim).output().unwrap();
    assert!(output.status.success());
    let mut counts = BTreeMap::new();
    for call in read_calls(&trace) {
        *counts.entry((call.name, call.thread)).or_insert(0_u64) += 1;
    }
    let most =
        |kind: &str| counts.iter().filter(|((name, _), _)| name == kind).map(|(_, count)| *count).max();
    CHANGING
        .into_iter()
        .flat_map(|kind| {
            let first = if kind == "openat" { SPARE_CALLS + 1 } else { 1 };
            (first..=most(kind).unwrap_or(0)).map(move |number| (kind, number))
        })
        .collect()
}

/// Records the workload on a new database or, given a folder with one, from what that holds.
pub(crate) fn record(durability: Durability, start: Option<&Path>) -> Recorded {
    let folder = scratch();
    if let Some(start) = start {
        copy(start, folder.path());
    }
    let traces = scratch();
    let trace = traces.path().join("trace");
    let trace_name = trace.to_string_lossy();
    let options =
        ["--seccomp-bpf", "-xx", "-s", "16777216", "-o", &trace_name, "-e", TRACED, "-e", "signal=none"];
    let output =
        strace(&options, &victim("recording", &folder.path().join(DATABASE), durability)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let recorded = Recorded::new(&read_calls(&trace), folder.path(), start);
    assert_eq!(last_acknowledged(&told(&recorded, recorded.len())), Some(COMMITS));
    recorded
}

/// What the victim had told before a step, as lines.
fn told(recorded: &Recorded, end: usize) -> String {
    recorded.told(end).collect::<Vec<_>>().join("\n")
}

/// The last commit acknowledged before a step; `None` when not even the collection was.
pub(crate) fn acknowledged(recorded: &Recorded, end: usize) -> Option<u64> {
    last_acknowledged(&told(recorded, end))
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// What must be there after some commits: all commits up to each number, made once.
pub(crate) struct References {
    workload: Workload,
    after: Vec<Contents>,
}

impl References {
    /// The references for a recording.
    pub(crate) fn new(durability: Durability) -> References {
        let workload = Workload::small(durability);
        References { workload, after: (0..=COMMITS).map(|number| workload.contents(number)).collect() }
    }

    /// Opens what is left of the database and compares it with the reference: all commits up to `least`
    /// must be there, and at most one more than `acknowledged`. Returns the last commit or what is wrong.
    pub(crate) fn check(&self, folder: &Path, least: u64, acknowledged: u64) -> Result<u64, String> {
        let opened = self.workload.open(&folder.join(DATABASE));
        let store = opened.map_err(|error| format!("it does not open: {error}"))?;
        let found = self.workload.commits(&store).map_err(|error| error.to_string())?;
        if found < least || found > acknowledged + 1 {
            return Err(format!(
                "{found} commits are there, {acknowledged} were acknowledged, {least} synced"
            ));
        }
        self.workload.check(&store, &mut (found, self.after[found as usize].clone()))
    }
}
