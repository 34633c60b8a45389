//! The two float types that training runs in: float32, and float64 for parity tests.

use candle_core::CpuStorage;

mod sealed {
    /// What training needs of a float; closed, so that it may grow.
    pub trait Float: candle_core::WithDType + Default + std::iter::Sum + twinbit_kernels::Factor {
        /// e to the power of `self`.
        fn exp(self) -> Self;
        /// Natural logarithm.
        fn ln(self) -> Self;
        /// Square root.
        fn sqrt(self) -> Self;
        /// Hyperbolic tangent.
        fn tanh(self) -> Self;
        /// Neither NaN nor infinite.
        fn is_finite(self) -> bool;
        /// The values of a tensor's storage, when they are of this type.
        fn values_mut(storage: &mut super::CpuStorage) -> Option<&mut [Self]>;
    }
}

/// `f32` or `f64`: the number types a [`TrainingState`](crate::TrainingState) can be made of.
pub trait Real: sealed::Float {}

macro_rules! real {
    ($float:ident, $variant:ident) => {
        impl sealed::Float for $float {
            fn exp(self) -> Self {
                $float::exp(self)
            }
            fn ln(self) -> Self {
                $float::ln(self)
            }
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            fn tanh(self) -> Self {
                $float::tanh(self)
            }
            fn is_finite(self) -> bool {
                $float::is_finite(self)
            }
            fn values_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
        impl Real for $float {}
    };
}

real!(f32, F32);
real!(f64, F64);
