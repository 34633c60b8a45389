//! What the work runs on, and what this machine offers.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use twinbit_kernels::Isa;
use twinbit_kernels::cuda::{AnyMachine, Card, CudaError, open_blas};

use crate::{Error, Result};

/// What searches, encoding, recall and training run on.
///
/// Hits are the same everywhere, ties included, and so are codes and recall. A card trains another model than the
/// processor does with the same seed, one as good.
///
/// ```
/// use twinbit::{Database, Device};
///
/// let device: Device = "cuda:1".parse()?;
/// assert_eq!(device, Device::Cuda(1));
/// let builder = Database::builder().device(device);
/// # drop(builder);
/// # Ok::<(), twinbit::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor, and the first CUDA device where there is one and the work is worth it
    /// ([`DeviceCosts`](crate::DeviceCosts)). Whatever goes wrong there, the processor does instead.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA device of this number, for everything that it can: codes in segments, up to 2,048 hits a query,
    /// encoding, training. Opening the database fails when it cannot be used, work when it lacks memory.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let number = match name {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => name.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
        };
        number.map(Self::Cuda).ok_or_else(|| Error::UnknownDevice { name: name.to_owned() })
    }
}

/// What this machine offers and what would be used of it.
///
/// ```
/// use twinbit::{Device, Hardware};
///
/// let hardware = Hardware::detect_for(Device::Cpu);
/// println!("{} threads, codes are scanned with {}", hardware.threads, hardware.kernel);
/// assert!(hardware.kernels.contains(&hardware.kernel));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hardware {
    /// The instruction set that scans codes.
    pub kernel: &'static str,
    /// Every instruction set that could, the preferred one first.
    pub kernels: Vec<&'static str>,
    /// Threads that run at once.
    pub threads: usize,
    /// The CUDA device that would be used.
    pub card: Option<CardInfo>,
    /// Why there is none; `None` when there is.
    pub no_cuda: Option<String>,
    /// The file of cuBLAS, which training on a CUDA device needs, or its name where the system does not tell the file.
    pub cublas: Option<PathBuf>,
    /// Why there is none; `None` when there is.
    pub no_cublas: Option<String>,
}

/// A CUDA device as it was when it was opened.
///
/// ```
/// match twinbit::Hardware::detect().card {
///     Some(card) => println!("{} with {} bytes of memory", card.name, card.memory_bytes),
///     None => println!("no card"),
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CardInfo {
    /// Its number, from 0.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Its compute capability, as `major.minor`.
    pub compute_capability: String,
    /// The CUDA version that its driver speaks, as `major.minor`.
    pub cuda_version: String,
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// The bytes of it that were free.
    pub free_bytes: u64,
}

/// What a database uses of a CUDA device; see [`Database::device_status`](crate::Database::device_status).
///
/// ```
/// use twinbit::{Database, Device};
///
/// # let folder = tempfile::tempdir()?;
/// let database = Database::builder().device(Device::Cpu).open(folder.path())?;
/// let status = database.device_status();
/// assert_eq!((status.no_card.as_deref(), status.resident_bytes), (Some("the device is cpu"), 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeviceStatus {
    /// What was asked for, as on the command line.
    pub device: String,
    /// The CUDA device in use.
    pub card: Option<CardInfo>,
    /// Why there is none; `None` when there is.
    pub no_card: Option<String>,
    /// Bytes of its memory that codes may take.
    pub budget_bytes: u64,
    /// Bytes that they took after the last search.
    pub resident_bytes: u64,
    /// Code matrices there: one for each segment and modality.
    pub resident_matrices: usize,
}

impl DeviceStatus {
    pub(crate) fn of(device: Device) -> Self {
        Self {
            device: device.to_string(),
            card: None,
            no_card: None,
            budget_bytes: 0,
            resident_bytes: 0,
            resident_matrices: 0,
        }
    }
}

/// Opens a CUDA device and loads the kernels.
pub(crate) fn open_card(number: usize) -> Result<(AnyMachine, CardInfo), CudaError> {
    let card = Card::open(number)?;
    let (free, total) = card.memory()?;
    let (major, minor) = card.compute_capability();
    let version = card.cuda_version();
    let info = CardInfo {
        number,
        name: card.name().to_owned(),
        compute_capability: format!("{major}.{minor}"),
        cuda_version: format!("{}.{}", version / 1000, version % 1000 / 10),
        memory_bytes: total as u64,
        free_bytes: free as u64,
    };
    Ok((AnyMachine::new(card), info))
}

impl CardInfo {
    /// Of what stands in for a card in tests.
    pub(crate) fn of_stand_in(number: usize) -> Self {
        Self {
            number,
            name: "stand-in".to_owned(),
            compute_capability: "0.0".to_owned(),
            cuda_version: "0.0".to_owned(),
            memory_bytes: u64::from(u32::MAX),
            free_bytes: u64::from(u32::MAX),
        }
    }
}

impl Hardware {
    /// Looks at this machine, its first CUDA device and cuBLAS included: both are opened.
    pub fn detect() -> Self {
        Self::detect_for(Device::Auto)
    }

    /// Looks at this machine, as a database with this device would.
    pub fn detect_for(device: Device) -> Self {
        let number = match device {
            Device::Cpu => None,
            Device::Auto => Some(0),
            Device::Cuda(number) => Some(number),
        };
        let (card, no_cuda) = found(number.map(|number| open_card(number).map(|(_, info)| info)));
        let (cublas, no_cublas) = found(number.map(|_| open_blas()));
        Self {
            kernel: Isa::best().name(),
            kernels: Isa::available().into_iter().map(Isa::name).collect(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            card,
            no_cuda,
            cublas,
            no_cublas,
        }
    }
}

/// What was looked for, or why it was not found; `None` where nothing was looked for.
fn found<T>(looked: Option<Result<T, CudaError>>) -> (Option<T>, Option<String>) {
    match looked {
        Some(Ok(thing)) => (Some(thing), None),
        Some(Err(reason)) => (None, Some(reason.to_string())),
        None => (None, Some("the device is cpu".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_they_are_read() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(3)] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for name in ["", "gpu", "cuda:", "cuda:-1"] {
            assert!(matches!(name.parse::<Device>(), Err(Error::UnknownDevice { .. })), "{name}");
        }
    }

    #[test]
    fn the_kernel_in_use_is_one_of_those_there_are() {
        let hardware = Hardware::detect();
        assert!(hardware.kernels.contains(&hardware.kernel));
        assert_eq!(hardware.card.is_none(), hardware.no_cuda.is_some());
        let processor = Hardware::detect_for(Device::Cpu);
        assert_eq!(processor.no_cuda.as_deref(), Some("the device is cpu"));
        assert_eq!(hardware.cublas.is_none(), hardware.no_cublas.is_some());
        assert_eq!((processor.cublas, processor.no_cublas), (None, processor.no_cuda));
        assert!(Hardware::detect_for(Device::Cuda(usize::MAX)).card.is_none());
    }
}
