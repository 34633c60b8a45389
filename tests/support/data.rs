//! The photo data sets, which lie outside the repository because they may not be redistributed.

use std::path::PathBuf;

/// The folder of a data set under `TWINBIT_DATA`; without that variable the test says that it was
/// skipped and gets nothing.
///
/// # Panics
/// When the data is missing and `TWINBIT_REQUIRE_DATA` is 1, so that CI cannot skip by accident.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub fn data_set(name: &str) -> Option<PathBuf> {
    let required = std::env::var_os("TWINBIT_REQUIRE_DATA").is_some_and(|value| value == "1");
    let folder = std::env::var_os("TWINBIT_DATA").map(|root| PathBuf::from(root).join(name));
    match folder.filter(|folder| folder.is_dir()) {
        Some(folder) => Some(folder),
        None if required => panic!("no data: TWINBIT_DATA has no folder {name}, and it is required"),
        None => {
            println!("skipped: no data");
            None
        }
    }
}
