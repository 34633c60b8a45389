//! How a command ends when it does not succeed.

use std::fmt;
use std::path::Path;

/// What went wrong, as the sentence to print, and which exit code it means.
#[derive(Debug)]
pub enum Failure {
    /// The work failed: exit code 1.
    Failed(String),
    /// The command line asks for something that has no meaning: exit code 2.
    Usage(String),
    /// The reader of standard output went away (`twinbit list db | head`): not a failure at all.
    OutputClosed,
}

/// The result of a command.
pub type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// Wrong usage with this message.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A file that cannot be read or written.
    pub fn file(path: &Path, operation: &str, error: &std::io::Error) -> Self {
        Self::Failed(format!("{}: cannot {operation}: {error}", path.display()))
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::OutputClosed => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) | Self::Usage(message) => f.write_str(message),
            Self::OutputClosed => f.write_str("the output was closed"),
        }
    }
}

impl From<twinbit::Error> for Failure {
    fn from(error: twinbit::Error) -> Self {
        match error {
            // With the place in the text underlined.
            twinbit::Error::Filter(error) => Self::Failed(error.render()),
            error => Self::Failed(sentence(&error)),
        }
    }
}

/// An error with those of its causes that its own text does not already tell.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

impl From<twinbit::ArrayError> for Failure {
    fn from(error: twinbit::ArrayError) -> Self {
        Self::Failed(sentence(&error))
    }
}
