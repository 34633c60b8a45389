//! One implementation of the comparison per instruction set, and the choice among them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::query::Query;
use crate::{Error, Line};

/// Compare a query with the codes of whole blocks; see [`Isa::within`] and [`Isa::distances`].
///
/// # Safety
/// The processor has the features that the kernel's `detected` asks for.
type Within = unsafe fn(query: &Query, lines: &[Line], bound: u32, survivors: &mut [u64]);
type Distances = unsafe fn(query: &Query, lines: &[Line], distances: &mut [u16]);

/// The functions of one instruction set.
struct Kernel {
    name: &'static str,
    detected: fn() -> bool,
    within: Within,
    distances: Distances,
}

/// All implementations of this target, best first; the last one runs everywhere.
static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avx2::KERNEL,
    #[cfg(target_arch = "aarch64")]
    neon::KERNEL,
    scalar::KERNEL,
];

/// An instruction set that this machine was found to have, and the scan written for it.
///
/// A value exists only after its features were detected, so holding one proves that its functions
/// may be called. All instruction sets give the same answers.
#[derive(Clone, Copy)]
pub struct Isa(&'static Kernel);

impl Isa {
    /// The instruction sets of this machine, best first; the last is always `scalar`.
    #[must_use]
    pub fn available() -> Vec<Self> {
        KERNELS.iter().filter(|kernel| (kernel.detected)()).map(Self).collect()
    }

    /// The best instruction set of this machine, detected once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().into_iter().next().unwrap_or_else(Self::scalar))
    }

    /// Portable code, the reference for the others.
    #[must_use]
    pub fn scalar() -> Self {
        static SCALAR: Kernel = scalar::KERNEL;
        Self(&SCALAR)
    }

    /// The name: `avx512`, `avx2`, `neon` or `scalar`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Find the codes with a distance of at most `bound`.
    ///
    /// `lines` are whole blocks of codes; bit `i % 64` of `survivors[i / 64]` tells of code i. Bits
    /// beyond the codes that the lines hold are left as they are.
    #[inline]
    pub(crate) fn within(self, query: &Query, lines: &[Line], bound: u32, survivors: &mut [u64]) {
        // SAFETY: an `Isa` is only made of kernels whose features were detected.
        unsafe { (self.0.within)(query, lines, bound, survivors) }
    }

    /// Write the distances of the codes that `lines`, whole blocks, hold.
    #[inline]
    pub(crate) fn distances(self, query: &Query, lines: &[Line], distances: &mut [u16]) {
        // SAFETY: an `Isa` is only made of kernels whose features were detected.
        unsafe { (self.0.distances)(query, lines, distances) }
    }
}

impl PartialEq for Isa {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Isa {}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let available = Self::available();
        available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| Error::UnknownIsa {
            name: name.to_owned(),
            available: available.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "),
        })
    }
}
