//! What the work runs on, and what this machine offers.

use std::fmt;
use std::str::FromStr;

use twinbit_kernels::Isa;

use crate::{Error, Result};

/// Why no CUDA device can be used by this build.
const NO_KERNELS: &str = "this build holds no CUDA kernels; use the device cpu";

/// What searching and training run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The best there is.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl Device {
    /// Refuses a device that cannot be used.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Auto | Self::Cpu => Ok(()),
            Self::Cuda(_) => Err(Error::NoCuda { reason: NO_KERNELS.to_owned() }),
        }
    }
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hardware {
    /// The instruction set that scans codes.
    pub kernel: &'static str,
    /// Every instruction set that could, the preferred one first.
    pub kernels: Vec<&'static str>,
    /// Threads that run at once.
    pub threads: usize,
    /// Why CUDA is not used; `None` when it is.
    pub no_cuda: Option<String>,
}

impl Hardware {
    /// Looks at this machine.
    pub fn detect() -> Self {
        Self {
            kernel: Isa::best().name(),
            kernels: Isa::available().into_iter().map(Isa::name).collect(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            no_cuda: Some(NO_KERNELS.to_owned()),
        }
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
        assert!(matches!(Device::Cuda(0).check(), Err(Error::NoCuda { .. })));
    }

    #[test]
    fn the_kernel_in_use_is_one_of_those_there_are() {
        let hardware = Hardware::detect();
        assert!(hardware.kernels.contains(&hardware.kernel));
    }
}
