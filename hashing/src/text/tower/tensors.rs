//! Tensors of a safetensors file, read one by one: the file may hold other networks, too.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::floats::finite_floats;
use crate::transformer::TensorSource;

/// Longest header accepted; those of large models have some hundred kilobytes.
const LONGEST_HEADER: u64 = 16 << 20;

/// An open safetensors file, and the digest of what was read of it.
pub(super) struct Tensors {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the first tensor's bytes begin.
    start: u64,
    digest: Sha256,
}

impl Tensors {
    /// Opens a file. The digest begins with `context`.
    pub(super) fn open(path: &Path, context: &[u8]) -> Result<Self, Error> {
        let invalid = |reason: String| Error::EncoderFile {
            path: path.to_path_buf(),
            source: io::Error::other(reason),
        };
        let unreadable = |source| Error::EncoderFile { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(unreadable)?;
        let size = u64::from_le_bytes(size);
        if size > LONGEST_HEADER || size > length {
            return Err(invalid("it is not a safetensors file".to_owned()));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(unreadable)?;
        let header: Metadata = serde_json::from_slice(&header)
            .map_err(|error| invalid(format!("its header is not that of a safetensors file ({error})")))?;
        let start = 8 + size;
        if start.checked_add(header.data_len() as u64) != Some(length) {
            return Err(invalid("its length is not what its header says".to_owned()));
        }
        let digest = Sha256::new_with_prefix(context);
        Ok(Self { path: path.to_path_buf(), file, header, start, digest })
    }

    /// The shape of a tensor that must be there.
    pub(super) fn shape(&self, name: &str) -> Result<&[usize], Error> {
        match self.header.info(name) {
            Some(info) => Ok(&info.shape),
            None => Err(self.invalid(format!("tensor {name} is missing"))),
        }
    }

    fn bytes(&mut self, begin: u64, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length];
        let read = self
            .file
            .seek(SeekFrom::Start(self.start + begin))
            .and_then(|_| self.file.read_exact(&mut bytes));
        match read {
            Ok(()) => Ok(bytes),
            Err(source) => Err(Error::EncoderFile { path: self.path.clone(), source }),
        }
    }

    /// The first 8 bytes, in hexadecimal, of the SHA-256 of the context and of all that was read.
    pub(super) fn digest(self) -> String {
        self.digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    fn invalid(&self, reason: String) -> Error {
        Error::EncoderFile { path: self.path.clone(), source: io::Error::other(reason) }
    }
}

impl TensorSource for Tensors {
    fn has(&self, name: &str) -> bool {
        self.header.info(name).is_some()
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let found = self.shape(name)?;
        if found != shape {
            return Err(self.invalid(format!("tensor {name} has shape {found:?}, expected {shape:?}")));
        }
        let Some((dtype, (begin, end))) = self.header.info(name).map(|info| (info.dtype, info.data_offsets))
        else {
            return Err(self.invalid(format!("tensor {name} is missing")));
        };
        let bytes = self.bytes(begin as u64, end - begin)?;
        let values =
            finite_floats(dtype, &bytes).map_err(|reason| self.invalid(format!("tensor {name} {reason}")))?;
        self.digest.update(name.as_bytes());
        self.digest.update([0]);
        self.digest.update(&bytes);
        Ok(values)
    }
}
