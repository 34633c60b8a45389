//! Matrix products on a card by cuBLAS, which is opened at the first of them.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use cudarc::cublas::result::{self, CublasError};
use cudarc::cublas::sys::{
    self, cublasComputeType_t, cublasGemmAlgo_t, cublasHandle_t, cublasOperation_t, cudaDataType,
};
use cudarc::driver::CudaStream;

use super::train::{Multiply, Operand, Precision, Product};
use super::{Card, CudaError};

/// A handle of cuBLAS that works on one stream.
#[derive(Debug)]
pub(crate) struct Blas(cublasHandle_t);

// SAFETY: a handle may be used by any thread, one at a time, which the card's lock sees to.
unsafe impl Send for Blas {}

impl Blas {
    /// Open the library; the stream's context is the current one.
    fn open(stream: &CudaStream) -> Result<Self, CudaError> {
        // SAFETY: loads the library and lets it go again; its constructors are NVIDIA's.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoBlas);
        }
        let open = || {
            let blas = Self(result::create_handle().map_err(failed)?);
            // SAFETY: the handle was just created, and the card keeps the stream as long as it.
            unsafe { result::set_stream(blas.0, stream.cu_stream().cast()) }.map_err(failed)?;
            Ok(blas)
        };
        // A library without one of its functions makes the bindings panic.
        catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(CudaError::NoBlas))
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle is this one's, and nothing uses it any more. What the library says
        // about it helps nobody.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

// SAFETY: the handle works on the card's stream, in the order of copies and launches.
unsafe impl Multiply for Card {
    unsafe fn multiply(&self, product: Product) -> Result<(), CudaError> {
        self.with_blas(Blas::open, |blas| {
            // The library's matrices are column-major: it sees every matrix of ours transposed, and
            // is asked for right' left' = (left right)'.
            let [first, second] = [product.right, product.left];
            let ((rows, inner), (_, columns)) = (product.left.shape(), product.right.shape());
            let sum: f32 = if product.accumulate { 1.0 } else { 0.0 };
            let one: f32 = 1.0;
            let pointer = |number: &f32| std::ptr::from_ref(number).cast::<c_void>();
            let at = |address: u64| address as *mut c_void;
            // SAFETY: the caller promises factors and a place for the product, all of these shapes;
            // leading dimensions are the columns as stored, and the two numbers are read at once.
            unsafe {
                result::gemm_ex(
                    blas.0,
                    operation(first),
                    operation(second),
                    number(columns)?,
                    number(rows)?,
                    number(inner)?,
                    pointer(&one),
                    at(first.address),
                    cudaDataType::CUDA_R_32F,
                    number(first.columns)?,
                    at(second.address),
                    cudaDataType::CUDA_R_32F,
                    number(second.columns)?,
                    pointer(&sum),
                    at(product.into),
                    cudaDataType::CUDA_R_32F,
                    number(columns)?,
                    match product.precision {
                        Precision::Float32 => cublasComputeType_t::CUBLAS_COMPUTE_32F,
                        Precision::Tf32 => cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
                        Precision::Bf16 => cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_16BF,
                    },
                    cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
                )
            }
            .map_err(failed)
        })
    }
}

fn operation(factor: Operand) -> cublasOperation_t {
    if factor.transposed { cublasOperation_t::CUBLAS_OP_T } else { cublasOperation_t::CUBLAS_OP_N }
}

/// A size as the library takes it.
fn number(size: usize) -> Result<c_int, CudaError> {
    c_int::try_from(size)
        .map_err(|_| CudaError::Blas { reason: format!("a matrix with a side of {size} is too large") })
}

fn failed(error: CublasError) -> CudaError {
    CudaError::Blas { reason: format!("{:?}", error.0) }
}
