//! Tensors of safetensors files, read one by one: the files may hold other networks, too.

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

/// Open safetensors files, and the digest of what was read of them.
pub(super) struct Tensors {
    files: Vec<TensorFile>,
    digest: Sha256,
}

/// One open file.
struct TensorFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the first tensor's bytes begin.
    start: u64,
}

impl TensorFile {
    fn open(path: &Path) -> Result<Self, Error> {
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
        Ok(Self { path: path.to_path_buf(), file, header, start })
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

    fn invalid(&self, reason: String) -> Error {
        Error::EncoderFile { path: self.path.clone(), source: io::Error::other(reason) }
    }
}

impl Tensors {
    /// Opens the files of one network. The digest begins with `context`.
    pub(super) fn open(paths: &[PathBuf], context: &[u8]) -> Result<Self, Error> {
        let files = paths.iter().map(|path| TensorFile::open(path)).collect::<Result<_, _>>()?;
        Ok(Self { files, digest: Sha256::new_with_prefix(context) })
    }

    /// The shape of a tensor that must be there.
    pub(super) fn shape(&self, name: &str) -> Result<&[usize], Error> {
        match self.files.iter().find_map(|file| file.header.info(name)) {
            Some(info) => Ok(&info.shape),
            None => Err(self.missing(name)),
        }
    }

    /// The first 8 bytes, in hexadecimal, of the SHA-256 of the context and of all that was read.
    pub(super) fn digest(self) -> String {
        self.digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a tensor that is in none of the files is told by: the first of them.
    fn missing(&self, name: &str) -> Error {
        let path = self.files.first().map(|file| file.path.clone()).unwrap_or_default();
        Error::EncoderFile { path, source: io::Error::other(format!("tensor {name} is missing")) }
    }
}

impl TensorSource for Tensors {
    fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.header.info(name).is_some())
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let Some(at) = self.files.iter().position(|file| file.header.info(name).is_some()) else {
            return Err(self.missing(name));
        };
        let file = &mut self.files[at];
        let Some((found, dtype, (begin, end))) =
            file.header.info(name).map(|info| (&info.shape, info.dtype, info.data_offsets))
        else {
            return Err(self.missing(name));
        };
        if found != shape {
            let reason = format!("tensor {name} has shape {found:?}, expected {shape:?}");
            return Err(file.invalid(reason));
        }
        let bytes = file.bytes(begin as u64, end - begin)?;
        let values =
            finite_floats(dtype, &bytes).map_err(|reason| file.invalid(format!("tensor {name} {reason}")))?;
        self.digest.update(name.as_bytes());
        self.digest.update([0]);
        self.digest.update(&bytes);
        Ok(values)
    }
}
