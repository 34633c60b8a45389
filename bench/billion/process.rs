//! A step in a process of its own, and what it takes of the machine.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Outcome;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// Runs a step in a fresh process; it prints what it found by itself.
pub(crate) fn run(step: &str, arguments: &[String]) -> Outcome<()> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(arguments).args(["--child", step]).stdin(Stdio::null());
    match command.status()?.success() {
        true => Ok(()),
        false => Err(format!("the step \"{step}\" failed").into()),
    }
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) time: Duration,
    /// Private memory at most, in bytes: without the pages of files.
    pub(crate) private: u64,
}

/// Does some work and watches the memory of this process meanwhile.
pub(crate) fn watch<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Taken)> {
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(status("RssAnon:")));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(status("RssAnon:"), Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
        });
        let begin = Instant::now();
        let result = work();
        let time = begin.elapsed();
        done.store(true, Ordering::Relaxed);
        Ok((result?, Taken { time, private: most.load(Ordering::Relaxed) }))
    })
}

/// The most memory that this process has had so far, mapped files included.
pub(crate) fn peak() -> u64 {
    status("VmHWM:")
}

/// A size that the system states of this process; 0 where it does not.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) << 10
}
