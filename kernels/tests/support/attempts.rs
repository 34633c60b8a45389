//! Cases of which all are tried, so that one run tells everything that is wrong.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Which cases passed and which did not. Each is told as soon as it is known.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    passed: usize,
    failed: Vec<String>,
}

impl Attempts {
    /// Try a case, unless the card was lost before: after a fault nothing works on it any more.
    pub(crate) fn case(&mut self, name: &str, usable: impl Fn() -> bool, run: impl FnOnce()) {
        if !usable() {
            self.failed.push(format!("{name} (not tried: the card was lost before)"));
            return;
        }
        let ended = catch_unwind(AssertUnwindSafe(run)).map(|()| "passed");
        // Written past the test harness, so that a run that is cut off tells how far it came.
        let _ = writeln!(std::io::stderr(), "{name}: {}", ended.as_ref().unwrap_or(&"FAILED"));
        match ended {
            Ok(_) => self.passed += 1,
            Err(_) => self.failed.push(name.to_owned()),
        }
    }

    /// Panic when a case failed.
    pub(crate) fn finish(self) {
        assert!(self.failed.is_empty(), "{} cases passed, {:#?} failed", self.passed, self.failed);
    }
}
