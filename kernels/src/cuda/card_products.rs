//! Matrix products on a card by cuBLAS, which is opened at the first of them.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cudarc::cublas::result::{self, CublasError};
use cudarc::cublas::sys::{
    self, cublasComputeType_t, cublasGemmAlgo_t, cublasHandle_t, cublasOperation_t, cudaDataType,
};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::train::{Multiply, Operand, Precision, Product};
use super::{Card, CudaError, open_blas};

/// Room for sums of parts of a product: what the library takes for itself on an H200.
const WORKSPACE_BYTES: usize = 32 << 20;

/// A handle of cuBLAS with memory to work in. Without that the library would take some of its own,
/// which a graph cannot refer to; and how much there is decides how products are summed up, so that
/// captured products would differ from others.
#[derive(Debug)]
pub(crate) struct Blas {
    handle: cublasHandle_t,
    workspace: CudaSlice<u8>,
    address: u64,
}

// SAFETY: a handle may be used by any thread, one at a time, which the card's lock sees to.
unsafe impl Send for Blas {}

impl Blas {
    /// Open the library; the stream's context is the current one, and all products happen in its order.
    fn open(stream: &Arc<CudaStream>) -> Result<Self, CudaError> {
        open_blas()?;
        let open = || {
            // SAFETY: the library writes what it reads of this memory.
            let workspace = unsafe { stream.alloc::<u8>(WORKSPACE_BYTES) }
                .map_err(|_| CudaError::OutOfMemory { bytes: WORKSPACE_BYTES })?;
            let address = workspace.device_ptr(stream).0;
            let handle = result::create_handle().map_err(failed)?;
            let blas = Self { handle, workspace, address };
            blas.work_on(stream)?;
            Ok(blas)
        };
        // A library without one of its functions makes the bindings panic.
        catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(CudaError::NoBlas))
    }

    /// Let the next product go to a stream, which also makes the library forget its memory.
    fn work_on(&self, stream: &CudaStream) -> Result<(), CudaError> {
        let workspace = self.address as *mut c_void;
        // SAFETY: the handle is open; the stream is one of the card's two, which outlive it.
        unsafe { result::set_stream(self.handle, stream.cu_stream().cast()) }.map_err(failed)?;
        // SAFETY: the memory is as long as said and lives as long as the handle. All products happen in
        // the order of one stream, captured ones too, so that no two use it at once.
        unsafe { sys::cublasSetWorkspace_v2(self.handle, workspace, self.workspace.len()) }
            .result()
            .map_err(failed)
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle is this one's, and nothing uses it any more. What the library says
        // about it helps nobody.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

// SAFETY: the handle works on the stream that launches go to, too.
unsafe impl Multiply for Card {
    fn check_products(&self) -> Result<(), CudaError> {
        open_blas().map(drop)
    }

    unsafe fn multiply(&self, product: Product) -> Result<(), CudaError> {
        self.with_blas(Blas::open, |blas, stream| {
            blas.work_on(stream)?;
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
                    blas.handle,
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
