//! Rows of the scorecard: sizes, results, and where a run keeps its files.
//!
//! Only the standard library is used, so that the unit tests of other packages can include this file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Whether the long sizes are asked for.
pub fn is_long() -> bool {
    std::env::var_os("TWINBIT_SCORECARD").is_some_and(|value| value == "long")
}

/// Whether tests take the time that CI has, rather than that of somebody who waits.
pub fn is_thorough() -> bool {
    std::env::var_os("TWINBIT_REQUIRE_DATA").is_some_and(|value| value == "1")
        || std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// The size of a test: the variable `TWINBIT_SCORECARD_<NAME>` where it is set, or the one of the
/// kind of run.
///
/// # Panics
/// When the variable is no number.
pub fn size(name: &str, short: u64, long: u64) -> u64 {
    match std::env::var(format!("TWINBIT_SCORECARD_{name}")) {
        Ok(given) => {
            given.parse().unwrap_or_else(|_| panic!("TWINBIT_SCORECARD_{name} is no number: {given}"))
        }
        Err(_) if is_long() => long,
        Err(_) => short,
    }
}

/// The first seed of a row that goes through many: `TWINBIT_SCORECARD_FIRST_SEED`, or 0. So a long run can
/// be made in pieces.
pub fn first_seed() -> u64 {
    size("FIRST_SEED", 0, 0)
}

/// A duration in seconds, sized like [`size`].
pub fn seconds(name: &str, short: u64, long: u64) -> Duration {
    Duration::from_secs(size(name, short, long))
}

/// How long each target is fuzzed: 2 seconds, 30 in CI, hours in a long run.
pub fn fuzz_time() -> Duration {
    seconds("FUZZ", if is_thorough() { 30 } else { 2 }, 2 * 60 * 60)
}

/// A new folder in memory where the system has such a place, otherwise among the temporary files.
/// For rows whose claim does not depend on a real disk.
///
/// # Panics
/// When no folder can be made.
pub fn scratch() -> Scratch {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = root.join(format!("twinbit-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Scratch { path }
}

/// A folder that goes with its last use.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A part of a row of the scorecard that is being measured.
///
/// Its result is printed and, where `TWINBIT_SCORECARD_OUT` names a folder, appended to a file there:
/// also when it is dropped in a panic, as a failure.
#[derive(Debug)]
pub struct Row {
    number: u32,
    what: &'static str,
    began: Instant,
    told: bool,
}

impl Row {
    /// Begins to measure a part of row `number`.
    pub fn begin(number: u32, what: &'static str) -> Row {
        Row { number, what, began: Instant::now(), told: false }
    }

    /// It held: how much was tried, and the figures.
    pub fn passed(mut self, size: &str, figures: &str) {
        self.tell("passed", size, figures);
    }

    /// It cannot be tried here: the system does not let us.
    pub fn skipped(mut self, why: &str) {
        self.tell("skipped", "", why);
    }

    #[allow(clippy::print_stdout, reason = "a row prints its figures")]
    fn tell(&mut self, result: &str, size: &str, figures: &str) {
        self.told = true;
        let (number, what, took) = (self.number, self.what, self.began.elapsed().as_secs_f64());
        println!("row {number} {what}: {result}: {size}: {figures} ({took:.1} s)");
        let Some(folder) = std::env::var_os("TWINBIT_SCORECARD_OUT") else { return };
        let line = format!(
            "{{\"row\":{number},\"what\":{what:?},\"result\":{result:?},\"size\":{size:?},\"figures\":{figures:?},\"seconds\":{took:.1}}}\n"
        );
        let path = Path::new(&folder).join("rows.jsonl");
        let written = File::options().create(true).append(true).open(&path);
        let written = written.and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok() || std::thread::panicking(), "{}: {written:?}", path.display());
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if !self.told {
            self.tell("FAILED", "", "see the test's own message");
        }
    }
}
