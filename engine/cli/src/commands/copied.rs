//! What `checkpoint` and `restore` print of the copy they made.

use std::path::Path;

use serde_json::json;
use twinbit::Copied;

use crate::failure::Result;
use crate::output::{bytes, count};
use crate::session::Session;

/// Prints a copy: `kind` is the key of its folder in JSON, `state` what a sentence says of the folder.
pub fn print(kind: &str, state: &str, folder: &Path, copied: &Copied, session: &Session) -> Result {
    if session.output.is_json() {
        return session.output.object(&json!({
            kind: folder, "version": copied.version, "files": copied.files, "bytes": copied.bytes,
        }));
    }
    session.output.say(format!(
        "{} {state} version {}: {} files, {}",
        folder.display(),
        count(copied.version),
        count(copied.files),
        bytes(copied.bytes)
    ))
}
