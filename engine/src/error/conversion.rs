//! Failures of the layers below as failures of this crate.

use super::Error;
use crate::ArrayError;

impl Error {
    /// A failure of training; those of our own sources and observers, which training passes through,
    /// come out as what they were.
    pub(crate) fn from_training(error: twinbit_hashing::Error) -> Self {
        use twinbit_hashing::Error as Hashing;
        match error {
            Hashing::Canceled => Self::Canceled,
            Hashing::Source { modality, source } => match source.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(source) => match source.downcast::<ArrayError>() {
                    Ok(ours) => Self::Array(*ours),
                    Err(source) => Hashing::Source { modality, source }.into(),
                },
            },
            Hashing::CheckpointNotKept { source } => match source.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(source) => Hashing::CheckpointNotKept { source }.into(),
            },
            Hashing::Card(twinbit_kernels::Error::Cuda(reason)) => Self::NoCuda { reason },
            error => error.into(),
        }
    }
}

/// Failures that this crate has a name for get it; others keep the storage layer's sentence.
impl From<twinbit_storage::Error> for Error {
    fn from(error: twinbit_storage::Error) -> Self {
        use twinbit_storage::Error as Storage;
        match error {
            Storage::Io { path, operation, source } => Self::Io { path, operation, source },
            Storage::Corrupt { path, offset, what } => Self::Corrupt { path, offset, what },
            Storage::Locked { path, pid } => Self::Locked { path, pid },
            Storage::ReadOnly => Self::ReadOnly,
            Storage::WriterBusy { collection } => Self::WriterBusy { collection },
            Storage::Exists { what: "collection", name } => Self::Exists { name },
            Storage::NotFound { what: "collection", name } => Self::NotFound { name },
            Storage::Poisoned { reason } => Self::Poisoned { reason },
            Storage::Canceled => Self::Canceled,
            Storage::Encoder { source } => match source.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(source) => Self::Storage(Storage::Encoder { source }),
            },
            other => Self::Storage(other),
        }
    }
}
