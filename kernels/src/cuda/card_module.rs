//! Loading the embedded kernels, which the driver compiles for the card at hand.

use std::ffi::{CString, c_void};
use std::ptr;

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUjit_option, CUmodule};

use super::card::failed;
use super::{CudaError, Kernel, Module};

/// Bytes for what the driver's compiler says about a kernel it refuses.
const LOG_BYTES: usize = 8 << 10;

/// A kernel's function. Its module is never unloaded: it goes with the context of the device, which a
/// [`Card`](super::Card) holds as long as its functions.
pub(super) struct Function(sys::CUfunction);

// SAFETY: a function's handle may be used by any thread that has made its context current, and
// nothing is changed through it.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    pub(super) const fn handle(&self) -> sys::CUfunction {
        self.0
    }
}

/// Load all modules into the current context and find the kernels, in the order of [`Kernel::ALL`].
pub(super) fn load_kernels() -> Result<Vec<Function>, CudaError> {
    let modules = Module::ALL.map(|module| (module, load(module)));
    let find = |kernel: Kernel| {
        let (_, loaded) =
            modules.iter().find(|(module, _)| *module == kernel.module()).ok_or_else(no_such)?;
        let loaded = loaded.clone()?;
        let name = CString::new(kernel.name()).map_err(|_| no_such())?;
        // SAFETY: the module was loaded above and is never unloaded.
        let function = unsafe { result::module::get_function(loaded, name) };
        function.map(Function).map_err(failed("find a kernel"))
    };
    Kernel::ALL.into_iter().map(find).collect()
}

/// Load a module; where the driver refuses, with what its compiler says.
fn load(module: Module) -> Result<CUmodule, CudaError> {
    let ptx = CString::new(module.ptx()).map_err(|_| no_such())?;
    let mut log = vec![0_u8; LOG_BYTES];
    let mut options =
        [CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The driver takes a number as if it were an address.
    let mut values = [log.as_mut_ptr().cast::<c_void>(), ptr::without_provenance_mut(LOG_BYTES)];
    let mut loaded = ptr::null_mut();
    // SAFETY: the text ends with a zero byte, the two options have their values, the log is as long as
    // said, and there is a place for the module. The driver copies what it needs.
    let asked = unsafe {
        sys::cuModuleLoadDataEx(
            &raw mut loaded,
            ptx.as_ptr().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    asked.result().map(|()| loaded).map_err(|error| {
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(LOG_BYTES);
        let said = String::from_utf8_lossy(&log[..end]);
        CudaError::Driver {
            action: "compile the kernels for the card",
            reason: format!("{:?} in {module:?}: {}", error.0, said.trim()),
        }
    })
}

/// The error that the table of kernels makes impossible.
fn no_such() -> CudaError {
    CudaError::Driver { action: "load a kernel", reason: "the embedded PTX is not whole".into() }
}
