//! A small workload, recorded call by call with `strace`; rows 2 and 3 take it apart.

use std::fs;
use std::path::Path;
use std::process::Command;

use twinbit_storage::Durability;
use twinbit_tests::{
    ACKNOWLEDGED, Contents, Recorded, Workload, last_acknowledged, read_calls, rerun, scratch, strace, tell,
};

const FOLDER: &str = "TWINBIT_RECORDING_FOLDER";
const DURABILITY: &str = "TWINBIT_RECORDING_DURABILITY";
/// Commits of the recorded workload: two models, two large commits, a reopened database.
const COMMITS: u64 = 14;
/// After these the victim closes the database and opens it again.
const REOPENED: [u64; 2] = [4, 9];

/// Every call that can change a file, or tells which file is meant.
const TRACED: &str = "trace=openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,\
    pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,\
    symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,copy_file_range,sendfile,splice";

/// The name of the database in the recorded folder.
pub(crate) const DATABASE: &str = "db";

fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::Immediate => "immediate",
        Durability::Eventual => "eventual",
    }
}

/// The victim as a command; it is this program.
pub(crate) fn victim(folder: &Path, durability: Durability) -> Command {
    let mut command = rerun("recording::victim_of_a_recording");
    command.env(FOLDER, folder).env(DURABILITY, name(durability));
    command
}

/// The victim: goes on with the workload where the database is, up to its end.
#[test]
fn victim_of_a_recording() {
    let (Ok(folder), Ok(durability)) = (std::env::var(FOLDER), std::env::var(DURABILITY)) else { return };
    let eventual = durability == name(Durability::Eventual);
    let workload = Workload::small(if eventual { Durability::Eventual } else { Durability::Immediate });
    // On a thread of its own: strace counts the calls of each thread, and these are all of this one.
    let work = std::thread::spawn(move || {
        let path = Path::new(&folder).join(DATABASE);
        let mut store = workload.open(&path).unwrap();
        let mut id = workload.collection(&store).unwrap();
        tell(&format!("{ACKNOWLEDGED}{}", workload.commits(&store).unwrap()));
        for number in workload.commits(&store).unwrap() + 1..=COMMITS {
            workload.step(&store, id, number).unwrap();
            tell(&format!("{ACKNOWLEDGED}{number}"));
            if REOPENED.contains(&number) {
                drop(store);
                store = workload.open(&path).unwrap();
                id = workload.collection(&store).unwrap();
            }
        }
    });
    work.join().unwrap();
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
    let options = ["-xx", "-s", "16777216", "-o", &trace_name, "-e", TRACED, "-e", "signal=none"];
    let output = strace(&options, &victim(folder.path(), durability)).output().unwrap();
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
        let store = self.workload.open(&folder.join(DATABASE)).map_err(|error| format!("it does not open: {error}"))?;
        let found = self.workload.commits(&store).map_err(|error| error.to_string())?;
        if found < least || found > acknowledged + 1 {
            return Err(format!("{found} commits are there, {acknowledged} were acknowledged, {least} synced"));
        }
        self.workload.check(&store, &mut (found, self.after[found as usize].clone()))
    }
}
